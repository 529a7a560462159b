"""Training images by group, a class with a tagged cue or without: what group methods learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.presence import presence
from core.errors import InputError
from core.models.linear import Head
from core.types import FloatArray, IntArray

NOWHERE = -1
"""Of an image of which it is not known whether it shows a cue."""


@dataclass(frozen=True)
class Grouping:
    """Which group every training image is in: 2 k + 1 of class k with a cue, 2 k without any.

    The group of images with a cue is one for all cues: of two cues, most pairs of a class and a cue
    would have no image at all.
    """

    of: IntArray
    """(N,) group, or ``NOWHERE``."""
    classes: IntArray
    """Outputs that have images, ascending."""
    told: bool
    """Whether an attribute of the data says so; else it is estimated from the tags."""

    @property
    def wanted(self) -> IntArray:
        """Every group of the classes that have images, ascending."""
        return np.sort(np.concatenate([2 * self.classes, 2 * self.classes + 1]))

    def sizes(self) -> IntArray:
        """Images of every group of ``wanted``."""
        return np.array([(self.of == g).sum() for g in self.wanted], np.int64)


def grouping(evidence: Evidence) -> Grouping:
    """True groups where an attribute says who shows the cues, else pseudo-groups from the tags."""
    found = [presence(evidence, m) for m in range(len(evidence.cues))]
    shows = np.stack([one.shows for one in found], axis=1)
    with_cue = (shows > 0.5).any(axis=1)
    known = with_cue | ~np.isnan(shows).any(axis=1)
    of = np.where(known, 2 * evidence.labels + with_cue, NOWHERE)
    return Grouping(of, evidence.classes, all(one.told for one in found))


def required(groups: Grouping, head: Head, fewest: int, method: str) -> None:
    """Raise InputError unless every group has enough images.

    Raises
    ------
    InputError
        The sentence names the first group that is too small, and how it may be filled.
    """
    for group, size in zip(groups.wanted, groups.sizes(), strict=True):
        if size < fewest:
            name = head.outputs[int(group) // 2]
            side = "with a tagged cue" if group % 2 else "without one"
            raise InputError(
                f"{method} needs {fewest} training images of every class with a tagged cue and "
                f"without one: of {name!r} {side} there are {size}; add such images, or choose "
                "pclarc"
            )


def towards(head: Head, weight: FloatArray, bias: FloatArray, strength: float) -> Head:
    """The head gone the share ``strength`` of the way to another one (Wortsman et al. 2022)."""
    from core.corrections.rectified import with_weights

    moved = head.weight + strength * (weight - head.weight)
    return with_weights(head, moved, head.bias + strength * (bias - head.bias))
