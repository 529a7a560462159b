"""Where an object or a cue is: masks and boxes, also as the encoder sees them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.data.decode import read_upright
from core.data.mask_values import Read, read_values
from core.data.preprocess import encoder_view
from core.errors import DataError, UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.types import BoolArray, Preprocess


ALIKE = 0.02
"""Largest relative difference of proportions between a mask and its image."""

ROUNDED = 1.0
"""Pixels by which either side may have been rounded."""


def read_mask(path: Path, size: tuple[int, int]) -> BoolArray:
    """Read a mask at the size of its upright source image.

    What is inside is said by its values (:func:`core.data.mask_values.read_values`).

    Parameters
    ----------
    path : an image file of any mode.
    size : width and height of the upright source image; a mask of another size, but of the same
        proportions, is resized to it with nearest neighbours.

    Returns
    -------
    Array (height, width), True inside.

    Raises
    ------
    DataError
        If the mask cannot be decoded, or has other proportions; the message names the file.
    """
    inside = Image.fromarray(np.where(_read(path).inside, 255, 0).astype(np.uint8))
    _check_proportions(path, inside.size, size)
    if inside.size != size:
        inside = inside.resize(size, Image.Resampling.NEAREST)
    return np.asarray(inside, dtype=bool)


def rule_of(path: Path) -> str:
    """By which rule a mask is read, in words; raises like :func:`read_mask`."""
    return _read(path).rule


def _read(path: Path) -> Read:
    try:
        image, _ = read_upright(path)
        return read_values(image)
    except UnreadableImageError as error:
        raise DataError(
            f"mask {path}: {error}; replace it or empty its cell in the manifest"
        ) from error
    except ValueError as error:
        raise DataError(
            f"mask {path} has the unsupported mode {image.mode}; save it grey"
        ) from error


def _check_proportions(path: Path, mine: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a mask that is no smaller or larger copy of its image."""
    across, down = (new / old for new, old in zip(size, mine, strict=True))
    rounding = max(ROUNDED / min(mine), ROUNDED / min(size))
    if abs(across / down - 1) > ALIKE + rounding:
        turned = mine == size[::-1]
        raise DataError(
            f"mask {path} has {mine[0]} x {mine[1]} pixels, its image {size[0]} x {size[1]}: "
            + (
                "it was made of the image before it was turned upright; turn it, too"
                if turned
                else "it shows another part of it; give a mask of the whole image"
            )
        )


def box_mask(box: tuple[float, float, float, float], width: int, height: int) -> BoolArray:
    """Return the mask of a box: pixels whose centre is inside.

    Parameters
    ----------
    box : ``x_min, y_min, x_max, y_max`` in pixels of the upright image; x_max, y_max exclusive.
    width, height : size of the upright image.

    Returns
    -------
    Array (height, width), True inside.

    Raises
    ------
    DataError
        If a side of the box is missing or the box is empty.
    """
    x_min, y_min, x_max, y_max = box
    if not (x_max > x_min and y_max > y_min):
        raise DataError(f"the box {box} is empty; x_max must exceed x_min and y_max exceed y_min")
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    inside: BoolArray = np.outer((y >= y_min) & (y < y_max), (x >= x_min) & (x < x_max))
    return inside


def crop_mask(mask: BoolArray, p: Preprocess) -> BoolArray:
    """Cut a mask as the encoder's view of its image is cut.

    Parameters
    ----------
    mask : (H, W) at the size of the upright source image.
    p : the model's preprocessing.

    Returns
    -------
    Array (h, w) of the model's input size; padding is outside.
    """
    picture = Image.fromarray(mask.astype(np.uint8))
    view = encoder_view(p, picture, Image.Resampling.NEAREST)
    return np.asarray(view) > 0


def mask_on_grid(mask_crop: BoolArray, grid: tuple[int, int]) -> NDArray[np.float64]:
    """Share of each cell of a feature map that lies inside a mask.

    Parameters
    ----------
    mask_crop : (h, w) as the encoder sees it.
    grid : rows and columns of the map; they need not divide h and w.

    Returns
    -------
    Array of the grid's shape in [0, 1], exact area averages; its mean is the mean of the mask.
    """
    rows = _overlaps(mask_crop.shape[0], grid[0])
    columns = _overlaps(mask_crop.shape[1], grid[1])
    shares: NDArray[np.float64] = rows @ mask_crop.astype(np.float64) @ columns.T
    return np.clip(shares, 0.0, 1.0)


def _overlaps(length: int, cells: int) -> NDArray[np.float64]:
    """Share of each cell covered by each pixel, array (cells, length); rows sum to 1."""
    edges = np.linspace(0.0, length, cells + 1)
    pixels = np.arange(length)
    low = np.maximum(edges[:-1, None], pixels[None, :])
    high = np.minimum(edges[1:, None], pixels[None, :] + 1)
    shares: NDArray[np.float64] = np.clip(high - low, 0.0, None) * (cells / length)
    return shares
