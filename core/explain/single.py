"""One image: a class's logit as a sum of components, or its margin as one of parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.candidates.candidate import linear_alpha
from core.candidates.parts import Maps, Parts
from core.candidates.pca import ClassPCA
from core.types import FloatArray


@dataclass(frozen=True)
class Decomposition:
    """total = start + sum of alpha + residual + correction, exactly; all in logit units."""

    start: float
    """Of a logit: its mean over the class's training images. Of a margin: its bias."""
    alpha: FloatArray
    """(r,) contribution of every kept component, or of every part."""
    residual: float
    """What the kept basis misses, or the rest that no part has."""
    correction: float = 0.0
    """What a corrected head adds on this image; mostly negative."""

    @property
    def total(self) -> float:
        """The logit of the class, or its margin."""
        return self.start + float(self.alpha.sum()) + self.residual + self.correction

    def largest(self, count: int) -> tuple[list[int], float]:
        """Those with the largest contributions, and the sum of all others."""
        order = np.argsort(-np.abs(self.alpha), kind="stable")[:count]
        return order.tolist(), float(self.alpha.sum() - self.alpha[order].sum())


def logit_sum(
    pca: ClassPCA, logit_mean: float, logit: float, phi: FloatArray, *, linear: float | None = None
) -> Decomposition:
    """Take a class's logit apart.

    Parameters
    ----------
    phi : (D,) features of the image; ``logit`` must be theirs.
    linear : the logit without the head's correction; default the same.
    """
    alpha = linear_alpha(phi[None], pca.directions, pca.offsets)[0]
    linear = logit if linear is None else linear
    return Decomposition(
        logit_mean, alpha, linear - logit_mean - float(alpha.sum()), logit - linear
    )


def margin_sum(parts: Parts, offset: float, maps: Maps) -> Decomposition:
    """Take a class's margin apart, as the head without its correction gives it.

    Parameters
    ----------
    offset : bias of the margin (:func:`core.candidates.parts.margin`).
    maps : (1, D, h, w) of the image, whose places the parts share out.
    """
    alpha = parts.alphas(maps)[0]
    return Decomposition(offset, alpha[:-1], float(alpha[-1]))


def switched_off(
    logits: FloatArray, class_idx: int, whole: Decomposition, off: list[int]
) -> FloatArray:
    """Logits (K,) with some components of one class at their training mean, or without some parts.

    Only that class's logit changes, by minus their alphas (both signs, unlike SpuFix, Neuhaus et
    al. 2023, which removes positive parts only).
    """
    changed = np.asarray(logits, np.float64).copy()
    changed[class_idx] -= whole.alpha[off].sum()
    return changed
