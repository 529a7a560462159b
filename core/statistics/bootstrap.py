"""The bootstrap's draws and the interval that they give; plain arrays."""

from __future__ import annotations

import numpy as np

from core.config import CONFIDENCE
from core.types import FloatArray

RESAMPLES = 2000
"""Of a difference: the smallest p-value that can be found is 1 / 2001."""

RESAMPLES_OF_ONE = 1000
"""Of one figure, which needs an interval and no p-value."""


def draws(rng: np.random.Generator, n: int, count: int) -> FloatArray:
    """How often each of n images is drawn with replacement, (count, n); every row sums to n."""
    return rng.multinomial(n, np.full(n, 1 / n), count).astype(np.float64)


def percentiles(samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds of 95 % of the samples (B,) or (B, m), without NaN (Efron & Tibshirani 1993, 13)."""
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.nanquantile(samples, ends, axis=0)
    return low, high
