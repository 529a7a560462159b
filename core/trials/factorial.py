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
from core.statistics.intervals import combined, critical, paired_change, wilson
from core.trials.compositing import (
    Pixels,
    challenge,
    compose,
    filled_background,
    filled_texture,
    partners,
)
from core.trials.examples import Examples
from core.types import BoolArray, IntArray

FACTORS = ("shape", "texture", "background")
CELLS = tuple(product((0, 1), repeat=3))
"""Kept (1) or of another class (0), for shape, texture and background."""

Predict = Callable[[Pixels], IntArray]
"""Images (n, h, w, 3) to predicted outputs (n,)."""


Interval = tuple[float, float]


@dataclass(frozen=True)
class Effects:
    """Main effects and interactions of a two-level factorial."""

    cells: dict[tuple[int, ...], float]
    """Share correct by levels, [0, 1]; NaN for a cell without images."""
    main: dict[str, float]
    """Share correct with the factor kept minus with it changed, averaged over the cells of the
    others: in [-1, 1]; positive: the model decides by it."""
    interactions: dict[tuple[str, ...], float]
    """For two factors, half the difference of one's effect between the other's levels; for three
    the same once more. In [-1, 1]; positive: they count together more than apart."""
    intervals: dict[tuple[str, ...], Interval]
    """95 % interval of each effect, by the factors that it is of: Wilson intervals of the cells,
    squared and added (Zou & Donner 2008). Cells share their images, which mostly are right or wrong
    together, so that the intervals are rather too wide; they never have no width. NaN where a cell
    has no image."""


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
    parts = [_proportion(correct[m]) for m in members]
    found = {}
    for chosen in _subsets(len(names)):
        signs = (2 * np.array(cells) - 1)[:, chosen].prod(axis=1) / (len(cells) / 2)
        found[tuple(names[f] for f in chosen)] = combined(*parts, signs=signs.tolist())
    return Effects(
        cells={cell: part[0] for cell, part in zip(cells, parts, strict=True)},
        main={name: found[(name,)][0] for name in names},
        interactions={key: value for key, (value, *_) in found.items() if len(key) > 1},
        intervals={key: (low, high) for key, (_, low, high) in found.items()},
    )


def _subsets(n: int) -> list[list[int]]:
    """Every choice of some of n things, single ones first."""
    return [list(c) for size in range(1, n + 1) for c in combinations(range(n), size)]


def _proportion(hits: BoolArray) -> tuple[float, float, float]:
    """A share with its 95 % Wilson interval; NaN of nothing."""
    if not len(hits):
        return (float("nan"),) * 3
    low, high = wilson(np.array(hits.sum(), np.float64), len(hits), z=critical())
    return float(hits.mean()), float(low), float(high)


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
    shape_bias_interval: Interval
    """Wilson, as if every image that decided for either had decided once: rather too wide."""
    decided: int
    """Images that decided for shape or texture at least once."""
    background_gap: float
    """Accuracy on backgrounds of the own class minus on random ones; positive: leans on them."""
    background_gap_interval: Interval
    """Of a paired difference (:func:`core.statistics.intervals.paired_change`)."""
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
    bias = shape_bias(predicted[conflict], kinds[conflict, 0], kinds[conflict, 1])
    either = conflict & (predicted[:, None] == kinds[:, :2]).any(axis=1)
    decided = len(np.unique(composed.rows[asked][either]))
    same, random = _on_backgrounds(examples.take(np.unique(composed.rows)), predict, only, seed)
    return Decides(
        effects=factor_effects(predicted == own, composed.levels[asked]),
        shape_bias=bias,
        shape_bias_interval=_wilson_of(bias, decided),
        decided=decided,
        background_gap=background_gap(same, random),
        background_gap_interval=paired_change(random, same)[1:],
        n=len(asked) // len(CELLS),
    )


def _wilson_of(share: float, n: int) -> Interval:
    if not n:
        return float("nan"), float("nan")
    low, high = wilson(np.array(share * n, np.float64), n, z=critical())
    return float(low), float(high)


def _on_backgrounds(
    examples: Examples, predict: Predict, only: int | None, seed: int
) -> tuple[BoolArray, BoolArray]:
    """Whether every image is right on a background of its own class, and on a random one."""
    assert examples.objects is not None  # they have been taken apart
    rng = np.random.default_rng([seed, 1])
    versions = challenge(examples.pixels, examples.labels, examples.objects, rng)
    asked = np.ones(len(examples), bool) if only is None else examples.labels == only
    same, random = (
        predict(versions[name][asked]) == examples.labels[asked]
        for name in ("mixed_same", "mixed_rand")
    )
    return same, random


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
