"""What an image looks like: a few numbers and a word, of the very pixels that the encoder sees."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = np.arange(256)
SQUARES = LEVELS**2

STEP = 4
"""Every so many rows and columns a pixel is asked for its colour."""

PLAIN = 3
"""Levels of 255 that the luma of a plain line may span: what JPEG leaves of a drawn border."""


class Properties(NamedTuple):
    """Of one image."""

    brightness: float
    """Mean luma (ITU-R BT.601), in [0, 1]; 0 is black."""
    contrast: float
    """Standard deviation of the luma, in [0, 0.5]."""
    sharpness: float
    """Standard deviation of the luma's Laplacian; higher: sharper (Pech-Pacheco et al. 2000)."""
    border: float
    """Share of the area in rows and columns at the edges that are of one luma, in [0, 1]."""
    colour: str
    """The colour of most pixels, one of :data:`COLOURS`."""


NUMBERS = ("brightness", "contrast", "sharpness", "border")
COLUMNS = list(Properties._fields)


NAN = float("nan")
UNKNOWN = Properties(NAN, NAN, NAN, NAN, "")
"""Of an image that cannot be read."""


def properties_of(picture: Image.Image) -> Properties:
    """The properties of a picture, mode RGB."""
    luma = picture.convert("L")
    levels = np.asarray(luma)
    brightness, contrast = _moments(np.array(luma.histogram()))
    return Properties(
        brightness,
        contrast,
        _sharpness(levels),
        _border(levels),
        COLOURS[int(_counts(picture).argmax())],
    )


def _moments(counts: IntArray) -> tuple[float, float]:
    """Mean and standard deviation of levels in [0, 1], from how many pixels have each (256,)."""
    pixels = int(counts.sum())
    first, second = int(counts @ LEVELS), int(counts @ SQUARES)
    return first / pixels / 255, math.sqrt(pixels * second - first**2) / pixels / 255


def _sharpness(levels: NDArray[np.uint8]) -> float:
    """Standard deviation of the Laplacian of levels (h, w), 255 as 1; 0 of less than three rows.

    In float32, as ``std`` of it is; in place, and the Laplacian in integers, which is as exact.
    """
    found = _laplacian(levels)
    if not found.size:
        return 0.0
    found -= found.mean()
    np.multiply(found, found, out=found)
    return float(np.sqrt(found.mean())) / 255


def _laplacian(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Sum of the four neighbours minus four times the level, of all levels (h, w) inside."""
    height, width = levels.shape
    if min(height, width) < 3:
        return np.zeros((0, 0), np.float32)
    flat = levels.astype(np.int16).ravel()
    above, inner, below = flat[: -2 * width], flat[width:-width], flat[2 * width :]
    left, right = flat[width - 1 : -width - 1], flat[width + 1 : flat.size - width + 1]
    found = above + below
    found += left
    found += right
    found -= inner << 2
    return found.reshape(height - 2, width)[:, 1:-1].astype(np.float32)


def _border(levels: NDArray[np.uint8]) -> float:
    """Share of the area (h, w) outside what is left when plain rows, then columns, are cut off."""
    edges = (levels[0], levels[-1], levels[:, 0], levels[:, -1])
    if all(int(edge.max()) - int(edge.min()) > PLAIN for edge in edges):
        return 0.0  # of most photos, which need not be looked at wholly
    left = levels[_inside(np.ptp(levels, axis=1) <= PLAIN)]
    left = left[:, _inside(np.ptp(left, axis=0) <= PLAIN)]
    return 1 - left.size / levels.size


def _inside(plain: BoolArray) -> slice:
    """What lies between plain lines at both ends; everything where all are plain."""
    drawn = np.flatnonzero(~plain)
    return slice(drawn[0], drawn[-1] + 1) if len(drawn) else slice(None)


COLOURS = (
    *("black", "grey", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink"),
    "brown",
)
"""The basic colour terms of English (Berlin & Kay 1969)."""

HUES = (
    (15, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (255, "blue"),
    (290, "purple"),
    (345, "pink"),
    (360, "red"),
)
"""Degrees below which a hue is called so. Chosen by this project, as are the bounds below."""

BLACK, WHITE, DULL = 0.2, 0.85, 0.15
"""Largest value of black, smallest of white, largest saturation of both and of grey."""

DARK, BRIGHT, PALE = 0.6, 0.7, 0.5
"""Largest value of brown; smallest value and largest saturation of a red that is called pink."""


def _colour(hue: FloatArray, saturation: FloatArray, value: FloatArray) -> IntArray:
    """Number of a colour among COLOURS; hue in degrees, the others in [0, 1], of one shape."""
    bounds = [bound for bound, _ in HUES[:-1]]
    named = np.array([COLOURS.index(word) for _, word in HUES])
    found = named[np.searchsorted(bounds, hue, side="right")]
    of = COLOURS.index
    found = np.where((found == of("orange")) & (value < DARK), of("brown"), found)
    pink = (found == of("red")) & (saturation < PALE) & (value > BRIGHT)
    found = np.where(pink, of("pink"), found)
    pale = np.where(value > WHITE, of("white"), of("grey"))
    found = np.where(saturation < DULL, pale, found)
    return np.where(value < BLACK, of("black"), found)


@cache
def _codes() -> tuple[list[NDArray[np.uint8]], IntArray]:
    """What a byte of hue, of saturation and of value adds to a code; the colour of every code.

    Only a few intervals of bytes differ, so that a pixel takes three look-ups instead of the rules.
    """
    bytes_ = np.arange(256).astype(np.float32) / 255
    s = v = bytes_
    hues = np.searchsorted([bound for bound, _ in HUES[:-1]], 360 * bytes_, side="right")
    intervals = [hues, 0 + (s >= DULL) + (s >= PALE), 0 + (v >= BLACK) + (v >= DARK)]
    intervals[2] = intervals[2] + (v > BRIGHT) + (v > WHITE)
    first = [np.unique(each, return_index=True)[1] for each in intervals]
    h, s, v = np.meshgrid(*(bytes_[each] for each in first), indexing="ij")
    steps = (h.shape[1] * h.shape[2], h.shape[2], 1)
    added = [(n * each).astype(np.uint8) for n, each in zip(steps, intervals, strict=True)]
    return added, _colour(360 * h, s, v).ravel()


def _counts(picture: Image.Image) -> FloatArray:
    """How many of the pixels that are asked have each of COLOURS, by hue, saturation and value."""
    width, height = picture.size
    size = (-(-width // STEP), -(-height // STEP))
    corner = (1 - STEP) / 2  # of the first of every STEP pixels, which are looked up at centres
    asked = picture.transform(
        size, Image.Transform.AFFINE, (STEP, 0, corner, 0, STEP, corner), Image.Resampling.NEAREST
    )
    hsv = np.asarray(asked.convert("HSV"))
    added, colours = _codes()
    code = added[0].take(hsv[..., 0])
    for axis in (1, 2):
        code += added[axis].take(hsv[..., axis])
    of_code = np.bincount(code.ravel(), minlength=len(colours))
    return np.bincount(colours, weights=of_code, minlength=len(COLOURS))
