"""The Brier score taken apart (Murphy 1973), class by class in bins of the probability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.statistics.calibration import BINS, bins_of
from core.statistics.forecasts import BLOCK
from core.statistics.intervals import log_softmax
from core.types import FloatArray, IntArray


class Decomposed(NamedTuple):
    """brier = reliability - resolution + uncertainty + within, summed over classes."""

    reliability: float
    """Squared distance of frequency from probability; lower is better."""
    resolution: float
    """Squared distance of the bins' frequencies from that of all; higher is better."""
    uncertainty: float
    """That of the labels themselves, which no model changes."""
    within: float
    """What bins hide (Stephenson et al. 2008): 0 where all of a bin have one probability."""
    chance: float
    """Reliability that a perfectly calibrated model of these probabilities has on average."""

    @property
    def brier(self) -> float:
        """The score itself."""
        return self.reliability - self.resolution + self.uncertainty + self.within


def decomposed(logits: FloatArray, labels: IntArray) -> Decomposed:
    """The parts of the Brier score of n images.

    Parameters
    ----------
    logits : (n, K); labels : (n,). NaN without images.
    """
    n, classes = logits.shape
    if not n:
        return Decomposed(*[float("nan")] * 5)
    sums = np.zeros((6, BINS * classes))
    for start in range(0, n, BLOCK):
        part = slice(start, start + BLOCK)
        sums += _sums(np.exp(log_softmax(logits[part])), labels[part])
    count, said, happened, squared, mixed, null = sums
    there = np.maximum(count, 1)
    frequency, rate = happened / there, happened.reshape(classes, BINS).sum(axis=1) / n
    reliability = float((count * (said / there - frequency) ** 2).sum() / n)
    away = frequency - np.repeat(rate, BINS)
    spread = squared - said**2 / there - 2 * (mixed - said * frequency)
    return Decomposed(
        reliability,
        float((count * away**2).sum() / n),
        float((rate * (1 - rate)).sum()),
        float(spread.sum() / n),
        float((null / there).sum() / n),
    )


def _sums(p: FloatArray, labels: IntArray) -> FloatArray:
    """Over every class and bin (6, K BINS): count, p, hits, p^2, p of hits, p (1 - p)."""
    n, classes = p.shape
    cell = (bins_of(p) + BINS * np.arange(classes)).ravel()
    hit = np.zeros((n, classes))
    hit[np.arange(n), labels] = 1
    weights = (None, p, hit, p * p, p * hit, p * (1 - p))
    return np.stack(
        [np.bincount(cell, None if of is None else of.ravel(), BINS * classes) for of in weights]
    )
