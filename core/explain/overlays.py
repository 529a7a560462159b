"""Pictures of maps: what the browser lays over a photo.

In colours, one diverging palette has one meaning everywhere: orange raises the logit, blue lowers
it (safe for the common colour blindnesses), strength is opacity. A spotlight leaves what a map
marks as it is and dims the rest, so that the thing itself can be seen.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from core.explain.heatmaps import marked, upsample
from core.types import BoolArray, FloatArray

Parts = Literal["both", "positive", "negative"]
Style = Literal["spotlight", "colour"]

RAISES = (230, 97, 1)
LOWERS = (51, 112, 214)
OBJECT = (255, 255, 255)
CUE = (255, 221, 0)

CONCEPTS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""Of an atlas, in the order of its table (Okabe & Ito 2008)."""

DIMMED = 0.35
"""Share of its value that a pixel far from the marked region keeps under a spotlight."""

SOFT = 1 / 24
"""Width of a spotlight's soft edge, as a share of the picture's side; it lies outside."""


def heat_png(
    heatmap: FloatArray,
    scale: float,
    *,
    size: int,
    parts: Parts = "both",
    contour: bool = True,
    lit: FloatArray | None = None,
) -> bytes:
    """A transparent PNG (size, size) of one map.

    Parameters
    ----------
    heatmap : (h, w) logit units.
    scale : value shown at full strength.
    parts : which signs are drawn.
    contour : whether to draw the line at half of the map's maximum.
    lit : the map that the line is drawn of, if not the same.
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
        rgba[edge(marked(heatmap if lit is None else lit, (size, size)))] = (255, 255, 255, 255)
    return png(rgba)


def spotlight_png(heatmap: FloatArray, *, size: int, parts: Parts = "both") -> bytes:
    """A transparent PNG (size, size) that dims a photo but for what the map marks.

    Nothing lies over the marked region (:func:`core.explain.heatmaps.marked`); a pixel further
    from it than SOFT of the side keeps DIMMED of its value. All is dimmed where nothing is marked.

    Parameters
    ----------
    heatmap : (h, w) of any unit.
    parts : ``negative`` shows what lowers the logit, else what raises it is shown.
    """
    inside = marked(-heatmap if parts == "negative" else heatmap, (size, size))
    rgba = np.zeros((size, size, 4), np.uint8)
    rgba[..., 3] = np.round(255 * (1 - DIMMED) * _apart(inside, SOFT * size))
    return png(rgba)


def region_png(inside: BoolArray, *, dims: bool) -> bytes:
    """A transparent PNG (h, w) of a region with hard edges: dims the rest, or colours it."""
    rgba = np.zeros((*inside.shape, 4), np.uint8)
    if dims:
        rgba[~inside, 3] = round(255 * (1 - DIMMED))
    else:
        rgba[inside] = (*RAISES, 150)
    return png(rgba)


def _apart(inside: BoolArray, width: float) -> FloatArray:
    """How far pixels are from a region, (h, w) in [0, 1]: 0 in it, 1 from ``width`` pixels on."""
    from scipy.ndimage import distance_transform_edt

    if not inside.any():
        return np.ones(inside.shape)
    apart: FloatArray = np.clip(distance_transform_edt(~inside) / width, 0, 1)
    return apart


def atlas_png(maps: FloatArray, colours: Sequence[str], *, size: int) -> bytes:
    """A transparent PNG (size, size): at every place the colour of the largest of m positive maps.

    Strength is its value as a share of the largest anywhere; bare where none is positive.

    Parameters
    ----------
    maps : (m, h, w); colours : at least m, as ``#rrggbb``.
    """
    values = np.stack([upsample(one, (size, size)) for one in maps])
    best, peak = values.max(axis=0), float(values.max())
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.uint8)
    rgba = np.zeros((size, size, 4), np.uint8)
    rgba[..., :3] = rgb[values.argmax(axis=0)]
    rgba[..., 3] = np.round(255 * np.clip(best / peak if peak > 0 else 0 * best, 0, 1) ** 0.5)
    return png(rgba)


def over_photo(pixels: np.ndarray, layer: bytes) -> bytes:
    """A PNG of an image (h, w, 3) uint8 with a square transparent picture drawn over it."""
    drawn = Image.open(io.BytesIO(layer))
    photo = Image.fromarray(pixels).convert("RGBA").resize(drawn.size)
    whole = Image.alpha_composite(photo, drawn.convert("RGBA"))
    return png(np.asarray(whole.resize((pixels.shape[1], pixels.shape[0]))))


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
