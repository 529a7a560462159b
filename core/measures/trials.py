"""Changed images and what the model says of them: what noise and pasting share.

Every forward takes a batch of the audit's size at its precision (a smaller one is padded), so
clean predictions are those that the audit stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.analysis import fitting_rows
from core.audit import Audit, Candidate
from core.data.masks import crop_mask, read_mask
from core.data.preprocess import apply
from core.explain.heatmaps import heatmaps, upsample
from core.features.extract import cores, encode_padded, in_order
from core.measure.noise import unit_maps
from core.measure.paste import sample
from core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from core.models.model import Model

IMAGES = 500
"""Held-out images per class that a trial uses at most, a fixed random part of them."""


def pictures(audit: Audit, image_ids: Sequence[str]) -> Iterator[np.ndarray]:
    """What the encoder sees of each image, (h, w, 3) uint8, decoded in threads."""

    def one(image_id: str) -> np.ndarray:
        return apply(audit.preprocess, audit.image(image_id))

    return in_order(one, image_ids, workers=min(8, cores()), ahead=32)


def logits_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> FloatArray:
    """Logits (n, K) of the audit's head for images that the encoder is to see."""
    return audit.head.logits(features_of(audit, model, pixels))


def features_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> FloatArray:
    """Features (n, D) float32 of images that the encoder is to see."""
    size = audit.manifest["compute"]["batch_size"]
    parts = [np.zeros((0, audit.head.weight.shape[1]), np.float32)]
    for start in range(0, len(pixels), size):
        encoded = encode_padded(model, np.stack(pixels[start : start + size]), size)
        parts.append(encoded.features.float().cpu().numpy())
    return np.concatenate(parts)


def predictions_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> IntArray:
    """Predicted output (n,)."""
    found: IntArray = logits_of(audit, model, pixels).argmax(axis=1).astype(np.int64)
    return found


def region(
    audit: Audit, candidates: Sequence[Candidate], image_ids: Sequence[str], model: Model
) -> FloatArray:
    """Where the candidates support the class, (n, h, w) in [0, 1]: the union of their maps."""
    size = audit.preprocess.input_size
    if not candidates:
        return np.zeros((len(image_ids), *size), np.float32)
    if audit.exact_maps:
        directions = np.stack([c.direction for c in candidates])
        offsets = np.array([c.offset for c in candidates])
        maps = heatmaps(audit.maps(image_ids, model), directions, offsets)
    else:
        maps = np.stack([audit.heatmaps(c, image_ids, model) for c in candidates], axis=1)
    unions = [np.max([upsample(m, size) for m in unit_maps(of_image)], axis=0) for of_image in maps]
    found: FloatArray = np.clip(np.stack(unions), 0.0, 1.0)
    return found


def mask_in_view(audit: Audit, image_id: str, column: str) -> BoolArray | None:
    """An image's mask as the encoder sees it; None where it has none inside the view."""
    image = audit.images.loc[image_id]
    if column not in image.index or not image[column]:
        return None
    size = (int(image["width"]), int(image["height"]))
    mask = crop_mask(read_mask(audit.root / image[column], size), audit.preprocess)
    return mask if mask.any() else None


def trial_ids(audit: Audit, *, inside: str = "", outside: str = "") -> list[str]:
    """Held-out images of a class, or of all others, at most IMAGES of them."""
    images = audit.images[audit.held_out]
    rows = images["label"] == inside if inside else images["label"] != outside
    return sample(images.index[rows].tolist(), IMAGES)


def trial_split(audit: Audit) -> str:
    """Which images a trial uses; changed images have no out-of-fold prediction."""
    if fitting_rows(audit.images).all() and audit.head.mode == "fit":
        return "train (the head was fitted on these images)"
    return str(audit.summary["held_out"])
