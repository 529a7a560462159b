"""Images put together from a shape, a texture and a background, by masks.

Sauer & Geiger, *Counterfactual Generative Networks* (ICLR 2021), section 3: x = m f + (1 - m) b,
here with real pixels for f and b. All images are uint8 as the encoder sees them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.types import BoolArray, FloatArray, IntArray

Pixels = NDArray[np.uint8]
Operation = Literal["remove", "swap", "shuffle"]

OPERATIONS: dict[str, str] = {
    "remove": "the background becomes the mean colour of the data",
    "swap": "the background of an image of another class",
    "shuffle": "the image's own background, cut in tiles and put together again",
}
TILES = 4
"""Tiles per side of a shuffled background."""


def compose(mask: FloatArray, foreground: FloatArray, background: FloatArray) -> FloatArray:
    """Foreground inside the mask, background outside: m f + (1 - m) b.

    Linear in both images; m = 1 gives the foreground, m = 0 the background. Departure: m is not
    clamped to [1e-4, 1 - 1e-4], which only the published training needs.

    Parameters
    ----------
    mask : (n, h, w) in [0, 1] or boolean.
    foreground, background : (n, h, w, 3), any type; the result has the type of ``foreground``.

    Raises
    ------
    InputError
        If the shapes differ or the mask leaves [0, 1].
    """
    if foreground.shape != background.shape or mask.shape != foreground.shape[:-1]:
        raise InputError(
            f"a mask {mask.shape} cannot join images {foreground.shape} and {background.shape}"
        )
    if mask.dtype == np.bool_:
        return np.where(mask[..., None], foreground, background)
    if mask.size and not (mask.min() >= 0 and mask.max() <= 1):
        raise InputError(f"a mask from {mask.min():.3g} to {mask.max():.3g}: must be in [0, 1]")
    m = mask[..., None].astype(np.float64)
    mixed = m * foreground + (1 - m) * background
    whole = np.issubdtype(foreground.dtype, np.integer)
    found: FloatArray = (np.rint(mixed) if whole else mixed).astype(foreground.dtype)
    return found


def filled_background(pixels: Pixels, objects: BoolArray) -> Pixels:
    """Backgrounds without their objects, (n, h, w, 3): the hole takes the nearest pixel outside.

    An image that is all object becomes its mean colour.
    """
    from scipy.ndimage import distance_transform_edt

    found = pixels.copy()
    for i, mask in enumerate(objects):
        if mask.all():
            found[i] = pixels[i].mean(axis=(0, 1)).round()
        elif mask.any():
            rows, columns = distance_transform_edt(
                mask, return_distances=False, return_indices=True
            )
            found[i] = pixels[i][rows, columns]
    return found


def filled_texture(pixels: Pixels, objects: BoolArray) -> Pixels:
    """What the object is made of, spread over the whole image; see :func:`filled_background`."""
    return filled_background(pixels, ~objects)


def partners(labels: IntArray, rng: np.random.Generator, *, same: bool = False) -> IntArray:
    """For each image another one, (n,) positions: of another class, or of the same one.

    Drawn independently, so that no image keeps itself by chance among other classes (the published
    code permutes within a batch, which leaves fixed points). An image alone in its class is its
    own partner of the same class.

    Raises
    ------
    InputError
        If another class is wanted and there is only one.
    """
    if not same and len(np.unique(labels)) < 2:
        raise InputError("swapping needs images of at least two classes")
    found = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        pool = np.flatnonzero(mine if same else ~mine)
        found[mine] = rng.choice(pool, int(mine.sum()))
        if same and len(pool) > 1:
            clash = np.flatnonzero(mine & (found == np.arange(len(labels))))
            found[clash] = pool[(np.searchsorted(pool, clash) + 1) % len(pool)]
    return found


def changed_background(
    pixels: Pixels,
    labels: IntArray,
    objects: BoolArray,
    operation: Operation,
    rng: np.random.Generator,
) -> Pixels:
    """The same objects on other backgrounds, (n, h, w, 3).

    ``OPERATIONS`` says what the three are (after Ryali et al. 2021). ``swap`` fills the hole that
    the other image's object leaves.

    Raises
    ------
    InputError
        If the operation is unknown, or ``swap`` finds only one class.
    """
    if operation not in OPERATIONS:
        raise InputError(f"background {operation!r}: choose {', '.join(OPERATIONS)}")
    if operation == "remove":
        colour = pixels.mean(axis=(0, 1, 2)).round().astype(np.uint8)
        return compose(objects, pixels, np.broadcast_to(colour, pixels.shape))
    backgrounds = filled_background(pixels, objects)
    if operation == "swap":
        return compose(objects, pixels, backgrounds[partners(labels, rng)])
    return compose(objects, pixels, _shuffled(backgrounds, rng))


def changed_region(
    pixels: Pixels,
    labels: IntArray,
    regions: BoolArray,
    operation: str,
    rng: np.random.Generator,
) -> Pixels:
    """Images (n, h, w, 3) whose regions (n, h, w) hold something else; the rest stays.

    ``remove``: the mean colour of the data; ``swap``: the same places of an image of another class;
    ``shuffle``: tiles of the image without its region, put together in another order.

    Raises
    ------
    InputError
        If the operation is unknown, or ``swap`` finds only one class.
    """
    if operation not in OPERATIONS:
        raise InputError(f"region {operation!r}: choose {', '.join(OPERATIONS)}")
    if operation == "remove":
        colour = pixels.mean(axis=(0, 1, 2)).round().astype(np.uint8)
        return compose(regions, np.broadcast_to(colour, pixels.shape), pixels)
    if operation == "swap":
        return compose(regions, pixels[partners(labels, rng)], pixels)
    return compose(regions, _shuffled(filled_background(pixels, regions), rng), pixels)


def _shuffled(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Tiles of every image in another order; rows and columns left over stay."""
    n, height, width, _ = images.shape
    h, w = height // TILES, width // TILES
    found = images.copy()
    tiles = images[:, : h * TILES, : w * TILES].reshape(n, TILES, h, TILES, w, 3)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(n, TILES * TILES, h, w, 3)
    order = np.argsort(rng.random((n, TILES * TILES)), axis=1)
    mixed = np.take_along_axis(tiles, order[:, :, None, None, None], axis=1)
    mixed = mixed.reshape(n, TILES, TILES, h, w, 3).transpose(0, 1, 3, 2, 4, 5)
    found[:, : h * TILES, : w * TILES] = mixed.reshape(n, h * TILES, w * TILES, 3)
    return found


