"""Spuriosity: how strongly an image shows its class's spurious cues, and what follows from it.

Moayeri, Wang, Singla, Feizi: Spuriosity Rankings (NeurIPS 2023), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.statistics.intervals import accuracy_gaps, clopper_pearson, side_size
from core.statistics.order import falling
from core.types import BoolArray, FloatArray, IntArray


def spuriosity(values: FloatArray, fitting: BoolArray) -> FloatArray:
    """Mean z-score of a class's spurious candidates, (n,); higher: more of the cues.

    s(x) = mean over candidates of (value - mean) / sd, mean and population sd over the training
    images (the paper takes them per split, which hides a shift between splits). Candidates that
    are constant on the training images are skipped; without any the result is NaN.

    Parameters
    ----------
    values : (n, m) alpha or feature of every image of the class and spurious candidate; an image
        with NaN has no score.
    fitting : (n,) the training images.
    """
    values = np.asarray(values, np.float64)
    if not values.shape[1] or not fitting.any():
        return np.full(len(values), np.nan)
    known = values[fitting & np.isfinite(values).all(axis=1)]
    if not len(known):
        return np.full(len(values), np.nan)
    mean, spread = known.mean(axis=0), known.std(axis=0)
    moving = spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    if not moving.any():
        return np.full(len(values), np.nan)
    scores: FloatArray = ((values[:, moving] - mean[moving]) / spread[moving]).mean(axis=1)
    return scores


def ranking(scores: FloatArray) -> IntArray:
    """(n,) positions by descending spuriosity; ties at random."""
    return falling(scores)


@dataclass(frozen=True)
class SpuriousGap:
    """Accuracy at high minus accuracy at low spuriosity."""

    gap: float
    """Percentage points. Positive: *clarifying*, the cue helps where it is present; negative:
    *confusing*."""
    low: float
    high: float
    """Newcombe interval, percentage points."""
    accuracy_high: float
    accuracy_low: float
    k: int
    """Images per side, at most half of them."""
    n: int

    @property
    def reading(self) -> str:
        """``clarifying``, ``confusing``, or ``not certain`` where the interval holds zero."""
        if self.low > 0:
            return "clarifying"
        return "confusing" if self.high < 0 else "not certain"


def spurious_gap(
    correct: BoolArray, scores: FloatArray, *, k: int | None = None, tests: int = 1
) -> SpuriousGap:
    """The spurious gap of one class.

    Parameters
    ----------
    correct : (n,) held-out images; scores : (n,) their spuriosity.
    k : images per side; capped at n / 2, and said in the result.
    tests : number of classes looked at, for the correction (Bonferroni).
    """
    n = len(scores)
    side = side_size(n) if k is None else min(k, n // 2)
    found = accuracy_gaps(correct, scores[:, None], k=side, tests=tests)
    gap, low, high = (float(v[0]) for v in (found.gap, found.gap_low, found.gap_high))
    return SpuriousGap(gap, low, high, float(found.high[0]), float(found.low[0]), found.k, n)


@dataclass(frozen=True)
class Group:
    """Accuracy of the images with one value of an attribute."""

    value: str
    accuracy: float
    low: float
    high: float
    """Clopper-Pearson interval of the accuracy, in [0, 1]."""
    n: int

    @property
    def hits(self) -> int:
        """Images that are predicted correctly."""
        return round(self.accuracy * self.n)


def groups(correct: BoolArray, values: np.ndarray, *, tests: int = 1) -> list[Group]:
    """Accuracy per value of an attribute, worst first; missing values are a group of their own.

    Intervals are exact, so that all of them hold at once where they are corrected.
    """
    names = np.array(["missing" if v != v or v is None else str(v) for v in values], dtype=object)
    found = []
    for name in sorted(set(names)):
        hits = correct[names == name]
        low, high = clopper_pearson(int(hits.sum()), len(hits), tests)
        found.append(Group(name, float(hits.mean()), float(low), float(high), len(hits)))
    return sorted(found, key=lambda g: g.accuracy)


def reliability(values: FloatArray, own: BoolArray) -> float:
    """How class-specific a high value is: share of the class among its n_c most activating images.

    Precision at n_c over all images, in [0, 1]; higher means more specific. Core features are
    expected above spurious ones. ``values`` (N,), ``own`` (N,) images of the class. Of equal
    values the first ones count.
    """
    n = int(own.sum())
    if not n:
        return float("nan")
    least = np.partition(values, len(values) - n)[len(values) - n]
    above = values > least
    ties = np.flatnonzero(values == least)[: n - int(above.sum())]
    return float(own[above].sum() + own[ties].sum()) / n
