"""Which values of a mask are inside, by the conventions that people's masks follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from core.types import BoolArray

VOID = 255
"""Of masks of class numbers: the border that belongs to nothing (Pascal VOC)."""

CLASSES = 40
"""Highest number that is taken for a class, not for a grey level; colours are counted, too."""


class Read(NamedTuple):
    """A mask and the rule by which it was read."""

    inside: BoolArray
    """(H, W)."""
    rule: str
    """In words."""


def read_values(image: Image.Image) -> Read:
    """What is inside a mask of any mode.

    One with varying transparency is inside wherever it is not fully transparent. Else, by its
    values, those of a palette that begins with black being its numbers and of colours their
    brightest channel:

    - 1, 2 and 3 without 0 are object, background and border (Parkhi et al. 2012): inside is 1;
    - 0 and one other value: inside is the other;
    - 0, 127 or 128, and 255: background, unknown, object: inside is 255;
    - numbers up to :data:`CLASSES`, perhaps 255: classes and their border: inside is any class;
    - anything else is a soft mask, blurred or compressed: inside is more than half of its range.

    Raises
    ------
    ValueError
        If the mode cannot be brought to colours.
    """
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min() != alpha.max():
            return Read(alpha > 0, "what is not transparent")
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        return _of_levels(np.nan_to_num(np.asarray(image)))
    if image.mode == "P" and image.getpalette() and not any((image.getpalette() or [])[:3]):
        return _of_levels(np.asarray(image))
    return _of_colours(np.asarray(image.convert("RGB")))


def _of_levels(values: NDArray[Any]) -> Read:
    found = [float(value) for value in np.unique(values)]
    others = [value for value in found if value]
    if len(others) == len(found) and len(found) > 1 and set(found) <= {1.0, 2.0, 3.0}:
        return Read(np.asarray(values == 1), "1 of object 1, background 2 and border 3")
    if len(others) <= 1 and len(found) > len(others):
        return Read(np.asarray(values != 0), "every value but 0")
    if len(found) == 1:
        return Read(np.asarray(values != 0), "every value but 0")
    if set(found) in ({0.0, 127.0, 255.0}, {0.0, 128.0, 255.0}):
        return Read(np.asarray(values == VOID), "255 of background 0, unknown and object 255")
    whole = all(value == int(value) for value in found)
    if whole and found[0] == 0 and all(v <= CLASSES or v == VOID for v in found):
        return Read(
            np.asarray((values != 0) & (values != VOID)),
            "every class but 0, without the border 255",
        )
    low, high = (0.0, max(found[-1], 1.0)) if found[0] >= 0 else (found[0], found[-1])
    return Read(np.asarray(values > (low + high) / 2), "more than half of white")


def _of_colours(values: NDArray[Any]) -> Read:
    colours = np.unique(values.reshape(-1, 3), axis=0)
    if (colours == colours[:, :1]).all():
        return _of_levels(values[:, :, 0])
    if len(colours) <= CLASSES:
        return Read(np.asarray(values.any(axis=2)), "every colour but black")
    return Read(values.max(axis=2) > VOID / 2, "more than half of white")
