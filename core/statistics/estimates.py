"""How a figure is made of images: its value, its interval, and how it changes; plain arrays.

An estimate says what the figure is of weighted images (:meth:`Estimate.under`); value, interval and
the interval of a change on the same images follow by the bootstrap, unless there is a formula.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from core.config import CONFIDENCE
from core.statistics.bootstrap import RESAMPLES, RESAMPLES_OF_ONE, bootstrapped
from core.statistics.clustered import clustered_change, clustered_share
from core.statistics.intervals import (
    combined,
    critical,
    paired_change,
    paired_difference,
    share,
    side_size,
)
from core.statistics.order import falling
from core.statistics.paired import weighted_gap, weighted_share
from core.statistics.separation import (
    auroc_interval,
    precision_parts,
    relative_core_sensitivity,
    weighted_auroc,
    weighted_precision,
)
from core.statistics.spuriosity import spurious_gap
from core.types import BoolArray, FloatArray

Bounds = tuple[float, float, float]
"""A value, and the two ends of its 95 % interval; NaN where there is none."""

Drawn = Callable[[int], FloatArray]

NOTHING: Bounds = (float("nan"),) * 3


class Estimate(ABC):
    """A figure of images; ``values`` is (n,), or (n, 2) where an image has two numbers."""

    by_formula = False
    """Whether the interval of one figure has a formula."""
    count = RESAMPLES_OF_ONE
    """Resamples of one figure; a change takes RESAMPLES."""

    @abstractmethod
    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """The figure (B,) under weightings (B, n), how often each image counts; none says NaN."""

    def known(self, values: FloatArray) -> BoolArray:
        """(n,) images that say anything: without NaN."""
        there: BoolArray = ~np.isnan(values)
        return there if values.ndim == 1 else np.asarray(there.all(axis=1))

    def groups(self, values: FloatArray) -> Sequence[int]:
        """Sizes of the groups that are resampled by themselves, in the order of the images."""
        return (len(values),)

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """The figure and its interval; ``tests`` corrects it where it has a formula."""
        values = values[self.known(values)]
        if not len(values):
            return NOTHING
        low, high = bootstrapped(
            lambda weights: self.under(values, weights), self.groups(values), count=self.count
        )
        return self.value(values), low, high

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """The figure after minus before, on the same images in the same order."""
        kept = self.known(before) & self.known(after)
        before, after = before[kept], after[kept]
        if not len(before):
            return NOTHING
        low, high = bootstrapped(
            lambda weights: self.under(after, weights) - self.under(before, weights),
            self.groups(before),
            count=RESAMPLES,
        )
        return self.value(after) - self.value(before), low, high

    def resampled(self, values: FloatArray, drawn: Drawn) -> FloatArray:
        """The figure (B,) under resamples that several models share.

        Parameters
        ----------
        drawn : of n things that are drawn together: how often each was, (B, n), always the same.
        """
        known = self.known(values)
        return self.under(values[known], drawn(len(values))[:, known])

    def value(self, values: FloatArray) -> float:
        """The figure of images that all say something."""
        return float(self.under(values, np.ones((1, len(values))))[0])


class Mean(Estimate):
    """Mean of the values."""

    count = RESAMPLES

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_share(values, weights)


class StudentMean(Mean):
    """Mean of few values, with Student's interval: the bootstrap's is too narrow for a dozen.

    Values that are all the same have no spread to reckon with: at most so many others are of
    another value as Wilson's interval of none of n allows, and that is at one of the ends.

    Parameters
    ----------
    ends : what the values are between, and so the interval.
    """

    by_formula = True

    def __init__(self, ends: tuple[float, float] = (float("-inf"), float("inf"))) -> None:
        self.ends = ends

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """See :class:`Estimate`; no interval of a single value."""
        from scipy.stats import t

        values = values[self.known(values)]
        n = len(values)
        if n < 2:
            return (float(values.mean()), float("nan"), float("nan")) if n else NOTHING
        mean, (lowest, highest) = float(values.mean()), self.ends
        if np.ptp(values) == 0 and np.isfinite(self.ends).all():
            _, others = share(0.0, n, tests)
            return mean, mean - others * (mean - lowest), mean + others * (highest - mean)
        reach = float(t.isf((1 - CONFIDENCE) / (2 * tests), n - 1) * values.std(ddof=1) / n**0.5)
        return mean, max(mean - reach, lowest), min(mean + reach, highest)

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """Of the differences, image by image."""
        reach = self.ends[1] - self.ends[0]
        return StudentMean((-reach, reach)).of(after - before)


class Proportion(Mean):
    """Share of hits, 1 or 0: Wilson's interval; of a change Newcombe's paired one (1998 II)."""

    by_formula = True

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """See :class:`Estimate`."""
        hits = values[self.known(values)]
        if not len(hits):
            return NOTHING
        return (float(hits.mean()), *share(float(hits.sum()), len(hits), tests))

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """See :class:`Estimate`."""
        kept = self.known(before) & self.known(after)
        return paired_change(before[kept].astype(bool), after[kept].astype(bool))


class Flips(Estimate):
    """Share of hits, 1 or 0, of images whose second number is the source that they were given."""

    by_formula = True

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_share(values[:, 0], weights)

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """See :func:`core.statistics.clustered.clustered_share`."""
        values = values[self.known(values)]
        return clustered_share(values[:, 0], values[:, 1], tests) if len(values) else NOTHING

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """See :func:`core.statistics.clustered.clustered_change`."""
        kept = self.known(before) & self.known(after)
        before, after = before[kept], after[kept]
        return clustered_change(before[:, 0], after[:, 0], after[:, 1]) if kept.any() else NOTHING

    def resampled(self, values: FloatArray, drawn: Drawn) -> FloatArray:
        """Sources are drawn, each with its images; spread as far as so few of them have to."""
        from scipy.stats import t

        values = values[self.known(values)]
        sources = int(values[:, 1].max()) + 1
        if sources < 2:
            return super().resampled(values, drawn)
        found = self.under(values, drawn(sources)[:, values[:, 1].astype(np.int64)])
        student = float(t.isf((1 - CONFIDENCE) / 2, sources - 1)) / critical()
        middle, wider = float(np.nanmean(found)), student * np.sqrt(sources / (sources - 1))
        spread: FloatArray = middle + wider * (found - middle)
        return spread


class Gap(Estimate):
    """Hits of the k images of the highest second number minus those of the k lowest, points."""

    by_formula = True

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`; k is that of the images without weights."""
        gap = spurious_gap(values[:, 0].astype(bool), values[:, 1])
        return weighted_gap(values[:, 0].astype(bool), values[:, 1], weights, gap.k)

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """Newcombe's interval of a difference (1998, method 10)."""
        values = values[self.known(values)]
        gap = spurious_gap(values[:, 0].astype(bool), values[:, 1], tests=tests)
        return gap.gap, gap.low, gap.high

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """Of the k images on either side by what is known before, each a paired change."""
        kept = self.known(before) & self.known(after)
        before, after = before[kept], after[kept]
        k, sides = side_size(len(before)), np.full(len(before), np.nan)
        order = falling(before[:, 1])
        sides[order[:k]], sides[order[len(order) - k :]] = 1, 0
        old, new = (np.column_stack([values[:, 0], sides]) for values in (before, after))
        return Sides().change(old, new)


