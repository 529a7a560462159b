"""Changed images and what the model says of them: what noise and pasting share.

Every forward takes a batch of the audit's size at its precision (a smaller one is padded), so
clean predictions are those that the audit stored.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from core.audits.audit import Audit
from core.audits.subject import fitting_rows
from core.candidates.candidate import Candidate, heatmaps_of
from core.data.masks import crop_mask, read_mask
from core.explain.heatmaps import union
from core.features.extract import cores, encode_padded, in_order
from core.trials.paste import sample
from core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from core.models.model import Model

K = TypeVar("K")

IMAGES = 500
"""Held-out images per class that a trial uses at most, a fixed random part of them."""

MEMORY = 2**28
"""Bytes of decoded pixels that are kept: 1,700 images of 224 x 224 pixels."""


class Seen:
    """What the encoder sees of an audit's images and masks, decoded once. Safe in many threads."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self._pixels: dict[str, np.ndarray] = {}
        self._masks: dict[tuple[str, str], np.ndarray | None] = {}
        self._room = MEMORY
        self._locks = [threading.Lock() for _ in range(64)]

    def picture(self, image_id: str) -> np.ndarray:
        """What the encoder sees of an image, (h, w, 3) uint8; not to be written to."""
        with self._locks[hash(image_id) % len(self._locks)]:  # two threads may want it at once
            known = self._pixels.get(image_id)
            if known is None:
                known = self.audit.pixels(image_id)
                if known.nbytes <= self._room:
                    self._room -= known.nbytes
                    self._pixels[image_id] = known
        return known

    def pictures(self, image_ids: Sequence[str]) -> Iterator[np.ndarray]:
        """The same of each image, decoded in threads."""
        return in_order(self.picture, image_ids, workers=min(8, cores()), ahead=32)

    def mask(self, image_id: str, column: str) -> BoolArray | None:
        """:func:`mask_in_view`; kept at a bit per pixel."""
        key = (image_id, column)
        if key not in self._masks:
            found = mask_in_view(self.audit, image_id, column)
            self._masks[key] = None if found is None else np.packbits(found, axis=1)
            return found
        packed = self._masks[key]
        if packed is None:
            return None
        width = self.audit.preprocess.input_size[1]
        return np.unpackbits(packed, axis=1, count=width).astype(bool)


def pictures(audit: Audit, image_ids: Sequence[str]) -> Iterator[np.ndarray]:
    """What the encoder sees of each image, (h, w, 3) uint8, decoded in threads."""

    def one(image_id: str) -> np.ndarray:
        return audit.pixels(image_id)

    return in_order(one, image_ids, workers=min(8, cores()), ahead=32)


class Encoder:
    """A model at the batch size of its audit, fed with full batches."""

    def __init__(self, audit: Audit, model: Model) -> None:
        self.size = int(audit.manifest.compute.batch_size)
        self.width = int(audit.head.weight.shape[1])
        self.model = model

    def each(self, images: Iterable[tuple[K, np.ndarray]]) -> Iterator[tuple[K, FloatArray]]:
        """Features (D,) float32 of every image (h, w, 3) uint8, under its key, in order."""
        keys: list[K] = []
        pixels: list[np.ndarray] = []
        for key, image in images:
            keys.append(key)
            pixels.append(image)
            if len(pixels) == self.size:
                yield from zip(keys, self.features(pixels), strict=True)
                keys, pixels = [], []
        if pixels:
            yield from zip(keys, self.features(pixels), strict=True)

    def features(self, pixels: Sequence[np.ndarray]) -> FloatArray:
        """Features (n, D) float32 of images that the encoder is to see."""
        parts = [np.zeros((0, self.width), np.float32)]
        for start in range(0, len(pixels), self.size):
            batch = np.stack(pixels[start : start + self.size])
            encoded = encode_padded(self.model, batch, self.size)
            parts.append(encoded.features.float().cpu().numpy())
        return np.concatenate(parts)


def logits_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> FloatArray:
    """Logits (n, K) of the audit's head for images that the encoder is to see."""
    return audit.head.logits(features_of(audit, model, pixels))


def features_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> FloatArray:
    """Features (n, D) float32 of images that the encoder is to see."""
    return Encoder(audit, model).features(pixels)


def predictions_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> IntArray:
    """Predicted output (n,)."""
    found: IntArray = logits_of(audit, model, pixels).argmax(axis=1).astype(np.int64)
    return found


def region(
    audit: Audit, candidates: Sequence[Candidate], image_ids: Sequence[str], model: Model
) -> FloatArray:
    """Where the candidates support the class, (n, h, w) in [0, 1]: the union of their maps."""
    return regions(audit, [candidates], image_ids, model)[0]


def regions(
    audit: Audit,
    groups: Sequence[Sequence[Candidate]],
    image_ids: Sequence[str],
    model: Model,
) -> list[FloatArray]:
    """:func:`region` of several groups of candidates; the images' maps are made once."""
    shape = (len(image_ids), *audit.preprocess.input_size)
    maps = audit.maps(image_ids, model) if audit.exact_maps and any(groups) else None
    found = []
    for candidates in groups:
        if not candidates:
            found.append(np.zeros(shape, np.float32))
            continue
        if maps is not None:
            heats = heatmaps_of(candidates, maps)
        else:
            heats = np.stack([audit.heatmaps(c, image_ids, model) for c in candidates], axis=1)
        found.append(np.stack([union(one, audit.preprocess.input_size) for one in heats]))
    return found


def mask_in_view(audit: Audit, image_id: str, column: str) -> BoolArray | None:
    """An image's mask as the encoder sees it; None where it has none inside the view."""
    image = audit.images_of([image_id]).iloc[0]
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
    return audit.summary.held_out
