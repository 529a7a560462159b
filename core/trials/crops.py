"""What a candidate's overlay marks, cut out of images, beside the same places where it is not.

Words are asked of crops (:mod:`core.trials.crop_words`); the control is cut out at the very same
places of images of the same class that show least of the candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.errors import InputError, UnreadableImageError
from core.explain.heatmaps import half_maximum, upsample
from core.trials.encoder import Seen
from core.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

IMAGES = 16
"""Images of either side, at most."""

FEWEST = 4
"""Below, nothing is said: a share of so few says nothing."""

SMALLEST = 1 / 3
"""Shortest side of a crop, as a share of the view: less shows no thing to name."""


@dataclass(frozen=True)
class Crops:
    """Pixels (h, w, 3) uint8 of whatever size."""

    shown: list[np.ndarray]
    """(n) what the overlay marks in the images that show most of the candidate."""
    least: list[np.ndarray]
    """(n) the same places of the images that show least."""
    whole: list[np.ndarray]
    """All of these images, uncut."""


def crops_of(audit: Audit, candidate: Candidate, model: Model | None = None) -> Crops:
    """The crops of a candidate, from training images of its class.

    Parameters
    ----------
    model : the loaded model, where maps are not kept.

    Raises
    ------
    InputError
        If fewer than :data:`FEWEST` images show the candidate, or can be read.
    """
    most, least = ends(audit, candidate)
    heat = audit.heatmaps(candidate, most, model) if most else np.zeros((0, 1, 1))
    size, seen, found = audit.preprocess.input_size, Seen(audit), Crops([], [], [])
    for first, last, one in zip(most, least, heat, strict=True):
        if one.max() <= 0:
            continue
        try:
            pictures = seen.picture(first), seen.picture(last)
        except UnreadableImageError:
            continue
        place = box(one, size)
        found.shown.append(pictures[0][place])
        found.least.append(pictures[1][place])
        found.whole.extend(pictures)
    if len(found.shown) < FEWEST:
        title, label = candidate.key.title, candidate.key.label
        raise InputError(
            f"{title} of class {label!r} has no crops to name: {len(found.shown)} training images "
            f"show it and can be read; {FEWEST} are needed"
        )
    return found


def ends(audit: Audit, candidate: Candidate) -> tuple[list[str], list[str]]:
    """Training images that show most of a candidate, and as many others that show least."""
    arrays = audit.class_arrays(candidate.class_idx)
    alpha = arrays.alpha_of(candidate.key)
    if alpha is None:
        alpha = audit.known_alpha(candidate, arrays.image_ids)
    known = np.flatnonzero(np.isfinite(alpha) & np.asarray(arrays.fitting, bool))
    order = known[np.argsort(-alpha[known], kind="stable")]
    n = min(IMAGES, len(order) // 2)
    return [arrays.image_ids[i] for i in order[:n]], [arrays.image_ids[i] for i in order[::-1][:n]]


def box(heat: FloatArray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the view around the place where a map is largest.

    The smallest square that holds what reaches half of the maximum and hangs together with it, but
    no smaller than :data:`SMALLEST` of the view.

    Parameters
    ----------
    heat : (h, w); size : height and width of the view, pixels.
    """
    values = upsample(heat, size)
    region = _around(half_maximum(values), np.unravel_index(int(values.argmax()), values.shape))
    lines = [np.flatnonzero(region.any(axis=axis)) for axis in (1, 0)]
    middles = [(line[0] + line[-1] + 1) / 2 for line in lines]
    side = max([SMALLEST * min(size), *(line[-1] + 1 - line[0] for line in lines)])
    down, across = (
        _span(middle, min(side, whole), whole) for middle, whole in zip(middles, size, strict=True)
    )
    return down, across


def _around(region: BoolArray, place: Sequence[np.intp]) -> BoolArray:
    """The part of a region that hangs together with a place of it."""
    from scipy.ndimage import label

    parts, _ = label(region)
    found: BoolArray = parts == parts[tuple(place)]
    return found


def _span(middle: float, side: float, whole: int) -> slice:
    """So many pixels around a middle, moved inside the whole."""
    start = int(np.clip(round(middle - side / 2), 0, whole - round(side)))
    return slice(start, start + round(side))


def enlarged(crops: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Crops (n, h, w, 3) uint8 at the size that a network sees."""
    resized = [
        Image.fromarray(crop).resize((size[1], size[0]), Image.Resampling.BICUBIC) for crop in crops
    ]
    return np.stack([np.asarray(image) for image in resized])
