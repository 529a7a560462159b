"""Whether differences of pairs are more than what swapping either member would give; exact."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.types import FloatArray

MOST = 16
"""Pairs of which every way to swap them is tried, 65,536 ways."""


def swap_p(differences: FloatArray) -> float:
    """One-sided p-value, above 0, that first and second of every pair could be swapped.

    Share of all ways to swap whose mean difference is at least the observed one (Fisher 1935,
    section 21). It is exact however skew the differences are, where Student's t loses its power:
    a cue that turns few images by most regions and many by some is as sure as one that turns
    as many by all. The smallest value is 2 ** -d.

    Parameters
    ----------
    differences : (d,) first minus second; of more than MOST the first ones count.
    """
    kept = np.asarray(differences, np.float64)[:MOST]
    sums = _signs(len(kept)) @ kept
    return float(np.mean(sums >= kept.sum() - 1e-12))


def swap_least(differences: FloatArray, error: float) -> float:
    """Largest shift that :func:`swap_p` of the differences minus it still refutes: a lower bound.

    Above 0 just where swap_p is at most ``error``; -1 where no shift of shares can be refuted.
    """
    low, high = -1.0, float(np.mean(differences[:MOST]))
    if swap_p(differences - low) > error:
        return low
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if swap_p(differences - middle) <= error else (low, middle)
    return low


@lru_cache(maxsize=4)
def _signs(d: int) -> FloatArray:
    """Every way to swap d pairs, (2 ** d, d) of 1 and -1."""
    bits = np.arange(2**d)[:, None] >> np.arange(d) & 1
    found: FloatArray = 1.0 - 2.0 * bits
    return found
