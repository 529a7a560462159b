"""Calibration: how far confidence is from accuracy; plain arrays."""

from __future__ import annotations

import numpy as np

from core.types import BoolArray, FloatArray, IntArray

BINS = 15
"""Equal-width bins of the confidence (Guo et al. 2017)."""

TRIALS = 200
"""Simulated sets of a calibrated model."""


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
    right = rng.random((TRIALS, n)) < np.asarray(confidence, np.float64)
    away: FloatArray = right - np.asarray(confidence, np.float64)
    bins = bins_of(confidence)
    errors = [np.abs(away[:, bins == b].sum(axis=1)) for b in range(BINS)]
    return float(np.sum(errors, axis=0).mean() / n)
