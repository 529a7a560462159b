"""What the encoder sees of an image: the geometry and pixels of timm's evaluation transforms."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from core.config import MAX_PIXELS
from core.data.decode import Box, Decoded, read_image
from core.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.types import Preprocess

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

GAP = 2
"""How many times as large as it is resized to a JPEG is decoded at least."""

STRIP = 4
"""An image with too long a long side is first cut to this many times what the crop can show."""


class View(NamedTuple):
    """Where the crop lies in the resized image, all in pixels of the resized image."""

    resized: tuple[int, int]
    """Width and height after resizing."""
    left: int
    top: int
    """Corner of the crop; negative where the crop is larger than the resized image (black)."""


def crop_box(p: Preprocess, width: int, height: int) -> tuple[float, float, float, float]:
    """Part of the upright source image that the encoder sees.

    Parameters
    ----------
    p : the model's preprocessing.
    width, height : size of the upright source image, pixels, at least 1.

    Returns
    -------
    ``x0, y0, x1, y1`` in source pixels; beyond the image where the view is padded with black.

    Raises
    ------
    ModelError
        If the crop mode is unknown.
    """
    (new_width, new_height), left, top = _view(p, width, height)
    across, down = width / new_width, height / new_height
    right, bottom = left + p.input_size[1], top + p.input_size[0]
    return left * across, top * down, right * across, bottom * down


def as_seen(p: Preprocess, path: Path) -> tuple[NDArray[np.uint8], Decoded]:
    """What the encoder sees of a file, (h, w, 3) uint8, and what was decoded.

    Raises
    ------
    UnreadableImageError
        As :func:`core.data.decode.read_image`.
    """
    picture, decoded = picture_seen(p, path)
    return np.array(picture, dtype=np.uint8), decoded


def picture_seen(p: Preprocess, path: Path) -> tuple[Image.Image, Decoded]:
    """:func:`as_seen` as a picture, mode RGB."""
    least = partial(least_size, p) if p.shrink else None
    decoded = read_image(path, levels=p.black_and_white, least=least)
    if decoded.box is None:
        return _seen(p, decoded.image), decoded
    view = _view(p, decoded.width, decoded.height)
    return _crop(p, decoded.image, view, decoded.box), decoded


def least_size(p: Preprocess, width: int, height: int) -> tuple[int, int]:
    """Width and height below which a JPEG is not decoded: GAP times those it is resized to.

    What a decoder gives at a fraction is no exact mean; resizing it by GAP at least leaves little
    of that. Features still move by .02 of their deviation (median of EfficientNet-Lite0 on photos
    enlarged 8 and 16 times), so nothing is decoded so unless it is asked for.
    """
    across, down = _resized(p, width, height)
    if across * down > MAX_PIXELS:  # its ends are cut
        return width, height
    return GAP * across, GAP * down


def _crop(p: Preprocess, image: Image.Image, view: View, box: Box) -> Image.Image:
    """The crop of what a box of an image, the whole picture, is resized to."""
    (width, height), left, top = view
    image = image.resize((width, height), RESAMPLING[p.interpolation], box=box)
    return image.crop((left, top, left + p.input_size[1], top + p.input_size[0]))


def apply(p: Preprocess, image: Image.Image) -> NDArray[np.uint8]:
    """Resize and crop an image exactly as timm and torchvision do before normalising.

    Departure: an image whose resized form would exceed ``MAX_PIXELS`` (one pixel wide, thousands
    high) has its long ends cut first.

    Parameters
    ----------
    p : the model's preprocessing.
    image : upright, mode RGB.

    Returns
    -------
    Array (h, w, 3) uint8, with (h, w) the input size of the model.

    Raises
    ------
    ModelError
        If the interpolation or the crop mode is unknown.
    """
    return np.array(_seen(p, image), dtype=np.uint8)


def _seen(p: Preprocess, image: Image.Image) -> Image.Image:
    if p.interpolation not in RESAMPLING:
        raise ModelError(
            f"unknown interpolation {p.interpolation}; use one of {', '.join(RESAMPLING)}"
        )
    return encoder_view(p, image, RESAMPLING[p.interpolation])


def encoder_view(p: Preprocess, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
    """Resize and crop an image of any mode with the geometry of a model's preprocessing."""
    image = _without_ends(p, image)
    resized, left, top = _view(p, *image.size)
    if image.size != resized:
        image = image.resize(resized, resampling)
    return image.crop((left, top, left + p.input_size[1], top + p.input_size[0]))


def _view(p: Preprocess, width: int, height: int) -> View:
    crop_height, crop_width = p.input_size
    new_width, new_height = _resized(p, width, height)
    return View(
        (new_width, new_height), _offset(new_width, crop_width), _offset(new_height, crop_height)
    )


def _resized(p: Preprocess, width: int, height: int) -> tuple[int, int]:
    """Width and height after resizing, rounded as timm and torchvision round them."""
    tall, wide = (math.floor(side / p.crop_pct) for side in p.input_size)
    if p.crop_mode == "squash":
        return wide, tall
    if p.crop_mode != "center":
        raise ModelError(f"unknown crop mode {p.crop_mode}; use center or squash")
    if tall != wide:
        ratio = min(height / tall, width / wide)
        return round(width / ratio), round(height / ratio)
    if width <= height:
        return tall, int(tall * height / width)
    return int(tall * width / height), tall


def _offset(size: int, crop: int) -> int:
    if crop > size:
        return -((crop - size) // 2)
    return round((size - crop) / 2.0)


def _without_ends(p: Preprocess, image: Image.Image) -> Image.Image:
    """Cut the ends of a very long image that no crop shows, keeping its centre."""
    width, height = image.size
    new_width, new_height = _resized(p, width, height)
    if new_width * new_height <= MAX_PIXELS:
        return image
    tall, wide = p.input_size
    shape = max(tall / wide, wide / tall)
    keep = math.ceil(STRIP * shape * min(width, height))
    x, y = max(0, (width - keep) // 2), max(0, (height - keep) // 2)
    return image.crop((x, y, width - x, height - y))
