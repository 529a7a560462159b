"""What a model's head answers to a cue's direction: TCAV and sensitivity.

Kim et al. 2018 (TCAV); Dreyer, Pahde et al. 2024 report both, since the quotient of signs is noise
once the sensitivity is near zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.candidates.candidate import Candidate
from core.measures.measure import EFFECT, LOGIT, Measure, Sample
from core.measures.scope import Scope
from core.models.linear import Head
from core.statistics.estimates import Mean
from core.statistics.order import falling
from core.tags.decisions import values_of
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


NO_IMAGES = "no training or held-out image of the class to take it from"


def _answers(scope: Scope, label: str) -> Iterator[tuple[Candidate, list[str], Answer]]:
    """What the class's logit answers to every cue on held-out images that show it most.

    The direction is the unit difference of the mean features of the training images with the
    highest and the lowest quarter of alpha (signal CAV).
    """
    arrays = scope.owner.arrays_of(label)
    ids = np.array(arrays.image_ids, object)
    for candidate in scope.decisions.spurious[label]:
        alpha = values_of(scope.owner, label, [candidate])[:, 0]
        order = falling(alpha)[: int(np.isfinite(alpha).sum())]
        train = order[np.asarray(arrays.fitting, bool)[order]]
        held = order[scope.among(ids[order].tolist())]
        held, k = held[: max(len(held) // 4, 1)], len(train) // 4
        if not k or not len(held):
            continue
        features = scope.audit.features
        high, low = (features(ids[part].tolist()) for part in (train[:k], train[-k:]))
        v = high.mean(axis=0, dtype=np.float64) - low.mean(axis=0, dtype=np.float64)
        v /= max(float(np.linalg.norm(v)), 1e-300)
        shown = ids[held].tolist()
        yield candidate, shown, answer(scope.audit.head, features(shown), v, candidate.class_idx)


def _rises(scope: Scope, label: str) -> list[Sample]:
    """Whether the logit grows along the cue's direction."""
    return [
        Sample(ids, (found.slopes > 0).astype(np.float64), subject=c.title, key=str(c.key))
        for c, ids, found in _answers(scope, label)
    ]


def _sizes(scope: Scope, label: str) -> list[Sample] | str:
    """The size of the slope along the cue's direction."""
    samples = [
        Sample(ids, found.sizes, subject=c.title, key=str(c.key))
        for c, ids, found in _answers(scope, label)
    ]
    return samples or NO_IMAGES


TCAV = Measure(
    "tcav",
    "TCAV",
    "Share of images with the cue whose logit grows along the cue's direction; a linear head "
    "has one gradient for all images, so 0 or 1.",
    direction="0.5 means no preference",
    source="Kim et al. 2018 (TCAV)",
    views=(EFFECT,),
    sample=_rises,
)
SENSITIVITY = Measure(
    "sensitivity",
    "Sensitivity to the cue",
    "Mean size of the logit's slope along the cue's direction.",
    LOGIT,
    better=-1,
    source="Dreyer, Pahde et al. 2024",
    views=(EFFECT,),
    sample=_sizes,
    estimate=Mean(),
)
