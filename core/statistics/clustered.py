"""Shares of images that come in clusters: those that were given the same source.

Every target is given one of a few cut-out cues. Images with the same one are alike, so that 500
targets with 20 cues may say no more than 40 images would: Wilson's interval of targets that count
as independent covers 39 to 76 % at design effects from 3 to 12. Sources are drawn and targets are;
since every target is given one source, what targets add is inside the clusters.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.config import CONFIDENCE
from core.statistics.intervals import paired_difference, share
from core.types import FloatArray, IntArray

Bounds = tuple[float, float, float]

SHARES = 1 / (1 + np.exp(-np.linspace(-9, 9, 181)))
"""Mean shares at which the likelihood is looked at."""

ALIKE = np.concatenate([[1e-6], np.geomspace(0.003, 0.97, 19)])
"""Correlations of two images of a cluster, likewise; the first one is none."""


def clustered_share(hits: FloatArray, clusters: FloatArray, tests: int = 1) -> Bounds:
    """Mean share over all clusters there might be, and its interval.

    The profile likelihood of the beta-binomial (a cluster's own share is beta distributed), cut at
    the square of Student's quantile with a degree of freedom less than there are clusters: it knows
    from how alike the images of each cluster are how much one more cluster could differ, at shares
    near 0 and 1 and without a hit, too. With fewer than eight clusters it is rather too wide. Of
    one cluster nothing can be known beyond it: Wilson's interval over its images.

    Parameters
    ----------
    hits : (n,) 1 or 0; clusters : (n,) numbers of their clusters.
    tests : comparisons that the interval is corrected for (Bonferroni).
    """
    from scipy.stats import t

    value, (caught, sizes) = float(np.mean(hits)), _totals(hits, clusters)
    if len(sizes) < 2:
        return value, *share(float(np.sum(hits)), len(hits), tests)
    likelihood = _profile(caught.astype(np.int64), sizes.astype(np.int64))
    cut = float(t.isf((1 - CONFIDENCE) / (2 * tests), len(sizes) - 1)) ** 2
    low, high = _reach(2 * (likelihood.max() - likelihood) - cut)
    return value, min(low, value), max(high, value)


def clustered_change(before: FloatArray, after: FloatArray, clusters: FloatArray) -> Bounds:
    """Share after minus share before on the same images, and its interval.

    Square-and-add of both intervals with the correlation that the totals of the clusters have.
    """
    old, new = (clustered_share(hits, clusters) for hits in (before, after))
    apart = []
    for hits in (before, after):
        caught, sizes = _totals(hits, clusters)
        apart.append(caught - np.mean(hits) * sizes)
    spread = float(np.linalg.norm(apart[0]) * np.linalg.norm(apart[1]))
    return paired_difference(old, new, float(apart[0] @ apart[1]) / spread if spread else 0.0)


def _totals(hits: FloatArray, clusters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Hits and images of every cluster that there is, (S,) each."""
    _, place = np.unique(clusters, return_inverse=True)
    return np.bincount(place, hits), np.bincount(place).astype(np.float64)


def _profile(hits: IntArray, sizes: IntArray) -> FloatArray:
    """Log likelihood (181,) of every mean share, with the correlation that suits it best."""
    of_hits, of_rest, of_all = _rising(1 << int(sizes.max() - 1).bit_length())
    every = (of_hits[hits] + of_rest[sizes - hits]).sum(axis=0) - of_all[sizes].sum(axis=0)
    found: FloatArray = every.max(axis=1)
    return found


@lru_cache(maxsize=4)
def _rising(most: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Logarithms of a (a + 1) … (a + k - 1) for k up to ``most``, of hits, of others, of all.

    (most + 1, 181, 20) for the first two, (most + 1, 20) for the last.
    """
    all_of = (1 - ALIKE) / ALIKE
    starts = (SHARES[:, None] * all_of, (1 - SHARES)[:, None] * all_of, all_of)
    found = []
    for start in starts:
        steps = np.log(start + np.arange(most).reshape(-1, *[1] * start.ndim))
        found.append(np.concatenate([np.zeros((1, *start.shape)), np.cumsum(steps, axis=0)]))
    return found[0], found[1], found[2]


def _reach(above: FloatArray) -> tuple[float, float]:
    """First and last share at which a curve (181,) is below zero, by its slope between steps."""
    inside = np.flatnonzero(above <= 0)
    axis, ends = np.log(SHARES / (1 - SHARES)), []
    for at, beyond, edge in ((inside[0], inside[0] - 1, 0.0), (inside[-1], inside[-1] + 1, 1.0)):
        if not 0 <= beyond < len(above):
            ends.append(edge)
            continue
        way = above[at] / (above[at] - above[beyond])
        place = axis[at] + way * (axis[beyond] - axis[at])
        ends.append(float(1 / (1 + np.exp(-place))))
    return ends[0], ends[1]
