"""Spurious score: how far images that show only the cue look like the class to the model.

Neuhaus et al.: Spurious Features Everywhere (ICCV 2023), section 5. Their "AUC" is what their code
computes, average precision, whose chance level is the share of positives (50 of 125 images: 0.4).
It is called average precision here and stands beside the area under the ROC curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.config import CONFIDENCE
from core.statistics.intervals import wilson
from core.types import BoolArray, FloatArray


@dataclass(frozen=True)
class SpuriousScore:
    """How well class probability tells the class's own images from images of its cue alone.

    Higher is better for the model; at chance the cue alone looks like the class.
    """

    average_precision: float
    """In (0, 1]; chance is ``chance``, so it compares only between sets of the same ratio."""
    ap_low: float
    ap_high: float
    """See :func:`precision_parts`."""
    auroc: float
    """In [0, 1]; chance is 0.5 whatever the ratio."""
    auroc_low: float
    auroc_high: float
    """Newcombe's score interval with Hanley and McNeil's variance."""
    chance: float
    """Share of positives, the average precision of a constant score."""
    n_in: int
    n_cue: int
    mean_p_in: float
    mean_p_cue: float


def spurious_score(p_in: FloatArray, p_cue: FloatArray) -> SpuriousScore:
    """Score one class.

    Parameters
    ----------
    p_in : (n_in,) probability of the class on its own images.
    p_cue : (n_cue,) the same on images that show the cue and not the object.

    Raises
    ------
    ValueError
        If either group is empty or holds a value that is no number.
    """
    from sklearn.metrics import roc_auc_score

    p_in, p_cue = np.asarray(p_in, np.float64), np.asarray(p_cue, np.float64)
    if not len(p_in) or not len(p_cue):
        raise ValueError(f"a score needs images of both kinds, got {len(p_in)} and {len(p_cue)}")
    values = np.concatenate([p_in, p_cue])
    if not np.isfinite(values).all():
        raise ValueError("a probability is not a finite number")
    truth = np.repeat([True, False], [len(p_in), len(p_cue)])
    area = float(roc_auc_score(truth, values))
    precision = precision_parts(values, truth)
    auroc_low, auroc_high = auroc_interval(area, len(p_in), len(p_cue))
    return SpuriousScore(
        *precision[:3],
        area,
        *(auroc_low, auroc_high),
        chance=len(p_in) / len(values),
        n_in=len(p_in),
        n_cue=len(p_cue),
        mean_p_in=float(p_in.mean()),
        mean_p_cue=float(p_cue.mean()),
    )


def weighted_precision(values: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Average precision (B,) of the same scores under B weightings; ties enter together.

    Parameters
    ----------
    values : (n,) scores; positive : (n,) bool; weights : (B, n), how often each image counts.
    """
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    drawn = weights[:, order].astype(np.float64)
    every = np.cumsum(drawn, axis=1)[:, ends]
    true = np.cumsum(drawn * positive[order], axis=1)[:, ends]
    precision = true / np.maximum(every, 1e-300)
    gained = np.diff(true, axis=1, prepend=0.0)
    found: FloatArray = (gained * precision).sum(axis=1) / true[:, -1]
    return found


