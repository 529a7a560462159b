"""What a model says of labelled images, in the numbers that calibration takes; plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.statistics.estimates import Bounds
from core.statistics.intervals import critical, log_softmax
from core.types import BoolArray, FloatArray, IntArray

COLUMNS = ("right", "confidence", "log_probability", "brier")
"""Of a table of forecasts, a row per image: what every figure of calibration is made of. Beside
``image_id`` and, of images that were changed, ``condition`` (such as a corruption with its
severity), this is how forecasts are handed on."""

BLOCK = 4096
"""Images whose probabilities are in memory at a time."""

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures that are looked at."""


class Forecasts(NamedTuple):
    """Of n images, whose label is among the classes."""

    right: BoolArray
    """(n,) whether the most probable class is the label."""
    confidence: FloatArray
    """(n,) probability of the most probable class."""
    log_probability: FloatArray
    """(n,) natural logarithm of the label's probability, at most 0."""
    brier: FloatArray
    """(n,) sum over classes of (p_k - 1[label is k])^2, in [0, 2] (Brier 1950); some papers divide
    it by the number of classes."""

    def of(self, rows: IntArray | BoolArray) -> Forecasts:
        """Those of some images."""
        return Forecasts(*(part[rows] for part in self))


def forecasts(
    logits: FloatArray, labels: IntArray, temperature: float | FloatArray = 1.0
) -> Forecasts:
    """What logits (n, K) say of images with these labels (n,).

    Parameters
    ----------
    temperature : what the logits are divided by, of all images or (n,) of each.
    """
    n = len(logits)
    heat = np.broadcast_to(np.asarray(temperature, np.float64), n)
    blocks = [slice(start, start + BLOCK) for start in range(0, max(n, 1), BLOCK)]
    return joined([_forecasts(logits[part], labels[part], heat[part]) for part in blocks])


def _forecasts(logits: FloatArray, labels: IntArray, heat: FloatArray) -> Forecasts:
    log_p = log_softmax(np.asarray(logits, np.float64) / heat[:, None])
    rows, said = np.arange(len(log_p)), log_p.argmax(axis=1)
    p, mine = np.exp(log_p), log_p[rows, labels]
    brier = np.square(p).sum(axis=1) - 2 * np.exp(mine) + 1
    return Forecasts(said == labels, p[rows, said], mine, np.maximum(brier, 0))


def joined(parts: Sequence[Forecasts]) -> Forecasts:
    """Forecasts below each other; at least one."""
    return Forecasts(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def mean_probability(logits: Sequence[FloatArray]) -> FloatArray:
    """Logarithm (n, K) of the mean of what several models' logits (n, K) say.

    The ensemble of Lakshminarayanan et al. 2017: probabilities are averaged, not logits.
    """
    found: FloatArray = np.logaddexp.reduce([log_softmax(part) for part in logits])
    found -= np.log(len(logits))
    return found


def fitted_temperature(logits: FloatArray, labels: IntArray) -> Bounds:
    """The temperature whose likelihood of the labels is highest (Guo et al. 2017, section 4.2).

    With a 95 % interval by the likelihood ratio. The negative log-likelihood is convex in 1 / T, so
    that there is one; it changes no prediction. Above 1: the model was too sure. Looked for between
    COLDEST and HOTTEST, one of which it is where the likelihood has no maximum between, as where
    every image is right. 1, without an interval, of no image.
    """
    from scipy.optimize import brentq

    logits = np.asarray(logits, np.float64)
    if not len(logits):
        return 1.0, float("nan"), float("nan")
    mine = logits[np.arange(len(labels)), labels]
    finite = np.where(np.isfinite(logits), logits, 0)  # outputs that cannot be chosen

    def slope(inverse: float) -> float:
        p = np.exp(log_softmax(inverse * logits))
        return float(((p * finite).sum(axis=1) - mine).sum())

    def loss(inverse: float) -> float:
        return float(-forecasts(logits, labels, 1 / inverse).log_probability.sum())

    ends = 1 / HOTTEST, 1 / COLDEST
    best = ends[0] if slope(ends[0]) >= 0 else ends[1]
    if slope(ends[0]) < 0 < slope(ends[1]):
        best = float(brentq(slope, *ends, xtol=1e-10))
    worst = loss(best) + critical() ** 2 / 2
    low, high = (
        float(brentq(lambda b: loss(b) - worst, *sorted((best, end)), xtol=1e-6))
        if loss(end) > worst
        else end
        for end in ends
    )
    return 1 / best, 1 / high, 1 / low
