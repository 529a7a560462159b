"""A linear head in closed form, out of fold, for sets on which a fitted one would take hours.

Linear discriminant analysis: one Gaussian a class with a common covariance. Every fold's head
follows from sums that are taken once, over images that are read a part at a time: the time is that
of two products of matrices, the memory that of the heads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from core.errors import ModelError
from core.models.head import NOT_FINITE, held_out_splits
from core.types import FloatArray, IntArray, MadeRows, Rows, blocks

CALIBRATED = 5000
"""Images that the temperature is fitted on, at least where there are so many, evenly spread."""


class Sums(NamedTuple):
    """What the heads of some images follow from."""

    counts: FloatArray
    """(K,) images of every class."""
    sums: FloatArray
    """(K, D) of their features."""
    products: FloatArray
    """(D, D) of features with features, over all of them."""

    def and_of(self, other: Sums) -> Sums:
        """Of both together."""
        return Sums(*(one + more for one, more in zip(self, other, strict=True)))

    def without(self, some: Sums) -> Sums:
        """Of all but some of them."""
        return Sums(*(of_all - of_some for of_all, of_some in zip(self, some, strict=True)))


@dataclass(frozen=True)
class FoldDiscriminants:
    """Heads of folds. By numbers of images: what those say (m, K) float32 that did not see them."""

    features: Rows
    """(n, D)."""
    mean: FloatArray
    """(D,) float32, taken off the features."""
    weight: FloatArray
    """(F, K, D) float32."""
    bias: FloatArray
    """(F, K) float32."""
    fold: IntArray
    """(n,) the head that did not see an image; -1 for the only image of a class."""
    temperature: float = 1.0
    """What the logits are divided by."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, K)."""
        return len(self.fold), self.weight.shape[1]

    def __getitem__(self, rows: IntArray, /) -> FloatArray:
        """Logits (m, K) float32 of some images; NaN of the only image of a class."""
        found = np.full((len(rows), self.shape[1]), np.nan, np.float32)
        features, fold = self.features[rows] - self.mean, self.fold[rows]
        for number in np.unique(fold[fold >= 0]):
            here = fold == number
            found[here] = features[here] @ self.weight[number].T + self.bias[number]
        found /= np.float32(self.temperature)
        return found


def sums_of(
    features: Rows, labels: IntArray, n_classes: int, fold: IntArray | None = None
) -> list[Sums]:
    """The sums over images (n, D) with labels (n,), of every fold (n,) from 0 on; all are in one.

    The products of a block of images are taken in the features' arithmetic, sums of blocks in
    float64.
    """
    from scipy.sparse import csr_array

    of = np.zeros(len(labels), np.int64) if fold is None else fold
    width, n_folds = features.shape[1], int(of.max(initial=0)) + 1
    empty = (np.zeros(n_classes), np.zeros((n_classes, width)), np.zeros((width, width)))
    found = [Sums(*(part.copy() for part in empty)) for _ in range(n_folds)]
    for rows in blocks(len(labels)):
        block = features[rows]
        for number in np.unique(of[rows]):
            here = of[rows] == number
            part, known = block[here], labels[rows[here]]
            ones = (np.ones(len(known)), (known, np.arange(len(known))))
            sums = found[number]
            sums.counts[:] += np.bincount(known, minlength=n_classes)
            sums.sums[:] += csr_array(ones, shape=(n_classes, len(known))) @ part
            sums.products[:] += part.T @ part
    return found


def discriminant(known: Sums) -> tuple[FloatArray, FloatArray]:
    """Weight (K, D) and bias (K,) of the linear discriminant of some images.

    The common covariance is shrunk towards a multiple of the identity (Chen, Wiesel, Eldar, Hero
    2010, equation 23: OAS). A class without images gets a bias of minus infinity.
    """
    n, present = known.counts.sum(), known.counts > 0
    means = known.sums / np.maximum(known.counts, 1)[:, None]
    within = (known.products - (means * known.counts[:, None]).T @ means) / n
    width = len(within)
    mean = np.trace(within) / width
    squared = float((within**2).sum()) / width**2
    alpha = squared + mean**2
    least = (n + 1) * (squared - mean**2 / width)
    shrinkage = 1.0 if least <= 0 else min(alpha / least, 1.0)
    shrunk = (1 - shrinkage) * within
    shrunk[np.diag_indices(width)] += shrinkage * mean + np.finfo(np.float32).eps * max(mean, 1e-12)
    weight = np.linalg.solve(shrunk, means.T).T
    with np.errstate(divide="ignore"):
        bias = np.log(known.counts / n) - (weight * means).sum(axis=1) / 2
    return weight, np.where(present, bias, -np.inf)


def held_out_logits(
    features: Rows, labels: IntArray, n_classes: int, *, folds: int = 5, seed: int = 0
) -> FoldDiscriminants:
    """What discriminants say of images (n, D) that they did not see, which are read in parts.

    The logits are divided by one temperature, at which they are most likely (Guo et al. 2017),
    since a Gaussian is surer than features let it be.

    Parameters
    ----------
    labels : (n,) integers in 0 .. n_classes - 1.
    folds, seed : as of :func:`core.models.head.fit_probe`.

    Raises
    ------
    ModelError
        If there are fewer than two classes, a class has no image, or a feature is not finite.
    """
    from core.statistics.forecasts import fitted_temperature

    splits = held_out_splits(features.shape[0], labels, n_classes, folds, seed)
    mean = _mean(features)
    fold = np.full(len(labels), -1)
    for number, (_, out) in enumerate(splits):
        fold[out] = number
    # what is never held out counts as a fold of its own, which every head saw
    parts = sums_of(
        MadeRows(features.shape, lambda rows: features[rows] - mean),
        labels,
        n_classes,
        np.where(fold < 0, len(splits), fold),
    )
    whole = reduce(Sums.and_of, parts)
    weight = np.zeros((len(splits), *whole.sums.shape), np.float32)
    bias = np.zeros(weight.shape[:2], np.float32)
    for number, part in enumerate(parts[: len(splits)]):
        weight[number], bias[number] = discriminant(whole.without(part))
    found = FoldDiscriminants(features, mean, weight, bias, fold)
    seen = np.flatnonzero(fold >= 0)
    some = seen[:: max(len(seen) // CALIBRATED, 1)]
    if not len(some):
        return found
    return replace(found, temperature=float(fitted_temperature(found[some], labels[some])[0]))


def _mean(features: Rows) -> FloatArray:
    """(D,) float32; ModelError where a feature is not finite."""
    n, width = features.shape
    total = np.zeros(width)
    for rows in blocks(n):
        total += features[rows].sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        raise ModelError(NOT_FINITE)
    return (total / n).astype(np.float32)
