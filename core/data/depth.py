"""Images of more than 8 bits a channel, brought to 8 by one scale."""

from __future__ import annotations

import io
import struct
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Levels = tuple[float, float]
"""The values that are black and white."""

BAND = 2**20
"""Pixels that are brought to 8 bits at a time, in 8 bytes each."""


REMEDY = "save it with 8 or 16 bits a channel"

KINDS = {1: "whole numbers", 2: "whole numbers with a sign", 3: "floating-point numbers"}
"""What SampleFormat of a TIFF says of its values (TIFF 6.0, section 19)."""


def tiff_values(data: bytes) -> str:
    """What a TIFF that Pillow does not open holds, in words; empty of anything else."""
    from PIL.TiffImagePlugin import PREFIXES, ImageFileDirectory_v2

    if data[:4] not in PREFIXES:
        return ""
    try:
        with warnings.catch_warnings(action="ignore"):
            directory = ImageFileDirectory_v2(data[:8])
            file = io.BytesIO(data)
            file.seek(directory.next)
            directory.load(file)
            if 258 not in directory or 279 not in directory:  # it is cut off
                return ""
            bits = directory[258][0]
            kind = KINDS.get(directory.get(339, (1,))[0], "values of another kind")
            return f"a TIFF of {bits}-bit {kind}, {directory.get(277, 1)} a pixel"
    except (OSError, SyntaxError, TypeError, ValueError, IndexError, KeyError, struct.error):
        return ""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened image holds more than 8 bits a channel; its pixels need not be decoded."""
    return _one_channel(image) or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _one_channel(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def deep_colours(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    """16-bit colours (h, w, 3) of an image, of which Pillow keeps the upper half.

    The lower half is what it reads with the two bytes of every value in the other order.

    Parameters
    ----------
    image : decoded; its upper half.
    data : the file.
    """
    upper = np.asarray(image.convert("RGB")).astype(np.uint16)
    with Image.open(io.BytesIO(data), formats=[image.format or ""]) as other:
        swapped = [tile._replace(args=_swapped(tile.args)) for tile in other.tile]
        other.tile = swapped
        try:
            lower = np.asarray(other.convert("RGB"))
        except ValueError:  # Pillow has no such order for grey with transparency
            lower = upper.astype(np.uint8)
    upper *= 256
    upper += lower
    return upper


def _swapped(arguments: Any) -> Any:
    """How a decoder is told the layout of pixels, with their bytes in the other order."""
    if not isinstance(arguments, str):
        return (_swapped(arguments[0]), *arguments[1:])
    layout, _, order = arguments.partition(";16")
    native = "L" if sys.byteorder == "little" else "B"
    return f"{layout};16{'B' if (native if order == 'N' else order) == 'L' else 'L'}"


def extremes(image: Image.Image, data: bytes) -> Levels:
    """Lowest and highest finite value of a deep image, in its own values."""
    if not _one_channel(image):
        colours = deep_colours(image, data)
        return float(colours.min()), float(colours.max())
    bands = [band[np.isfinite(band)] for _, band in _bands(image)]
    found = [band for band in bands if band.size]
    if not found:
        return 0.0, 0.0
    return min(float(b.min()) for b in found), max(float(b.max()) for b in found)


def eight_bits(image: Image.Image, data: bytes, levels: Levels | None) -> Image.Image:
    """A deep image as 8-bit RGB.

    Parameters
    ----------
    data : the file, of which every bit counts where there is a scale.
    levels : what is black and white. None: 16-bit levels are divided by 257, floating-point ones
        are in [0, 1] or [0, 255].
    """
    if _one_channel(image):
        return _grey(image, levels or _own_levels(image)).convert("RGB")
    if levels is None:
        return image.convert("RGB")
    colours, rows = deep_colours(image, data), max(BAND // image.width, 1)
    bands = [_scaled(colours[y : y + rows], levels) for y in range(0, len(colours), rows)]
    return Image.fromarray(np.concatenate(bands))


def _own_levels(image: Image.Image) -> Levels:
    """Black and white of an image about whose data set nothing is known."""
    top = max(float(np.fmax.reduce(band, axis=None, initial=0)) for _, band in _bands(image))
    if image.mode == "F":
        return 0.0, 1.0 if top <= 1.0 else 255.0
    return 0.0, 65535.0 if top <= 65535 else 2.0**32 - 1


def _grey(image: Image.Image, levels: Levels) -> Image.Image:
    """Bring grey levels to 8 bits, a band at a time."""
    grey = Image.new("L", image.size)
    for y, band in _bands(image):
        grey.paste(Image.fromarray(_scaled(band, levels)), (0, y))
    return grey


def _scaled(values: np.ndarray[Any, Any], levels: Levels) -> np.ndarray[Any, np.dtype[np.uint8]]:
    low, high = levels
    shares = (np.nan_to_num(values.astype(np.float64), nan=low) - low) * (255 / (high - low))
    scaled: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(np.clip(shares, 0, 255)).astype(np.uint8)
    return scaled


def _bands(image: Image.Image) -> Iterator[tuple[int, np.ndarray[Any, np.dtype[Any]]]]:
    """Rows of an image from the top, with where they begin: arrays (h, width)."""
    rows = max(BAND // image.width, 1)
    for y in range(0, image.height, rows):
        yield y, np.asarray(image.crop((0, y, image.width, min(y + rows, image.height))))