def weighted_auroc(values: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Area under the ROC curve (B,) of the same scores under B weightings; ties count half.

    Parameters
    ----------
    values, positive, weights : as for :func:`weighted_precision`.
    """
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    drawn = weights[:, order].astype(np.float64)
    negative = np.cumsum(drawn * ~positive[order], axis=1)[:, ends]
    gained = np.diff(np.cumsum(drawn * positive[order], axis=1)[:, ends], axis=1, prepend=0.0)
    below = negative - np.diff(negative, axis=1, prepend=0.0) / 2
    pairs = gained.sum(axis=1) * negative[:, -1]
    found: FloatArray = (gained * below).sum(axis=1) / np.maximum(pairs, 1e-300)
    return found


class PrecisionParts(NamedTuple):
    """Average precision with what every image does to it, one of either kind added as a guard."""

    value: float
    """Of the images alone."""
    low: float
    high: float
    influence: FloatArray
    """(n + 2,) what every image, and either that was added, adds to its standard error: their
    squares sum to the variance."""


def precision_parts(values: FloatArray, positive: BoolArray) -> PrecisionParts:
    """Average precision with a 95 % interval that has a width under perfect separation, too.

    The variance is that of the influence of every image (the infinitesimal jackknife, Efron 1982),
    once a negative above and a positive below all others have been added: with few images one that
    was not drawn may stand there, which no resampling of those that were drawn shows. It gives the
    number of independent images for a score interval as of a proportion (Wilson 1927), with
    Student's quantile for the smaller group. A positive counts in its own precision, which lifts
    the average by about (1 - AP) / n_positive; the lower end is taken from below that. Wider than
    it need be, 98 % and more, where the average is above 0.9.

    Parameters
    ----------
    values : (n,) scores; positive : (n,), some of them but not all.
    """
    from scipy.stats import t

    guarded = np.concatenate([values, [np.max(values) + 1, np.min(values) - 1]])
    kinds = np.concatenate([positive, [False, True]])
    average, influence = _influence(guarded, kinds)
    for kind in (kinds, ~kinds):
        part = influence[kind]
        influence[kind] = (part - part.mean()) * np.sqrt(len(part) / (len(part) - 1))
    value = float(weighted_precision(values, positive, np.ones((1, len(values))))[0])
    fewest = int(min(positive.sum(), (~positive).sum()))
    if fewest < 2:
        return PrecisionParts(value, 0.0, 1.0, influence)
    n = average * (1 - average) / float(influence @ influence)
    alone = max(value - (1 - value) / positive.sum(), 0.0)
    z = float(t.isf((1 - CONFIDENCE) / 2, fewest - 1))
    low, high = wilson(np.array([alone, value]) * n, n, z=z)
    return PrecisionParts(value, float(low.min()), min(float(high[1]), 1.0), influence)


def _influence(values: FloatArray, positive: BoolArray) -> tuple[float, FloatArray]:
    """Average precision and its derivative (n,) by the weight of every image; ties together."""
    _, group = np.unique(-values, return_inverse=True)
    gained = np.bincount(group, positive)
    true, every = np.cumsum(gained), np.cumsum(np.bincount(group))
    precision, total = true / every, float(true[-1])
    average = float(gained @ precision / total)
    of_true, of_false = (
        np.cumsum((gained * part / every**2)[::-1])[::-1] / total for part in (every - true, true)
    )
    here = (precision - average) / total + of_true
    return average, np.where(positive, here[group], -of_false[group])


def auroc_interval(area: float, n_positive: int, n_negative: int) -> tuple[float, float]:
    """Score interval of an area under the ROC curve, inside [0, 1] and never of width zero.

    Newcombe 2006 (method 5): the areas whose Hanley-McNeil variance puts the observed one within
    z standard errors.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.isf((1 - CONFIDENCE) / 2))
    middle = (n_positive + n_negative) / 2 - 1

    def away(theta: float) -> float:
        spread = 1 + middle * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = theta * (1 - theta) * spread / (n_positive * n_negative)
        return float((area - theta) ** 2 - z**2 * variance)

    low = 0.0 if area <= 0 else float(brentq(away, 0.0, min(area, 1 - 1e-12), xtol=1e-12))
    high = 1.0 if area >= 1 else float(brentq(away, max(area, 1e-12), 1.0, xtol=1e-12))
    return low, high


def relative_core_sensitivity(core_accuracy: float, spurious_accuracy: float) -> float:
    """How much more a model uses core than spurious regions, in [-1, 1]; higher means more core.

    (a_c - a_s) / (2 min(m, 1 - m)) with m = (a_c + a_s) / 2: the difference over the largest one
    that this mean allows; 0 where m is 0 or 1. Source: Singla, Moayeri, Feizi 2022 (core risk), the
    same form as relative foreground sensitivity (Moayeri et al. 2022). NaN where either is NaN.

    Parameters
    ----------
    core_accuracy : accuracy with noise on the spurious regions, in [0, 1].
    spurious_accuracy : accuracy with noise on the core regions, in [0, 1].

    Raises
    ------
    ValueError
        If either is outside [0, 1].
    """
    for value in (core_accuracy, spurious_accuracy):
        if value < 0 or value > 1:
            raise ValueError(f"accuracy {value} is outside [0, 1]")
    room = min(core_accuracy + spurious_accuracy, 2 - core_accuracy - spurious_accuracy)
    if room <= 0:
        return 0.0
    return float(np.clip((core_accuracy - spurious_accuracy) / room, -1, 1))
