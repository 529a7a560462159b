"""Where an object or a cue is: masks and boxes, also as the encoder sees them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.data.decode import read_upright
from core.data.preprocess import encoder_view
from core.errors import DataError, UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.types import BoolArray, Preprocess


def read_mask(path: Path, size: tuple[int, int]) -> BoolArray:
    """Read a mask at the size of its upright source image.

    Inside is every value that is not zero. A mask with colours is inside where any channel is
    not zero; one with varying transparency is inside wherever it is not fully transparent.

    Parameters
    ----------
    path : an image file of any mode.
    size : width and height of the upright source image; a mask of another size is resized to it
        with nearest neighbours.

    Returns
    -------
    Array (height, width), True inside.

    Raises
    ------
    DataError
        If the mask cannot be decoded; the message names the file.
    """
    try:
        image, _ = read_upright(path)
        inside = Image.fromarray(_inside(image))
    except UnreadableImageError as error:
        raise DataError(
            f"mask {path}: {error}; replace it or empty its cell in the manifest"
        ) from error
    except ValueError as error:
        raise DataError(
            f"mask {path} has the unsupported mode {image.mode}; save it grey"
        ) from error
    if inside.size != size:
        inside = inside.resize(size, Image.Resampling.NEAREST)
    return np.asarray(inside, dtype=bool)


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


def _inside(image: Image.Image) -> NDArray[np.uint8]:
    """255 inside, 0 outside, array (H, W)."""
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min() != alpha.max():
            return np.where(alpha > 0, 255, 0).astype(np.uint8)
    if image.mode not in ("1", "L", "F") and not image.mode.startswith("I"):
        image = image.convert("RGB")
    values = np.nan_to_num(np.asarray(image))
    inside = values != 0
    if inside.ndim > 2:
        inside = inside.any(axis=2)
    return np.where(inside, 255, 0).astype(np.uint8)


def _overlaps(length: int, cells: int) -> NDArray[np.float64]:
    """Share of each cell covered by each pixel, array (cells, length); rows sum to 1."""
    edges = np.linspace(0.0, length, cells + 1)
    pixels = np.arange(length)
    low = np.maximum(edges[:-1, None], pixels[None, :])
    high = np.minimum(edges[1:, None], pixels[None, :] + 1)
    shares: NDArray[np.float64] = np.clip(high - low, 0.0, None) * (cells / length)
    return shares