def pasted_cues(
    pixels: Pixels, labels: IntArray, cues: BoolArray, rng: np.random.Generator
) -> tuple[Pixels, IntArray]:
    """Images with the cue region of an image of another class pasted at its place.

    Parameters
    ----------
    cues : (n, h, w) cue masks; rows without one are pasted on but give nothing.

    Returns
    -------
    Changed images (m, h, w, 3) and the rows that they were made of, (m,): all images that have an
    image of another class to take a cue from. Their labels stay those of the row.

    Raises
    ------
    InputError
        If no image of another class has a cue.
    """
    donors = cues.any(axis=(1, 2))
    chosen, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        mine, pool = np.flatnonzero(labels == label), np.flatnonzero(donors & (labels != label))
        if len(pool):
            chosen.append(mine)
            sources.append(rng.choice(pool, len(mine)))
    rows, source = np.concatenate(chosen), np.concatenate(sources)
    if not len(rows):
        raise InputError("no image of another class has a cue to paste: give cue masks")
    order = np.argsort(rows)
    rows, source = rows[order], source[order]
    return compose(cues[source], pixels[source], pixels[rows]), rows


def challenge(
    pixels: Pixels, labels: IntArray, objects: BoolArray, rng: np.random.Generator
) -> dict[str, Pixels]:
    """The versions of the background challenge (Xiao et al. 2021), each (n, h, w, 3).

    ``original``; ``mixed_same`` and ``mixed_rand``: the object on a background of its own class,
    of a random image; ``only_fg``: the object on black; ``no_fg``: the object blacked out;
    ``only_bg``: the object filled with background. Departure: ``mixed_rand`` draws its background
    from all images but the image itself.
    """
    backgrounds = filled_background(pixels, objects)
    black = np.zeros_like(pixels)
    others = (np.arange(len(pixels)) + rng.integers(1, max(len(pixels), 2), len(pixels))) % max(
        len(pixels), 1
    )
    return {
        "original": pixels,
        "mixed_same": compose(objects, pixels, backgrounds[partners(labels, rng, same=True)]),
        "mixed_rand": compose(objects, pixels, backgrounds[others]),
        "only_fg": compose(objects, pixels, black),
        "no_fg": compose(objects, black, pixels),
        "only_bg": backgrounds,
    }
