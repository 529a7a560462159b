"""What a model decides by: shape, texture or background, from composed images.

Every image of the 2x2x2 factorial keeps (1) or changes (0) each of three factors of an image of
its class; the share still called that class is compared over the eight cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from core.errors import InputError
from core.mitigate.compositing import (
    Pixels,
    challenge,
    compose,
    filled_background,
    filled_texture,
    partners,
)
from core.mitigate.examples import Examples
from core.types import BoolArray, IntArray

FACTORS = ("shape", "texture", "background")
CELLS = tuple(product((0, 1), repeat=3))
"""Kept (1) or of another class (0), for shape, texture and background."""

Predict = Callable[[Pixels], IntArray]
"""Images (n, h, w, 3) to predicted outputs (n,)."""


@dataclass(frozen=True)
class Effects:
    """Main effects and interactions of a two-level factorial."""

    cells: dict[tuple[int, ...], float]
    """Share correct by levels, [0, 1]; NaN for a cell without images."""
    main: dict[str, float]
    """Share correct with the factor kept minus with it changed, averaged over the cells of the
    others: in [-1, 1]; positive: the model decides by it."""
    errors: dict[str, float]
    """Standard error of each main effect, from the binomial variance of the cells."""
    interactions: dict[tuple[str, ...], float]
    """For two factors, half the difference of one's effect between the other's levels; for three
    the same once more. In [-1, 1]; positive: they count together more than apart."""


def factor_effects(
    correct: BoolArray, levels: IntArray, names: tuple[str, ...] = FACTORS
) -> Effects:
    """Effects of factors on being correct, every cell counting alike.

    Parameters
    ----------
    correct : (n,).
    levels : (n, F) in {0, 1}: whether the image keeps the factor.
    names : F factors.

    Raises
    ------
    InputError
        If a level is neither 0 nor 1, or there is not one name per factor.
    """
    if levels.shape != (len(correct), len(names)) or not np.isin(levels, (0, 1)).all():
        raise InputError(f"levels {levels.shape} of {len(names)} factors: give (n, F) of 0 and 1")
    cells = tuple(product((0, 1), repeat=len(names)))
    members = [(levels == cell).all(axis=1) for cell in cells]
    shares = np.array([correct[m].mean() if m.any() else np.nan for m in members])
    counts = np.array([m.sum() for m in members])
    signs = 2 * np.array(cells) - 1
    half = len(cells) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = float(np.sqrt((shares * (1 - shares) / counts).sum()) / half)
    return Effects(
        cells=dict(zip(cells, shares.tolist(), strict=True)),
        main={name: float(signs[:, f] @ shares / half) for f, name in enumerate(names)},
        errors=dict.fromkeys(names, spread),
        interactions={
            tuple(names[f] for f in chosen): float(signs[:, chosen].prod(axis=1) @ shares / half)
            for size in range(2, len(names) + 1)
            for chosen in combinations(range(len(names)), size)
        },
    )


@dataclass(frozen=True)
class Composed:
    """Images put together from three sources each."""

    pixels: Pixels
    """(n, h, w, 3)."""
    labels: IntArray
    """(n, 3) class of the shape, of the texture and of the background."""
    levels: IntArray
    """(n, 3) whether each is of the image's own class."""
    rows: IntArray
    """(n,) the image each cell belongs to; its class is the one asked about."""


