"""What an image looks like: a few numbers and a word, of the very pixels that the encoder sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from core.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


def properties_of(pixels: NDArray[np.uint8]) -> Properties:
    """The properties of an image.

    Parameters
    ----------
    pixels : (h, w, 3).
    """
    levels = np.asarray(Image.fromarray(pixels).convert("L"))
    return Properties(
        float(levels.mean()) / 255,
        float(levels.std()) / 255,
        float(_laplacian(levels.astype(np.float32)).std()) / 255,
        _border(levels),
        COLOURS[int(np.bincount(_colours(pixels[::STEP, ::STEP]).ravel()).argmax())],
    )


def _laplacian(luma: FloatArray) -> FloatArray:
    """Sum of the four neighbours minus four times the pixel; (0,) of less than three rows."""
    inner = luma[1:-1, 1:-1]
    if not inner.size:
        return np.zeros(1)
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    found: FloatArray = around - 4 * inner
    return found


def _border(levels: NDArray[np.uint8]) -> float:
    """Share of the area (h, w) outside what is left when plain rows, then columns, are cut off."""
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


def _colours(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Number of the colour of every pixel (h, w, 3) among COLOURS, by hue, saturation, value."""
    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("HSV"))
    hue, saturation, value = np.moveaxis(hsv.astype(np.float32) / 255, -1, 0)
    bounds = [bound for bound, _ in HUES[:-1]]
    named = np.array([COLOURS.index(word) for _, word in HUES])
    found = named[np.searchsorted(bounds, 360 * hue, side="right")]
    of = COLOURS.index
    found = np.where((found == of("orange")) & (value < 0.6), of("brown"), found)
    found = np.where((found == of("red")) & (saturation < 0.5) & (value > 0.7), of("pink"), found)
    pale = np.where(value > WHITE, of("white"), of("grey"))
    found = np.where(saturation < DULL, pale, found)
    return np.where(value < BLACK, of("black"), found)
