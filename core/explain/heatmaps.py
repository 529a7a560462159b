"""Where a candidate is in the image: exact heatmaps.

With pooling before a linear head, phi = mean over positions of A(p), and a candidate is a linear
functional alpha = q . phi - c. Its map q . A(p) - c therefore averages to the number shown: the
map is exact and needs no gradient. With a normalisation between pool and head, the maps are the
normalised ones with the image's own statistics frozen, which keeps the identity
(:mod:`core.models.trace`). Neural activation maps (Singla & Feizi 2022, section 4) are the case
of a single neuron, without their division by the maximum.
"""

from __future__ import annotations

import numpy as np

from core.statistics.ranks import rank_correlation
from core.types import BoolArray, FloatArray

READABLE = 28
"""Cells along a side beyond which single pixels flicker more than they say."""


def energy_share(heatmap: FloatArray, inside: FloatArray) -> float:
    """Share of the map's positive energy that lies inside a mask, in [0, 1].

    Energy-based pointing game (Wang et al. 2020). ``heatmap`` (h, w) and ``inside`` (h, w), the
    share of each cell that the mask covers. NaN where the map has no positive part.
    """
    positive = np.maximum(heatmap, 0).astype(np.float64)
    total = positive.sum()
    return float((positive * inside).sum() / total) if total > 0 else float("nan")


def upsample(heatmap: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Bilinear enlargement of a map (h, w) to ``size`` (height, width), cell centres kept."""
    from PIL import Image

    image = Image.fromarray(np.asarray(heatmap, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def coarse(heatmap: FloatArray, grid: tuple[int, int]) -> FloatArray:
    """Means of a map (h, w) over the cells of a grid (rows, columns), float32."""
    from PIL import Image

    image = Image.fromarray(np.asarray(heatmap, np.float32))
    return np.asarray(image.resize((grid[1], grid[0]), Image.Resampling.BOX))


def readable(heatmap: FloatArray) -> FloatArray:
    """A map on a grid that the eye can read: at most ``READABLE`` cells along either side."""
    rows, columns = (min(side, READABLE) for side in heatmap.shape)
    return heatmap if (rows, columns) == heatmap.shape else coarse(heatmap, (rows, columns))


def agreement(a: FloatArray, b: FloatArray) -> float:
    """Rank correlation of two maps of one image, on the coarser of their grids, in [-1, 1]."""
    grid = tuple(min(*sides, READABLE) for sides in zip(a.shape, b.shape, strict=True))
    return rank_correlation(*(coarse(each, (grid[0], grid[1])) for each in (a, b)))


def marked(heatmap: FloatArray, size: tuple[int, int]) -> BoolArray:
    """Where a map marks an image, ``size`` (height, width): what trials in pixels cut out.

    The positive part, enlarged, at or above half of its maximum (:mod:`core.trials.pasted_cues`).
    """
    return half_maximum(upsample(np.maximum(heatmap, 0), size))


def area_words(heatmap: FloatArray) -> str:
    """Where a map is above half of its maximum, in words: how much of the image, and which side."""
    inside = marked(heatmap, (84, 84))
    if not inside.any():
        return "nowhere"
    rows, columns = (int(3 * np.flatnonzero(inside.any(axis)).mean() / 84) for axis in (1, 0))
    side = " ".join(filter(None, (("upper", "", "lower")[rows], ("left", "", "right")[columns])))
    return f"{100 * inside.mean():.0f} %, {side or 'middle'}"


def half_maximum(heatmap: FloatArray) -> BoolArray:
    """Where a map is above half of its maximum; nowhere if it has no positive part."""
    peak = float(heatmap.max())
    return heatmap >= peak / 2 if peak > 0 else np.zeros(heatmap.shape, bool)


def unit_maps(maps: FloatArray) -> FloatArray:
    """The positive part of every map over its own maximum, (m, h, w) float32 in [0, 1].

    A map without a positive part becomes zeros.

    Parameters
    ----------
    maps : (m, h, w) heatmaps of the tagged candidates on one image.
    """
    positive = np.maximum(np.asarray(maps, np.float32), 0)
    peak = positive.max(axis=(1, 2), keepdims=True, initial=0)
    found: FloatArray = np.divide(positive, peak, out=np.zeros_like(positive), where=peak > 0)
    return found


def union(maps: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Where several candidates are: the largest of their unit maps, enlarged, in [0, 1].

    What is lit of several cues and what trials cut out is where this reaches half of its maximum:
    a cue whose map is small in logits counts as much as one whose map is large.

    Parameters
    ----------
    maps : (m, h, w) on one image; size : (height, width) of what is returned.
    """
    found: FloatArray = np.clip(np.max([upsample(m, size) for m in unit_maps(maps)], axis=0), 0, 1)
    return found
