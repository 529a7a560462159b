"""How easily a labelling is learnt: whether heads that saw different images agree on the others.

After Atanov et al., Task Discovery: Finding the Tasks that Neural Networks Generalize on (NeurIPS
2022), section 3. Departures: two heads on fixed features from different seeds differ in nothing,
even on random labels, so that these two are fitted on disjoint images; and agreement is corrected
for chance (Cohen 1960), so that a labelling that nothing tells has a score of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.types import BoolArray, FloatArray, IntArray

SIZES = (4, 8, 16, 32, 64)
"""Images that each head is fitted on, half of them of either label."""

REPEATS = 20
"""Pairs of heads per size."""

LEFT = 10
"""Images of either label at least that are left to agree on."""

PENALTY = 10.0
"""C of the heads, on features whose squared length is 1 on average."""


def fitted_head(features: FloatArray, labels: np.ndarray) -> Callable[[FloatArray], np.ndarray]:
    """What a linear head says of features (m, D), fitted on (n, D) and labels (n,) of any type.

    Where all labels are the same it says nothing else.
    """
    from sklearn.linear_model import LogisticRegression

    if (labels == labels[0]).all():
        return lambda asked: np.full(len(asked), labels[0])
    centre = np.mean(features, axis=0, dtype=np.float64)
    squares = np.sum((features - centre) ** 2, axis=1)
    scale = float(np.sqrt(squares.mean())) or 1.0
    fit = LogisticRegression(C=PENALTY, max_iter=200).fit((features - centre) / scale, labels)

    def said(asked: FloatArray) -> np.ndarray:
        found: np.ndarray = fit.predict((asked - centre) / scale)
        return found

    return said


def agreement_scores(
    features: FloatArray,
    shows: BoolArray,
    *,
    sizes: Sequence[int] = SIZES,
    repeats: int = REPEATS,
    seed: int = 0,
) -> FloatArray:
    """Cohen's kappa (S, R) in [-1, 1] of pairs of heads on images that neither saw.

    Both labels count alike: heads are fitted on as many images of either, and asked about as many.
    NaN for sizes that leave fewer than LEFT images of a label.

    Parameters
    ----------
    features : (n, D) of the images of a labelling; shows : (n,) the labelling.
    """
    sides = [np.flatnonzero(shows), np.flatnonzero(~shows)]
    found = np.full((len(sizes), repeats), np.nan)
    for row, size in enumerate(sizes):
        if min(map(len, sides)) - size < LEFT:
            continue
        for column in range(repeats):
            rng = np.random.default_rng([seed, size, column])
            found[row, column] = _agreement(features, sides, size // 2, rng)
    return found


def _agreement(
    x: FloatArray, sides: Sequence[IntArray], each: int, rng: np.random.Generator
) -> float:
    """Kappa of one pair, each fitted on ``each`` images of either label."""
    drawn = [rng.permutation(side) for side in sides]
    asked = min(map(len, drawn)) - 2 * each
    rest = np.concatenate([side[2 * each : 2 * each + asked] for side in drawn])
    labels = np.repeat([True, False], each)
    parts = [slice(0, each), slice(each, 2 * each)]
    fitted = [np.concatenate([side[part] for side in drawn]) for part in parts]
    first, second = (fitted_head(x[rows], labels)(x[rest]) for rows in fitted)
    return kappa(first, second)


def kappa(first: BoolArray, second: BoolArray) -> float:
    """Cohen's kappa of two labellings in two; 0 where chance alone agrees on everything."""
    p, q = float(first.mean()), float(second.mean())
    chance = p * q + (1 - p) * (1 - q)
    same = float((first == second).mean())
    return (same - chance) / (1 - chance) if chance < 1 else 0.0
