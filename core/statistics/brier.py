"""The Brier score taken apart (Murphy 1973), class by class in bins of the probability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.statistics.calibration import BINS, bins_of
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


def decomposed(probabilities: FloatArray, labels: IntArray) -> Decomposed:
    """The parts of the Brier score of n images.

    Parameters
    ----------
    probabilities : (n, K); labels : (n,). NaN without images.
    """
    p = np.asarray(probabilities, np.float64)
    n, classes = p.shape
    if not n:
        return Decomposed(*[float("nan")] * 5)
    cell = (bins_of(p) + BINS * np.arange(classes)).ravel()
    hit = np.zeros((n, classes))
    hit[np.arange(n), labels] = 1
    size = BINS * classes
    count, said, happened, squared, mixed, null = (
        np.bincount(cell, None if of is None else of.ravel(), size)
        for of in (None, p, hit, p * p, p * hit, p * (1 - p))
    )
    there = np.maximum(count, 1)
    frequency, rate = happened / there, hit.mean(axis=0)
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
