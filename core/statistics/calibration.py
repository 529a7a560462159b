"""Calibration: how far confidence is from accuracy; plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.config import CONFIDENCE
from core.statistics.intervals import critical
from core.types import BoolArray, FloatArray, IntArray

BINS = 15
"""Equal-width bins of the confidence (Guo et al. 2017)."""

TRIALS = 200
"""Simulated sets of a calibrated model."""

DRAWS = 500
"""Simulated sets of a model whose error is a multiple of the observed one."""

CHUNK = 2**22
"""Simulated predictions that are in memory at once."""

SCALES = np.linspace(0, 2, 26)
"""The multiples of the observed error that are looked at."""

CHANCE = (1 - CONFIDENCE) / 2
"""How often an error as large as the observed one is chance, at the interval's lower end."""


def bins_of(confidence: FloatArray) -> IntArray:
    """(n,) bin of every confidence in (0, 1]; 1 falls into the last one."""
    found: IntArray = np.clip((np.asarray(confidence) * BINS).astype(np.int64), 0, BINS - 1)
    return found


def bin_sums(confidence: FloatArray, correct: BoolArray, weights: FloatArray) -> FloatArray:
    """Sum of correct - confidence per bin under every weighting, (B, BINS).

    Additive over parts of the images, so that a large set can be summed class by class.

    Parameters
    ----------
    confidence : (n,) probability of the prediction; correct : (n,); weights : (B, n).
    """
    away = np.zeros((len(confidence), BINS), np.float32 if len(weights) > 1 else np.float64)
    away[np.arange(len(away)), bins_of(confidence)] = correct - np.asarray(confidence, np.float64)
    found: FloatArray = weights.astype(away.dtype, copy=False) @ away
    return found


def calibration_error(confidence: FloatArray, correct: BoolArray) -> float:
    """Expected calibration error, in [0, 1]; lower is better, NaN without images.

    sum over bins of n_b / n |accuracy_b - confidence_b| with 15 equal-width bins of the
    prediction's probability (Guo et al. 2017). Biased upwards, more so the fewer the images: see
    :func:`calibrated_level`.
    """
    n = len(confidence)
    if not n:
        return float("nan")
    return float(np.abs(bin_sums(confidence, correct, np.ones((1, n)))).sum() / n)


def calibrated_level(confidence: FloatArray, *, seed: int = 0) -> float:
    """The error that a perfectly calibrated model of these confidences shows on average.

    Mean over simulated sets in which every prediction is right with its own confidence; an error
    near this level is no evidence of miscalibration.
    """
    n = len(confidence)
    if not n:
        return float("nan")
    rng = np.random.default_rng(seed)
    sure, bins = np.asarray(confidence, np.float64), bins_of(confidence)
    members = [np.flatnonzero(bins == b) for b in range(BINS)]
    step, errors = max(1, CHUNK // n), []
    for start in range(0, TRIALS, step):  # all of them of a million images are gigabytes
        away: FloatArray = (rng.random((min(step, TRIALS - start), n)) < sure) - sure
        errors.append(np.sum([np.abs(away[:, of].sum(axis=1)) for of in members], axis=0))
    return float(np.concatenate(errors).mean() / n)


class Calibration(NamedTuple):
    """The expected calibration error without what chance adds to it, in [0, 1]."""

    value: float
    """The error whose sets show the plain error half of the time; 0 where a calibrated model does
    so more often than not."""
    low: float
    high: float
    plain: float
    """:func:`calibration_error`."""


def calibration_interval(
    confidence: FloatArray, correct: BoolArray, *, seed: int = 0
) -> Calibration:
    """The calibration error behind the plain one, with a 95 % interval.

    The plain error is a sum of distances, to which chance only adds, so that no resampling of it
    reaches down to a calibrated model. Sets are drawn whose error in every bin is s times the
    observed one, from a calibrated model (s = 0) on: the lower end is the largest error whose sets
    show as much as was observed in less than ``CHANCE``, the value the one that shows it half of
    the time. The sum of signed distances is never above the error, which makes the upper end
    plain + z standard errors of that sum, with one more image that is wrong by 1.
    """
    n = len(confidence)
    if not n:
        return Calibration(*[float("nan")] * 4)
    away = np.asarray(correct, np.float64) - np.asarray(confidence, np.float64)
    plain = calibration_error(confidence, correct)
    scale = [_scale(plain, errors) for errors in _shown(confidence, correct, seed)]
    spread = (np.square(away).sum() + 1) / (n + 1) - plain**2
    high = min(plain + critical() * float(np.sqrt(spread / n)), 1.0)
    return Calibration(scale[0] * plain, scale[1] * plain, high, plain)


def _scale(plain: float, errors: FloatArray) -> float:
    """The multiple at which a rising quantile (26,) of the error reaches the observed one."""
    rising = np.maximum.accumulate(errors) + 1e-12 * np.arange(len(errors))
    return float(np.interp(plain, rising, SCALES)) if plain > errors[0] else 0.0


def _shown(confidence: FloatArray, correct: BoolArray, seed: int) -> FloatArray:
    """Median and upper end (2, 26) of the error that sets with each multiple of it show."""
    n, bins = len(confidence), bins_of(confidence)
    sure = np.asarray(confidence, np.float64)
    count, sums, hits, null = (
        np.bincount(bins, weights, BINS) for weights in (None, sure, correct, sure * (1 - sure))
    )
    mean = sums / np.maximum(count, 1)
    accuracy = (hits + 2 * mean) / (count + 2)
    away, drawn = (hits - sums) / n, np.random.default_rng(seed).normal(size=(DRAWS, BINS))
    found = []
    for scale in SCALES:
        right = np.clip(mean + scale * (accuracy - mean), 0, 1)
        variance = null + count * (right * (1 - right) - mean * (1 - mean))
        error = np.sqrt(np.maximum(variance, 0.02 * count)) / n
        shown = np.abs(scale * away + error * drawn).sum(axis=1)
        found.append(np.quantile(shown, [0.5, 1 - CHANCE]))
    return np.array(found).T
