"""What a head answers to a concept: TCAV and sensitivity.

Kim et al. 2018 (TCAV); Dreyer, Pahde et al. 2024 report both, since the quotient of signs is noise
once the sensitivity is near zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.models.linear import Head
from core.types import FloatArray


@dataclass(frozen=True)
class Answer:
    """How a class's logit answers to a step along a concept vector, over some images."""

    slopes: FloatArray
    """(n,) gradient . v of every image, logits per unit of feature."""

    @property
    def _signs(self) -> tuple[int, int]:
        return int((self.slopes > 0).sum()), int((self.slopes < 0).sum())

    @property
    def tcav(self) -> float:
        """Share of images whose logit rises, of those where it changes, NaN without one.

        0.5 is ideal after a correction.
        """
        up, down = self._signs
        return up / (up + down) if up + down else float("nan")

    @property
    def tcav_error(self) -> float:
        """Its binomial standard error."""
        changed = sum(self._signs)
        return float(np.sqrt(self.tcav * (1 - self.tcav) / changed)) if changed else float("nan")

    @property
    def sizes(self) -> FloatArray:
        """(n,) size of every slope; their mean is the sensitivity."""
        sizes: FloatArray = np.abs(self.slopes)
        return sizes

    @property
    def sensitivity(self) -> float:
        """Mean |gradient . v|, logits per unit of feature; 0 is ideal, NaN without an image."""
        return float(self.sizes.mean()) if len(self.slopes) else float("nan")


def answer(head: Head, features: FloatArray, vector: FloatArray, output: int) -> Answer:
    """TCAV and sensitivity of one class at the head.

    Parameters
    ----------
    features : (n, D) of images that show the cue.
    vector : (D,) concept vector, of length 1.
    output : column of the head.
    """
    return Answer(head.piece(features, output)[0] @ np.asarray(vector, np.float64))