def factorial_images(examples: Examples, *, seed: int = 0) -> Composed:
    """Eight images per image with an object mask: every combination of kept and changed factors.

    The mask gives the shape, the object's pixels spread over the image the texture, the rest with
    its hole filled the background. Changed factors come from images of other classes, drawn anew
    for each factor; kept texture and background are the image's own.

    Raises
    ------
    InputError
        If no image has a mask, or there is only one class.
    """
    known = examples.with_objects("the shape, texture and background test")
    part = examples.take(known)
    assert part.objects is not None  # with_objects has asked
    rng, n = np.random.default_rng(seed), len(part)
    other = [partners(part.labels, rng) for _ in FACTORS]
    textures = filled_texture(part.pixels, part.objects)
    backgrounds = filled_background(part.pixels, part.objects)
    pixels, labels = [], []
    for cell in CELLS:
        s, t, b = (
            np.where(keep, np.arange(n), pick) for keep, pick in zip(cell, other, strict=True)
        )
        pixels.append(compose(part.objects[s], textures[t], backgrounds[b]))
        labels.append(np.column_stack([part.labels[s], part.labels[t], part.labels[b]]))
    return Composed(
        np.concatenate(pixels),
        np.concatenate(labels),
        np.repeat(np.array(CELLS, np.int64), n, axis=0),
        np.tile(known, len(CELLS)),
    )


@dataclass(frozen=True)
class Decides:
    """Answer to "what does the model decide by"."""

    effects: Effects
    shape_bias: float
    """See :func:`shape_bias`; NaN without a decision for either."""
    background_gap: float
    """Accuracy on backgrounds of the own class minus on random ones; positive: leans on them."""
    n: int
    """Images that were taken apart."""


def decides_by(
    examples: Examples, predict: Predict, *, only: int | None = None, seed: int = 0
) -> Decides:
    """Take images apart, put them together in all ways, and ask the model about each.

    Parameters
    ----------
    only : class whose images are asked about; the others serve to change them.

    Raises
    ------
    InputError
        If no image has an object mask, there is only one class, or none of ``only``.
    """
    composed = factorial_images(examples, seed=seed)
    own = examples.labels[composed.rows]
    asked = np.flatnonzero(own == only) if only is not None else np.arange(len(own))
    if not len(asked):
        raise InputError("no image of this class has a mask: choose another class")
    own, kinds = own[asked], composed.labels[asked]
    predicted = predict(composed.pixels[asked])
    conflict = kinds[:, 0] != kinds[:, 1]
    return Decides(
        effects=factor_effects(predicted == own, composed.levels[asked]),
        shape_bias=shape_bias(predicted[conflict], kinds[conflict, 0], kinds[conflict, 1]),
        background_gap=_gap_on(examples.take(np.unique(composed.rows)), predict, only, seed),
        n=len(asked) // len(CELLS),
    )


def _gap_on(examples: Examples, predict: Predict, only: int | None, seed: int) -> float:
    assert examples.objects is not None  # they have been taken apart
    rng = np.random.default_rng([seed, 1])
    versions = challenge(examples.pixels, examples.labels, examples.objects, rng)
    asked = np.ones(len(examples), bool) if only is None else examples.labels == only
    same, random = (
        predict(versions[name][asked]) == examples.labels[asked]
        for name in ("mixed_same", "mixed_rand")
    )
    return background_gap(same, random)


def shape_bias(predicted: IntArray, shape: IntArray, texture: IntArray) -> float:
    """Share of the decisions for shape among those for shape or texture, [0, 1].

    Geirhos et al. (2019), on images whose shape and texture are of different classes. NaN where
    neither was ever chosen (the released code of Sauer & Geiger gives 0).
    """
    by_shape, by_texture = (predicted == shape).sum(), (predicted == texture).sum()
    both = by_shape + by_texture
    return float(by_shape / both) if both else float("nan")


def background_gap(same: BoolArray, random: BoolArray) -> float:
    """Accuracy on mixed-same minus accuracy on mixed-rand (Xiao et al. 2021), in [-1, 1].

    Each is a mean over its own images (the released code of Sauer & Geiger divides by full
    batches, too many where the last is not full).
    """
    return float(np.mean(same) - np.mean(random))


def mutual_information(first: IntArray, second: IntArray) -> float:
    """Of two labellings, nats: log of the classes where they agree, near 0 where independent."""
    from sklearn.metrics import mutual_info_score

    return float(mutual_info_score(first, second))
