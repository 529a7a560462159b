"""The bootstrap's draws and the interval that they give; plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.config import CONFIDENCE
from core.types import FloatArray

RESAMPLES = 2000
"""Of a difference: the smallest p-value that can be found is 1 / 2001."""

RESAMPLES_OF_ONE = 1000
"""Of one figure, which needs an interval and no p-value."""


CHUNK = 2**22
"""Numbers that a bootstrap holds at once."""


def draws(rng: np.random.Generator, n: int, count: int) -> FloatArray:
    """How often each of n images is drawn with replacement, (count, n); every row sums to n."""
    return rng.multinomial(n, np.full(n, 1 / n), count).astype(np.float64)


def percentiles(samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds of 95 % of the samples (B,) or (B, m), without NaN (Efron & Tibshirani 1993, 13)."""
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.nanquantile(samples, ends, axis=0)
    return low, high


def bootstrapped(
    figure: Callable[[FloatArray], FloatArray],
    sizes: Sequence[int],
    *,
    count: int = RESAMPLES_OF_ONE,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a figure of weighted images (Efron & Tibshirani 1993, section 13).

    Parameters
    ----------
    figure : of B weightings (B, n), how often each image counts: (B,) values.
    sizes : images of each group; a group is resampled by itself. They sum to n.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // max(sum(sizes), 1))
    found = []
    for start in range(0, count, step):
        size = min(step, count - start)
        found.append(figure(np.concatenate([draws(rng, n, size) for n in sizes], axis=1)))
    samples = np.concatenate(found)
    if np.isnan(samples).all():
        return float("nan"), float("nan")
    low, high = percentiles(samples)
    return float(low), float(high)
