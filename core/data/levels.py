"""One scale for all images of a data set that have more than 8 bits a channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from core.data.decode import DECODER_ERRORS, FORMATS, MAX_BYTES, opened, read_bytes
from core.data.depth import Levels, extremes, is_deep
from core.data.far_images import readable
from core.data.optional_formats import kind_of_file
from core.errors import UnreadableImageError

if TYPE_CHECKING:
    from core.types import ImageTable

LOOKED_AT = 200
"""Images whose header is read, those with the smallest ids."""

DECODED = 100
"""Deep ones among them that are decoded."""

BITS = (8, 10, 12, 14, 16, 20, 24, 32)
"""Depths that cameras and scanners have."""


def levels_of(table: ImageTable) -> Levels | None:
    """Black and white of a data set's deep images; None where the rule for one image is right.

    Whole numbers from 0 on are of the smallest of :data:`BITS` that a sample of the images needs;
    others are shares of 1 or of 255, or lie between the extremes of the sample.
    """
    paths = table.frame.sort_values("image_id")["path"].iloc[:LOOKED_AT]
    found: list[Levels] = []
    for path in paths:
        if len(found) == DECODED:
            break
        if (ends := _deep_extremes(table.root / path)) is not None:
            found.append(ends)
    return _common(found) if found else None


def _deep_extremes(path: Path) -> Levels | None:
    """Extremes of a deep image, in its own values; None of any other, and of unreadable ones."""
    try:
        if not _may_be_deep(path):
            return None
        data = read_bytes(path)
        image, deep = opened(data)
        return extremes(image, data) if deep else None
    except (*DECODER_ERRORS, UnreadableImageError):
        return None


def _may_be_deep(path: Path) -> bool:
    """Whether an image holds more than 8 bits, by its header; a package's own may always."""
    try:
        with Image.open(readable(path, MAX_BYTES), formats=FORMATS) as image:
            return is_deep(image)
    except UnidentifiedImageError:
        return kind_of_file(read_bytes(path)) is not None


def _common(found: Sequence[Levels]) -> Levels | None:
    low, high = min(ends[0] for ends in found), max(ends[1] for ends in found)
    whole = all(value == int(value) for ends in found for value in ends)
    if low < 0:
        return (-1.0, 1.0) if not whole and low >= -1 and high <= 1 else (low, max(high, low + 1))
    if not whole:
        return None if high <= 1 else (0.0, 255.0 if high <= 255 else high)
    bits = next(bits for bits in BITS if high < 2**bits or bits == BITS[-1])
    return None if bits == 16 or high <= 1 else (0.0, 2.0**bits - 1)


def in_bits(levels: Levels) -> str:
    """A scale in words."""
    low, high = levels
    bits = log2(high + 1) if low == 0 and high > 1 else 0.5
    depth = f" ({ceil(bits)} bits)" if bits == int(bits) else ""
    return f"values {low:g} to {high:.7g}{depth}"
