"""Two models on the same images: intervals and tests of a difference; plain arrays.

Images are resampled once per class, and every model is looked at through the same resamples, so
that what is easy or hard for all of them cancels in the difference (paired bootstrap).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from core.statistics.bootstrap import RESAMPLES, percentiles
from core.statistics.intervals import critical, paired_difference
from core.types import BoolArray, FloatArray, IntArray

CHUNK = 2**22
"""Numbers of one resample step that are in memory at once."""


class Sampled(NamedTuple):
    """A figure and what it becomes under resampling."""

    value: float
    samples: FloatArray
    """(B,) the same figure on every resample, NaN where a resample has no image for it."""


def resamples(n: int, stratum: str, *, count: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """How often each of ``n`` images is drawn, (count, n) float32; every row sums to n.

    Parameters
    ----------
    stratum : name of the group that is resampled by itself (a class); the same name, size and
        seed always give the same draws, which is what pairs two models.
    """
    name = int.from_bytes(blake2b(stratum.encode(), digest_size=8).digest(), "big")
    rng = np.random.default_rng([seed, name])
    found = np.zeros((count, n), np.float32)
    step = max(1, CHUNK // max(n, 1))
    for start in range(0, count if n else 0, step):
        size = min(step, count - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        found[start : start + size] = np.bincount(drawn.ravel(), minlength=size * n).reshape(-1, n)
    return found


def resampled_counts(sizes: IntArray, stratum: str, *, count: int = RESAMPLES) -> FloatArray:
    """How many of each of several groups (c,) are drawn, (count, c) float32.

    What :func:`resamples` sums to over groups of images that are alike in all that is looked at,
    without a number for every image.

    Parameters
    ----------
    sizes : (c,) images of each, that are drawn from together; stratum : as there.
    """
    name = int.from_bytes(blake2b(stratum.encode(), digest_size=8).digest(), "big")
    n = int(np.sum(sizes))
    if not n:
        return np.zeros((count, len(sizes)), np.float32)
    rng = np.random.default_rng([0, name])
    return rng.multinomial(n, np.asarray(sizes, np.float64) / n, count).astype(np.float32)


def weighted_share(hits: FloatArray, weights: FloatArray) -> FloatArray:
    """Share of hits under every weighting, (B,); NaN hits are left out.

    Parameters
    ----------
    hits : (n,) 1, 0 or NaN; weights : (B, n).
    """
    there = ~np.isnan(hits)
    seen = weights @ there.astype(np.float64)
    caught = weights @ np.where(there, hits, 0.0)
    found: FloatArray = np.divide(caught, seen, out=np.full(len(seen), np.nan), where=seen > 0)
    return found


def weighted_gap(correct: BoolArray, scores: FloatArray, weights: FloatArray, k: int) -> FloatArray:
    """The spurious gap under every weighting, (B,) percentage points.

    100 (accuracy of the k highest - accuracy of the k lowest), an image counting as often as it
    was drawn; ties are broken as in :func:`core.statistics.intervals.accuracy_gaps`.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    values = np.asarray(scores)[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))  # of images that are equal
    kept, right = weights[:, order].astype(np.float64), np.asarray(correct, np.float64)[order]
    if len(starts) == len(values):  # none is equal to another: sums of whole numbers
        top, bottom = _first(kept, k) @ right, _first(kept[:, ::-1], k) @ right[::-1]
    else:
        drawn = np.add.reduceat(kept, starts, axis=1)
        hits = np.add.reduceat(kept * right, starts, axis=1)
        mean = np.divide(hits, drawn, out=np.zeros_like(hits), where=drawn > 0)
        top = (_first(drawn, k) * mean).sum(axis=1)
        bottom = (_first(drawn[:, ::-1], k) * mean[:, ::-1]).sum(axis=1)
    found: FloatArray = 100 * (top - bottom) / k
    return found


def _first(drawn: FloatArray, k: int) -> FloatArray:
    """How many of each group are among the first k that were drawn, (B, g)."""
    before = np.cumsum(drawn, axis=1) - drawn
    found: FloatArray = np.clip(k - before, 0, drawn)
    return found


def bootstrap_interval(found: Sampled) -> tuple[float, float]:
    """Percentile interval, moved by the bootstrap's own bias.

    Extremes over groups and the calibration error grow under resampling, so a plain percentile
    interval need not even hold the estimate; its quantiles are therefore taken of
    samples - (mean of the samples - value). Efron & Tibshirani 1993, section 10.
    """
    samples = found.samples[~np.isnan(found.samples)]
    if not len(samples) or found.value != found.value:
        return float("nan"), float("nan")
    moved = samples - (samples.mean() - found.value)
    low, high = percentiles(moved)
    return float(low), float(high)


def difference(found: Sampled, other: Sampled) -> Sampled:
    """``found`` minus ``other``, resample by resample."""
    return Sampled(found.value - other.value, found.samples - other.samples)


def shared_difference(
    before: Sampled, ends: tuple[float, float], after: Sampled, others: tuple[float, float]
) -> tuple[float, float, float]:
    """After minus before from the intervals of both, which the same images made.

    Square-and-add (:func:`core.statistics.intervals.paired_difference`) with the correlation that
    both figures have under the same resamples; 0 where either does not move. Where an interval
    begins at 0, the least value of an error, that error may lie on either side of what it is
    measured from, and with it the correlation: the distances are added.

    Parameters
    ----------
    before, after : both under the same resamples; ends, others : their 95 % intervals.
    """
    correlation = -1.0 if min(ends[0], others[0]) <= 0 else _correlation(before, after)
    return paired_difference((before.value, *ends), (after.value, *others), correlation)


def _correlation(before: Sampled, after: Sampled) -> float:
    away = [each.samples - each.samples.mean() for each in (before, after)]
    spread = float(np.linalg.norm(away[0]) * np.linalg.norm(away[1]))
    return float(away[0] @ away[1]) / spread if spread > 0 else 0.0


def bootstrap_p(found: Sampled) -> float:
    """Two-sided p-value that a difference is zero, in [1 / (B + 1), 1].

    Share of resamples whose difference leaves their mean by at least the observed difference
    (Efron & Tibshirani 1993, section 16), both counted once more so that it is never 0.
    """
    samples = found.samples[~np.isnan(found.samples)]
    if not len(samples) or found.value != found.value:
        return float("nan")
    away = np.abs(samples - samples.mean()) >= abs(found.value) - 1e-12
    return float((away.sum() + 1) / (len(samples) + 1))


def newly_given(
    before: IntArray, after: IntArray, output: IntArray | int | np.integer[Any]
) -> BoolArray:
    """Images (n,) that a change gives an output that they did not have: flips into a class.

    Parameters
    ----------
    before, after : (n,) outputs; output : the one asked for, of all images or of each.
    """
    flipped: BoolArray = (after == output) & (before != output)
    return flipped


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value that two models are right equally often (McNemar 1947).

    Parameters
    ----------
    only_first, only_second : images that exactly one of the two models gets right.
    """
    n = only_first + only_second
    if not n:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, n, 0.5).pvalue)


def paired_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Interval of the second model's accuracy minus the first's, on the same n images.

    Wald's with one image added to either kind of disagreement (Bonett & Price 2012); it has a
    width even where no image differs.
    """
    lost, won = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = critical() * np.sqrt((lost + won - (won - lost) ** 2) / (n + 2))
    return float(max(won - lost - half, -1)), float(min(won - lost + half, 1))
