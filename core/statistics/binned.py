"""What a property, in a few bins, tells: a label across images, and errors within classes.

Nothing is fitted that could hide how it was found: in every bin the most frequent label of the
other images is said. Chance is what the very same does of labels (or errors) that are shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from core.types import FloatArray, IntArray

Values = TypeVar("Values", IntArray, FloatArray)

BINS = 8
"""Of a number, with as many images each as ties allow."""

VALUES = 15
"""Values of a word that are bins of their own, the most frequent; all others share one."""

FOLDS = 5
SHUFFLES, FEWER = 999, 99
"""Times that labels are shuffled; fewer where many properties are asked at once."""

MOST = 2000
"""Images that many properties are asked about at once, a fixed random part."""


class Told(NamedTuple):
    """How much is told, beside chance."""

    figure: float
    chance: float
    """Mean of the figure of shuffled ones."""
    p: float
    """Share of shuffled ones with as large a figure, itself counted; never 0."""


def number_bins(values: FloatArray) -> IntArray:
    """(n,) bin of every number by rank; NaN is a bin of its own, the last."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values), np.int64)
    edges = np.unique(np.quantile(values[known], np.arange(1, BINS) / BINS))
    found = np.searchsorted(edges, values, side="right").astype(np.int64)
    return np.where(known, found, len(edges) + 1)


def word_bins(words: np.ndarray) -> IntArray:
    """(n,) bin of every word; the rarest share the last."""
    _, places, counts = np.unique(words.astype(str), return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    found: IntArray = np.minimum(rank, VALUES)[places]
    return found


def label_told(bins: IntArray, labels: IntArray, *, seed: int = 0) -> Told:
    """Accuracy of the most frequent label of the other folds in the image's bin, in [0, 1].

    Parameters
    ----------
    bins : (n,) from 0; labels : (n,) from 0.
    """
    folds = np.random.default_rng(seed).permutation(len(bins)) % FOLDS
    shape = (FOLDS, int(bins.max(initial=0)) + 1, int(labels.max(initial=0)) + 1)

    def accuracy(said: IntArray) -> float:
        cells = np.ravel_multi_index((folds, bins, said), shape)
        counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)
        others = counts.sum(axis=0) - counts + 1e-3 * counts.sum(axis=(0, 1))
        best = others.argmax(axis=2)
        return float((best[folds, bins] == said).mean())

    return _beside(accuracy, labels, lambda rng: rng.permutation(labels), seed)


def all_told(every: Sequence[IntArray], labels: IntArray, *, seed: int = 0) -> Told:
    """Accuracy of naive Bayes over several properties at once, of folds it was not fitted on.

    In every bin of every property the labels of the other folds are counted, one added.

    Parameters
    ----------
    every : (n,) bins from 0, at least one; labels : (n,) from 0.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST])
    mine = labels[rows]
    shown = np.concatenate([np.eye(int(b.max(initial=0)) + 1)[b[rows]] for b in every], axis=1)
    folds = np.random.default_rng(seed).permutation(len(mine)) % FOLDS
    classes = np.eye(int(labels.max(initial=0)) + 1)

    def accuracy(said: IntArray) -> float:
        right = 0
        for fold in range(FOLDS):
            fit, asked = folds != fold, folds == fold
            given = classes[said[fit]]
            n = given.sum(axis=0)
            likely = np.log((given.T @ shown[fit] + 1) / (n[:, None] + 1))
            scores = shown[asked] @ likely.T + np.log(n + 1e-3)
            right += int((scores.argmax(axis=1) == said[asked]).sum())
        return right / len(said)

    return _beside(accuracy, mine, lambda rng: rng.permutation(mine), seed, FEWER)


def errors_told(bins: IntArray, wrong: FloatArray, classes: IntArray, *, seed: int = 0) -> Told:
    """Share of the variance of errors within classes that bins explain, in [0, 1]; higher: more.

    In every class by itself: what helps one class hurts another, and both would cancel out.

    Parameters
    ----------
    bins, classes : (n,) from 0; wrong : (n,) 1 where the model errs. Errors are shuffled within
        classes; without an error, or without an image that is right, the figure is 0.
    """
    per_class = np.maximum(np.bincount(classes), 1)
    rest = wrong - (np.bincount(classes, weights=wrong) / per_class)[classes]
    total = float(rest @ rest)
    order = np.argsort(classes, kind="stable")
    cells = classes * (int(bins.max(initial=0)) + 1) + bins
    sizes = np.maximum(np.bincount(cells), 1)

    def explained(left: FloatArray) -> float:
        sums = np.bincount(cells, weights=left)
        return float((sums**2 / sizes).sum() / total) if total > 1e-12 else 0.0

    def shuffled(rng: np.random.Generator) -> FloatArray:
        mixed = np.lexsort((rng.random(len(classes)), classes))
        found = np.empty_like(rest)
        found[order] = rest[mixed]
        return found

    return _beside(explained, rest, shuffled, seed)


def _beside(
    figure: Callable[[Values], float],
    values: Values,
    shuffled: Callable[[np.random.Generator], Values],
    seed: int,
    times: int | None = None,
) -> Told:
    """The figure of values beside that of shuffled ones."""
    rng, times = np.random.default_rng(seed + 1), times or SHUFFLES
    found = figure(values)
    others = np.array([figure(shuffled(rng)) for _ in range(times)])
    as_large = int((others >= found - 1e-12).sum())
    return Told(found, float(others.mean()), (1 + as_large) / (1 + times))
