"""The worst group of a head as far as training images can say: which accuracy a cue costs.

Groups are a class with a tagged cue and without it, the cue's own class and the others, since a cue
that other classes hardly show harms them most. Real images count by how likely they belong; where
few do, composites stand in: the cue pasted on images of other classes, and replaced on images of
its own. All composites of a group count like ``COUNTED`` images. A patch that has nothing of the
cue disturbs a head as well: what it costs is given back. Else cutting and pasting reads as a cost
of the cue, and a correction is chosen that is too strong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.pairs import REPLACED
from core.corrections.presence import Presence
from core.models.linear import Head
from core.types import FloatArray, IntArray

COUNTED = 20.0
"""Real images that all composites of a group are worth."""

FEWEST = 4.0
"""Images that a group needs to be judged by, composites included."""


@dataclass(frozen=True)
class Groups:
    """Images with the groups that they are in; a group is a cue, a class, and whether it shows."""

    features: FloatArray
    """(n, D)."""
    labels: IntArray
    """(n,) outputs."""
    weights: FloatArray
    """(n, G) how much an image counts in each group."""

    def hits(self, head: Head) -> FloatArray:
        """Weighted right images (G,)."""
        right = head.logits(self.features).argmax(axis=1) == self.labels
        return np.asarray(right @ self.weights)


@dataclass(frozen=True)
class Pasted:
    """Composites: images with a cue put in, or taken away."""

    features: FloatArray
    """(T, D)."""
    labels: IntArray
    """(T,) their classes' outputs."""
    cue: IntArray
    """(T,) which cue."""
    plain: FloatArray
    """(T, D) the images as they are."""
    control: FloatArray | None = None
    """(T, D) with a patch of the same shape instead (:class:`core.corrections.evidence.Pairs`)."""

    @property
    def counted(self) -> tuple[tuple[FloatArray, int], ...]:
        """What makes up a hit, with its sign: a composite is right, and what its control costs."""
        if self.control is None:
            return ((self.features, 1),)
        return (self.features, 1), (self.plain, 1), (self.control, -1)


def groups_of(
    held: Evidence, shows: FloatArray, pasted: Pasted, *, counted: float = COUNTED
) -> Groups:
    """The groups of held-out images, by cue, class, and with before without.

    Parameters
    ----------
    shows : (n, M) probability that each image shows each cue, NaN where nothing is said.
    counted : images that the composites of a group are worth together, here.
    """
    features, labels = [held.features], [held.labels]
    columns: list[list[FloatArray]] = []
    cells = [(m, int(k)) for m in range(len(held.cues)) for k in held.classes]
    columns.append(
        [
            np.where(held.labels == k, np.nan_to_num(side), 0.0)
            for m, k in cells
            for side in (shows[:, m], 1 - shows[:, m])
        ]
    )
    for own, made in enumerate((pasted, _replaced(held))):
        shares = [
            _shared((made.cue == m) & (made.labels == k), counted if side == own else 0.0)
            for m, k in cells
            for side in (0, 1)
        ]
        for images, sign in made.counted:
            features.append(images)
            labels.append(made.labels)
            columns.append([sign * share for share in shares])
    weights = np.concatenate([np.stack(part, axis=1) for part in columns])
    return Groups(np.concatenate(features), np.concatenate(labels), weights)


def _shared(members: FloatArray, total: float) -> FloatArray:
    """A total (n,) shared out among members, no more than one to each."""
    count = int(members.sum())
    return members * min(total / count, 1.0) if count else np.zeros(len(members))


def _replaced(held: Evidence) -> Pasted:
    """The cue's images without it."""
    pairs = held.erased.get(REPLACED)
    if pairs is None:
        nothing, none = np.zeros(0, np.int64), np.zeros((0, held.features.shape[1]), np.float32)
        return Pasted(none, nothing, nothing, none)
    return Pasted(pairs.hidden, held.labels[pairs.rows], pairs.cue, pairs.shown, pairs.control)


def accuracies(hits: FloatArray, totals: FloatArray) -> FloatArray:
    """Accuracy (S, G) of weighted hits (S, G) of totals (G,), NaN of groups of too few images."""
    known = totals >= FEWEST
    found: FloatArray = np.where(known, hits / np.where(known, totals, 1), np.nan)
    return np.clip(found, 0, 1)


def least(found: FloatArray) -> FloatArray:
    """The worst group (S,) of accuracies (S, G); NaN where no group is known."""
    filled = np.where(np.isnan(found), np.inf, found).min(axis=1, initial=np.inf)
    return np.where(np.isinf(filled), np.nan, filled)


def shows_of(found: Sequence[Presence]) -> FloatArray:
    """(N, M) probability that an image shows each cue."""
    return np.stack([one.shows for one in found], axis=1)
