"""How a figure is made of images: its value, its interval, and how it changes; plain arrays.

An estimate says what the figure is of weighted images (:meth:`Estimate.under`); value, interval and
the interval of a change on the same images follow by the bootstrap, unless there is a formula.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from core.statistics.bootstrap import RESAMPLES, RESAMPLES_OF_ONE, bootstrapped
from core.statistics.intervals import combined, paired_change, share, side_size
from core.statistics.order import falling
from core.statistics.paired import weighted_gap, weighted_share
from core.statistics.separation import (
    auroc_interval,
    relative_core_sensitivity,
    weighted_auroc,
    weighted_precision,
)
from core.statistics.spuriosity import spurious_gap
from core.types import BoolArray, FloatArray

Bounds = tuple[float, float, float]
"""A value, and the two ends of its 95 % interval; NaN where there is none."""

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

    def value(self, values: FloatArray) -> float:
        """The figure of images that all say something."""
        return float(self.under(values, np.ones((1, len(values))))[0])


class Mean(Estimate):
    """Mean of the values."""

    count = RESAMPLES

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_share(values, weights)


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


class Precision(Estimate):
    """Average precision of the first number; the second is 1 in the first group, then 0."""

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_precision(values[:, 0], values[:, 1] > 0, weights)

    def groups(self, values: FloatArray) -> Sequence[int]:
        """Either group is resampled by itself."""
        first = int(values[:, 1].sum())
        return first, len(values) - first


class Area(Precision):
    """Area under the ROC curve of the first number, with Newcombe's interval (2006)."""

    by_formula = True

    def under(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """See :class:`Estimate`."""
        return weighted_auroc(values[:, 0], values[:, 1] > 0, weights)

    def of(self, values: FloatArray, tests: int = 1) -> Bounds:
        """See :class:`Estimate`."""
        values = values[self.known(values)]
        area = self.value(values)
        return (area, *auroc_interval(area, *self.groups(values)))
