"""A linear head in closed form, out of fold, for sets on which a fitted one would take hours.

Linear discriminant analysis: one Gaussian a class with a common covariance. Every fold's head
follows from sums that are taken once, so that the time is that of two products of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.models.head import held_out_splits
from core.types import FloatArray, IntArray

ROWS = 4096
"""Images that are looked at together."""

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


def sums_of(features: FloatArray, labels: IntArray, n_classes: int) -> Sums:
    """The sums over images (n, D) with labels (n,)."""
    width = features.shape[1]
    sums, products = np.zeros((n_classes, width)), np.zeros((width, width))
    for start in range(0, len(features), ROWS):
        part = np.asarray(features[start : start + ROWS], np.float64)
        np.add.at(sums, labels[start : start + ROWS], part)
        products += part.T @ part
    return Sums(np.bincount(labels, minlength=n_classes).astype(np.float64), sums, products)


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
    features: FloatArray, labels: IntArray, n_classes: int, *, folds: int = 5, seed: int = 0
) -> FloatArray:
    """(n, K) float32 logits of every image by a discriminant that did not see it.

    They are divided by one temperature, at which they are most likely (Guo et al. 2017), since a
    Gaussian is surer than features let it be. The only image of a class is nan.

    Parameters
    ----------
    features : (n, D).
    labels : (n,) integers in 0 .. n_classes - 1.
    folds, seed : as of :func:`core.models.head.fit_probe`.

    Raises
    ------
    ModelError
        If there are fewer than two classes, a class has no image, or a feature is not finite.
    """
    from core.statistics.forecasts import fitted_temperature

    splits = held_out_splits(features, labels, n_classes, folds, seed)
    centred = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    whole = sums_of(centred, labels, n_classes)
    logits = np.full((len(labels), n_classes), np.nan, np.float32)
    for _, out in splits:
        gone = sums_of(centred[out], labels[out], n_classes)
        rest = Sums(*(all_of_it - part for all_of_it, part in zip(whole, gone, strict=True)))
        weight, bias = discriminant(rest)
        logits[out] = centred[out] @ weight.T.astype(np.float32) + bias.astype(np.float32)
    seen = np.flatnonzero(~np.isnan(logits).any(axis=1))
    some = seen[:: max(len(seen) // CALIBRATED, 1)]
    if len(some):
        logits /= np.float32(fitted_temperature(logits[some], labels[some])[0])
    return logits
