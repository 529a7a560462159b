"""What a mitigation of the head may learn from: features, labels, tagged cues, who shows them.

Plain arrays, so that every method runs on stored features and decodes no image. Everything here
comes from the split ``train``; other splits serve for reporting alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.discover.pca import linear_alpha
from core.errors import InputError
from core.types import BoolArray, FloatArray, IntArray

SHOWN, HIDDEN, UNKNOWN = 1, 0, -1
"""Values of ``Evidence.present``."""


@dataclass(frozen=True)
class Cue:
    """One tagged cue of one class: alpha(x) = <1, v> <v, w * phi(x) - mean>, logit units.

    A component has v = u_l, a single neuron j has v = e_j; a cue known only by an attribute gets
    the direction of largest covariance with it (:func:`core.mitigate.transfer.matched_cue`).
    """

    output: int
    """Column of the head, k."""
    unit: FloatArray
    """(D,) v, a unit vector in the space of the weighted activations; its sign does not matter."""
    weight: FloatArray
    """(D,) row w_k of the head that the cue was found with."""
    mean: FloatArray
    """(D,) mean of w_k * phi over the class's training images."""

    @property
    def direction(self) -> FloatArray:
        """(D,) q with alpha = q . phi - offset."""
        found: FloatArray = self.unit.sum() * self.unit * self.weight
        return found

    @property
    def offset(self) -> float:
        """The constant of the same identity."""
        return float(self.unit.sum() * (self.unit @ self.mean))

    def alpha(self, features: FloatArray) -> FloatArray:
        """Alpha (n,) float64 of any features (n, D); higher: more of the cue."""
        q, c = self.direction[None], np.array([self.offset])
        found: FloatArray = linear_alpha(features, q, c)[:, 0]
        return found


@dataclass(frozen=True)
class Pairs:
    """The same training images with and without a cue, from pasting or cutting it."""

    shown: FloatArray
    """(P, D) features with the cue."""
    hidden: FloatArray
    """(P, D) features without it."""
    labels: IntArray
    """(P,) true output of the image, the same with and without the cue."""
    cue: IntArray
    """(P,) index into ``Evidence.cues``."""

    def of(self, cue: int) -> Pairs:
        """The pairs of one cue."""
        return self.take(np.flatnonzero(self.cue == cue))

    def take(self, rows: IntArray) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.shown[rows], self.hidden[rows], self.labels[rows], self.cue[rows])


@dataclass(frozen=True)
class Evidence:
    """What a method may fit on.

    Raises
    ------
    InputError
        If the arrays do not fit together, or a cue names an output that no image has.
    """

    features: FloatArray
    """(N, D) float32, or a memory map of it; finite."""
    labels: IntArray
    """(N,) output of each image in the head."""
    cues: tuple[Cue, ...]
    """M of them."""
    present: NDArray[np.int8]
    """(N, M) ``SHOWN``, ``HIDDEN`` or ``UNKNOWN``, by attribute or by :func:`high_against_low`."""
    pairs: Pairs | None = None
    """For methods that need masks, and for a sharper choice of the strength by every other."""
    seed: int = 0
    """Start of every random choice."""

    def __post_init__(self) -> None:
        n, m = len(self.features), len(self.cues)
        if self.labels.shape != (n,) or self.present.shape != (n, m):
            raise InputError(
                f"evidence of {n} images and {m} cues has labels {self.labels.shape} and "
                f"pseudo-labels {self.present.shape}; give ({n},) and ({n}, {m})"
            )
        missing = {cue.output for cue in self.cues} - set(self.classes.tolist())
        if missing:
            raise InputError(
                f"output {min(missing)} has a tagged cue but no training image; add images of it"
            )

    @cached_property
    def classes(self) -> IntArray:
        """Outputs that have images, ascending."""
        return np.unique(self.labels)

    def rows(self, cue: int, state: int, *, own: bool = True) -> IntArray:
        """Images of the cue's class (``own``) or of the others whose state is known so."""
        member = (self.labels == self.cues[cue].output) == own
        return np.flatnonzero(member & (self.present[:, cue] == state))

    def take(self, rows: IntArray, pairs: Pairs | None = None) -> Evidence:
        """Some of the images, with their own pairs."""
        parts = (self.features[rows], self.labels[rows])
        return replace(
            self, features=parts[0], labels=parts[1], present=self.present[rows], pairs=pairs
        )

    def split(self, share: float = 0.25) -> tuple[Evidence, Evidence]:
        """Two disjoint parts, to fit and to choose on; ``share`` of every group in the second.

        Groups are class by state of every cue; pairs are divided by class and cue.
        """
        rng = np.random.default_rng(self.seed)
        second = _part(_groups(self.labels, self.present), share, rng)
        sides = (np.flatnonzero(~second), np.flatnonzero(second))
        if self.pairs is None:
            return self.take(sides[0]), self.take(sides[1])
        held = _part(_groups(self.pairs.labels, self.pairs.cue[:, None]), share, rng)
        first, other = (self.pairs.take(np.flatnonzero(rows)) for rows in (~held, held))
        return self.take(sides[0], first), self.take(sides[1], other)


def _groups(labels: IntArray, states: NDArray[Any]) -> IntArray:
    """(n,) number of each row's combination of label and states."""
    table = np.column_stack([labels, states])
    found: IntArray = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
    return found


def _part(groups: IntArray, share: float, rng: np.random.Generator) -> BoolArray:
    """(n,) a random ``share`` of every group; a group of one stays in the first part."""
    chosen = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        chosen[rng.permutation(rows)[:count]] = True
    return chosen


def high_against_low(alpha: FloatArray, share: float = 0.25) -> NDArray[np.int8]:
    """Pseudo-labels (n,) of one class's images: the top ``share`` shows the cue, the bottom hides.

    Ties are broken by position; the middle is ``UNKNOWN``. The sides never overlap.

    Raises
    ------
    InputError
        If ``share`` is not in (0, 0.5], or there are fewer than two images.
    """
    n = len(alpha)
    if not 0 < share <= 0.5:
        raise InputError(f"share {share}: must be above 0 and at most 0.5")
    if n < 2:
        raise InputError(f"a class of {n} images has no high and low side; add images")
    k = max(int(share * n), 1)
    order = np.argsort(-np.asarray(alpha, np.float64), kind="stable")
    found = np.full(n, UNKNOWN, np.int8)
    found[order[:k]], found[order[n - k :]] = SHOWN, HIDDEN
    return found
