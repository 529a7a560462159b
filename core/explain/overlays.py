"""Pictures of maps: what the browser lays over a photo.

One diverging palette with one meaning everywhere: orange raises the logit, blue lowers it (safe
for the common colour blindnesses), strength is opacity.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from core.explain.heatmaps import half_maximum, upsample
from core.types import BoolArray, FloatArray

Parts = Literal["both", "positive", "negative"]

RAISES = (230, 97, 1)
LOWERS = (51, 112, 214)
OBJECT = (255, 255, 255)
CUE = (255, 221, 0)


def heat_png(
    heatmap: FloatArray, scale: float, *, size: int, parts: Parts = "both", contour: bool = True
) -> bytes:
    """A transparent PNG (size, size) of one map.

    Parameters
    ----------
    heatmap : (h, w) logit units.
    scale : value shown at full strength.
    parts : which signs are drawn.
    contour : whether to draw the line at half of the map's maximum.
    """
    values = upsample(heatmap, (size, size))
    strength = np.clip(np.abs(values) / scale if scale > 0 else 0 * values, 0, 1)
    if parts == "positive":
        strength = np.where(values > 0, strength, 0)
    elif parts == "negative":
        strength = np.where(values < 0, strength, 0)
    rgba = np.empty((size, size, 4), np.uint8)
    rgba[..., :3] = np.where((values > 0)[..., None], RAISES, LOWERS)
    rgba[..., 3] = np.round(255 * strength**0.75)
    if contour and parts != "negative":
        rgba[edge(half_maximum(values))] = (255, 255, 255, 255)
    return png(rgba)


def outline_png(masks: dict[str, BoolArray], size: int) -> bytes:
    """A transparent PNG (size, size) with the outline of every mask: object white, cue yellow."""
    rgba = np.zeros((size, size, 4), np.uint8)
    for name, mask in masks.items():
        image = Image.fromarray(mask.astype(np.uint8) * 255).resize((size, size))
        line = edge(np.asarray(image) > 127)
        thick = Image.fromarray(line.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))
        rgba[np.asarray(thick) > 0] = (*(CUE if name == "cue_mask" else OBJECT), 255)
    return png(rgba)


def edge(inside: BoolArray) -> BoolArray:
    """Pixels of a region that touch its outside."""
    eroded = inside.copy()
    eroded[1:] &= inside[:-1]
    eroded[:-1] &= inside[1:]
    eroded[:, 1:] &= inside[:, :-1]
    eroded[:, :-1] &= inside[:, 1:]
    return inside & ~eroded


def png(rgba: np.ndarray) -> bytes:
    """Encode (h, w, 4) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def jpeg(image: Image.Image) -> bytes:
    """Encode a photo for the screen."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
