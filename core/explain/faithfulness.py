"""How far a map can be trusted: what its best pixels alone are worth, and what is left without.

A map of a label says which pixels speak for it. Keep the best q of them and fill the rest: the
probability of the label, averaged over q and over fills, is its certificate g, next to that of the
whole image, f. A map is complete where g reaches f, and sound where g does not claim more than f: a
map from which a label can be read that the image does not have is no evidence. Both are judged over
several labels, for the worst of them. Source: Gupta et al. 2022, by memory; departures: both
probabilities are held at 1/K or above, or a label of 1e-6 decides the worst case.
"""

from __future__ import annotations

import numpy as np

from core.types import BoolArray, FloatArray, IntArray

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the pixels, that are kept."""


def order_of(heatmap: FloatArray, size: tuple[int, int]) -> IntArray:
    """Pixels (h * w,) of an image by the enlarged map, highest first; ties in reading order."""
    from core.explain.heatmaps import upsample

    found: IntArray = np.argsort(-upsample(heatmap, size).ravel(), kind="stable")
    return found


def best(order: IntArray, size: tuple[int, int], share: float) -> BoolArray:
    """The first ``share`` of the pixels, exactly as many, (h, w)."""
    kept = np.zeros(len(order), bool)
    kept[order[: round(share * len(order))]] = True
    return kept.reshape(size)


def composed(image: FloatArray, fill: FloatArray, kept: BoolArray) -> FloatArray:
    """The image where it is kept, else the fill; both (h, w, 3)."""
    found: FloatArray = np.where(kept[..., None], image, fill)
    return found


def completeness(whole: FloatArray, alone: FloatArray, classes: int) -> FloatArray:
    """min(g / f, 1) of every label, (L,) in [0, 1]; higher: the map holds what speaks for it.

    Parameters
    ----------
    whole : (L,) f, probability of the labels in the image; alone : (L,) g, their certificates;
    classes : K, probabilities are held at 1/K or above.
    """
    f, g = (np.maximum(each, 1 / classes) for each in (whole, alone))
    return np.minimum(g / f, 1)


def soundness(whole: FloatArray, alone: FloatArray, classes: int) -> FloatArray:
    """min(f / g, 1) of every label, (L,) in [0, 1]; higher: it claims no more than is there."""
    return completeness(alone, whole, classes)
