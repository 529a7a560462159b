"""One image: its class logit as a sum of components, and what changes without some of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.candidates.candidate import linear_alpha
from core.candidates.pca import ClassPCA
from core.types import FloatArray


@dataclass(frozen=True)
class LogitSum:
    """logit = logit_mean + sum of alpha + residual + correction, exactly; all in logit units."""

    logit_mean: float
    """Mean logit of the class over its training images."""
    alpha: FloatArray
    """(r,) contribution of every kept component."""
    residual: float
    """What the kept basis misses."""
    correction: float = 0.0
    """What a corrected head adds on this image; mostly negative."""

    @property
    def logit(self) -> float:
        """The logit of the class."""
        return self.logit_mean + float(self.alpha.sum()) + self.residual + self.correction

    def largest(self, count: int) -> tuple[list[int], float]:
        """The components with the largest contributions, and the sum of all others."""
        order = np.argsort(-np.abs(self.alpha), kind="stable")[:count]
        return order.tolist(), float(self.alpha.sum() - self.alpha[order].sum())


def logit_sum(
    pca: ClassPCA, logit_mean: float, logit: float, phi: FloatArray, *, linear: float | None = None
) -> LogitSum:
    """Take a class's logit apart.

    Parameters
    ----------
    phi : (D,) features of the image; ``logit`` must be theirs.
    linear : the logit without the head's correction; default the same.
    """
    alpha = linear_alpha(phi[None], pca.directions, pca.offsets)[0]
    linear = logit if linear is None else linear
    return LogitSum(logit_mean, alpha, linear - logit_mean - float(alpha.sum()), logit - linear)


def switched_off(logits: FloatArray, class_idx: int, parts: LogitSum, off: list[int]) -> FloatArray:
    """Logits (K,) with some components of one class set to their training mean.

    Only that class's logit changes, by minus the components' alphas (both signs, unlike SpuFix,
    Neuhaus et al. 2023, which removes positive parts only).
    """
    changed = np.asarray(logits, np.float64).copy()
    changed[class_idx] -= parts.alpha[off].sum()
    return changed