class Sides(Estimate):
    """Hits of the images whose second number is 1 minus hits where it is 0, points."""

    by_formula = True

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        first, second = (weighted_share(h, weights) for h in _hits_of_sides(values))
        found: FloatArray = 100 * (first - second)
        return found

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """From the intervals of both sides, which are different images."""
        return _points(*(Proportion().of(hits, tests) for hits in _hits_of_sides(values)))

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """Each side is a paired change."""
        sides = zip(_hits_of_sides(before), _hits_of_sides(after), strict=True)
        return _points(*(Proportion().change(old, new) for old, new in sides))


def _hits_of_sides(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Hits (n,) of either side, NaN where an image is on the other or on none."""
    first, second = (np.where(values[:, 1] == side, values[:, 0], np.nan) for side in (1, 0))
    return first, second


def _points(first: Bounds, second: Bounds) -> Bounds:
    """First minus second, shares as percentage points."""
    value, low, high = (100 * bound for bound in combined(first, second, signs=(1, -1)))
    return value, low, high


class RelativeSensitivity(Estimate):
    """Relative core sensitivity of two hits of each image, with noise here and there."""

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        shares = [np.clip(weighted_share(values[:, i], weights), 0, 1) for i in (0, 1)]
        pairs = zip(*shares, strict=True)
        return np.array([relative_core_sensitivity(float(a), float(b)) for a, b in pairs])


class Separation(Estimate):
    """How well the first number tells two groups apart; the second is 1 in the first, then 0."""

    by_formula = True

    def groups(self, values: FloatArray) -> Sequence[int]:
        """Either group is resampled by itself."""
        first = int(values[:, 1].sum())
        return first, len(values) - first


class Precision(Separation):
    """Average precision of the first group, whose share is the level of chance."""

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_precision(values[:, 0], values[:, 1] > 0, weights)

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """See :func:`core.statistics.separation.precision_parts`."""
        values = values[self.known(values)]
        if not 0 < values[:, 1].sum() < len(values):
            return NOTHING
        found = precision_parts(values[:, 0], values[:, 1] > 0)
        return found.value, found.low, found.high

    def change(self, before: FloatArray, after: FloatArray) -> Bounds:
        """Square-and-add, with the correlation that the images' influences have."""
        kept = self.known(before) & self.known(after)
        if not 0 < before[kept, 1].sum() < kept.sum():
            return NOTHING
        old, new = (precision_parts(v[kept, 0], v[kept, 1] > 0) for v in (before, after))
        sizes = np.linalg.norm(old.influence) * np.linalg.norm(new.influence)
        return paired_difference(old[:3], new[:3], float(old.influence @ new.influence / sizes))


class Area(Separation):
    """Area under the ROC curve of the first number, with Newcombe's interval (2006)."""

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_auroc(values[:, 0], values[:, 1] > 0, weights)

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """See :class:`Estimate`."""
        values = values[self.known(values)]
        area = self.value(values)
        return (area, *auroc_interval(area, *self.groups(values)))
