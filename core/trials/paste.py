"""Pasting a cue onto other images, to see whether the cue alone is enough for the class.

The spurious gap can close while a pasted cue still triggers the class, so both are shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.statistics.seeds import image_seed
from core.types import BoolArray, IntArray


def paste(target: np.ndarray, source: np.ndarray, mask: BoolArray) -> np.ndarray:
    """The source inside the mask, the target outside; (h, w, 3) uint8.

    Parameters
    ----------
    target, source : (h, w, 3) uint8, both as the encoder sees them.
    mask : (h, w), where the cue is in the source.

    Raises
    ------
    ValueError
        If the sizes differ or the mask is not boolean.
    """
    if target.shape != source.shape or mask.shape != target.shape[:2]:
        raise ValueError(
            f"the sizes differ: target {target.shape}, source {source.shape}, mask {mask.shape}"
        )
    if mask.dtype != np.bool_:
        raise ValueError(f"a mask of {mask.dtype}: give booleans")
    return np.where(mask[:, :, None], source, target)


def choose(image_ids: Sequence[str], choices: int, *, seed: int = 0) -> IntArray:
    """One of ``choices`` sources for every image, by its id alone: (n,) in [0, choices).

    Raises
    ------
    ValueError
        If there is nothing to choose from.
    """
    if choices < 1:
        raise ValueError("there is no source to choose from")
    return np.array([image_seed(i, seed) % choices for i in image_ids], np.int64)


def sample(image_ids: Sequence[str], size: int, *, seed: int = 0) -> list[str]:
    """At most ``size`` ids, a random part by the ids alone, in their order."""
    if len(image_ids) <= size:
        return list(image_ids)
    chosen = np.sort(sample_order(image_ids, seed=seed)[:size])
    return [image_ids[i] for i in chosen]


def sample_order(image_ids: Sequence[str], *, seed: int = 0) -> IntArray:
    """Places (n,) of ids in the order that :func:`sample` takes them in."""
    keys = [(image_seed(i, seed), i) for i in image_ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
