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

    tcav: float
    """Share of images whose logit rises, of those where it changes; 0.5 is ideal after a
    correction, NaN where it changes nowhere."""
    tcav_error: float
    """Its binomial standard error."""
    sensitivity: float
    """Mean |gradient . v|, logits per unit of feature; 0 is ideal."""
    sensitivity_error: float
    """Standard error of that mean; 0 without a correction, where every image answers alike."""


def answer(head: Head, features: FloatArray, vector: FloatArray, output: int) -> Answer:
    """TCAV and sensitivity of one class at the head.

    Parameters
    ----------
    features : (n, D) of images that show the cue.
    vector : (D,) concept vector, of length 1.
    output : column of the head.
    """
    steps = head.piece(features, output)[0] @ np.asarray(vector, np.float64)
    up, down = int((steps > 0).sum()), int((steps < 0).sum())
    share = up / (up + down) if up + down else float("nan")
    error = float(np.sqrt(share * (1 - share) / (up + down))) if up + down else float("nan")
    size = np.abs(steps)
    if len(size) < 2:
        return Answer(share, error, float(size.mean()) if len(size) else float("nan"), float("nan"))
    return Answer(share, error, float(size.mean()), float(size.std(ddof=1) / np.sqrt(len(size))))
