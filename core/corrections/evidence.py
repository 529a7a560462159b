"""What a mitigation of the head may learn from: features, labels, tagged cues, who shows them.

Plain arrays, so that every method runs on stored features and decodes no image. Everything here
comes from the split ``train``; other splits serve for reporting alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.candidates.candidate import alpha_along, functional
from core.errors import InputError
from core.statistics.order import falling
from core.types import FloatArray, IntArray, count_of

SHOWN, HIDDEN, UNKNOWN = 1, 0, -1
"""Values of ``Evidence.present``."""


@dataclass(frozen=True)
class Cue:
    """One tagged cue of one class: alpha(x) = <1, v> <v, w * phi(x) - mean>, logit units.

    A component has v = u_l, a single neuron j has v = e_j; a cue known only by an attribute gets
    the direction of largest covariance with it (:func:`core.tags.carry.largest_covariance`).
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
        return functional(self.unit, self.weight, self.mean)[0]

    @property
    def offset(self) -> float:
        """The constant of the same identity."""
        return float(functional(self.unit, self.weight, self.mean)[1])

    def alpha(self, features: FloatArray) -> FloatArray:
        """Alpha (n,) float64 of any features (n, D); higher: more of the cue."""
        return alpha_along(features, self.direction, self.offset)


@dataclass(frozen=True)
class Pairs:
    """The same training images with and without a cue, from pasting or cutting it."""

    shown: FloatArray
    """(P, D) features with the cue."""
    hidden: FloatArray
    """(P, D) features without it."""
    cue: IntArray
    """(P,) index into ``Evidence.cues``."""
    rows: IntArray = field(kw_only=True)
    """(P,) the image among those of the evidence: its label holds for both, and the pair is held
    out with it."""
    basis: str = "cue masks"
    """How the cue was cut out: ``cue masks``, or ``overlays`` (:mod:`core.corrections.pairs`)."""
    control: FloatArray | None = None
    """(P, D) the images with a patch of the same shape that has nothing to do with the cue: what
    cutting and pasting costs by itself. None of a cue that was drawn."""

    def of(self, cue: int) -> Pairs:
        """The pairs of one cue."""
        return self.take(np.flatnonzero(self.cue == cue))

    def take(self, which: IntArray) -> Pairs:
        """Some of the pairs."""
        parts = (self.shown[which], self.hidden[which], self.cue[which], self.basis)
        control = None if self.control is None else self.control[which]
        return Pairs(*parts, control, rows=self.rows[which])


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
    erased: Mapping[str, Pairs] = field(default_factory=dict)
    """Images of the cues' classes as they are and with the cue's region taken away, by what is put
    in its place (:func:`core.corrections.pairs.erased_pairs`); empty without maps."""
    seed: int = 0
    """Start of every random choice."""

    def __post_init__(self) -> None:
        n, m = len(self.features), len(self.cues)
        if self.labels.shape != (n,) or self.present.shape != (n, m):
            raise InputError(
                f"evidence of {count_of(n, 'image')} and {count_of(m, 'cue')} has labels "
                f"{self.labels.shape} and pseudo-labels {self.present.shape}; give ({n},) and "
                f"({n}, {m})"
            )
        if self.pairs is not None and (self.pairs.rows >= n).any():
            raise InputError(f"a pair names image {self.pairs.rows.max()} of {n}; count from 0")
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

    def take(self, rows: IntArray) -> Evidence:
        """Some of the images, with the pairs made of them."""
        place = np.full(len(self.labels), -1, np.int64)
        place[rows] = np.arange(len(rows))

        def among(pairs: Pairs) -> Pairs:
            kept = pairs.take(np.flatnonzero(place[pairs.rows] >= 0))
            return replace(kept, rows=place[kept.rows])

        return replace(
            self,
            features=self.features[rows],
            labels=self.labels[rows],
            present=self.present[rows],
            pairs=None if self.pairs is None else among(self.pairs),
            erased={name: among(pairs) for name, pairs in self.erased.items()},
        )

    def folds(self, count: int) -> Iterator[tuple[Evidence, Evidence]]:
        """Every image in the second part of exactly one of ``count`` splits.

        Images of one class with the same state of every cue are dealt out in turn.
        """
        for fit, held in self.fold_rows(count):
            yield self.take(fit), self.take(held)

    def fold_rows(self, count: int) -> Iterator[tuple[IntArray, IntArray]]:
        """The rows of :meth:`folds`, without a copy of the features."""
        order = np.random.default_rng(self.seed).permutation(len(self.labels))
        table = np.column_stack([self.labels, self.present])
        groups = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
        order = order[np.argsort(groups[order], kind="stable")]
        for number in range(count):
            held = np.zeros(len(order), bool)
            held[order[number::count]] = True
            yield np.flatnonzero(~held), np.flatnonzero(held)


def high_against_low(alpha: FloatArray, share: float = 0.25) -> NDArray[np.int8]:
    """Pseudo-labels (n,) of one class's images: the top ``share`` shows the cue, the bottom hides.

    Ties are broken at random; the middle is ``UNKNOWN``. The sides never overlap.

    Raises
    ------
    InputError
        If ``share`` is not in (0, 0.5], or there are fewer than two images.
    """
    n = len(alpha)
    if not 0 < share <= 0.5:
        raise InputError(f"share {share}: must be above 0 and at most 0.5")
    if n < 2:
        raise InputError(f"a class of {count_of(n, 'image')} has no high and low side; add images")
    k = max(int(share * n), 1)
    order = falling(np.asarray(alpha, np.float64))
    found = np.full(n, UNKNOWN, np.int8)
    found[order[:k]], found[order[n - k :]] = SHOWN, HIDDEN
    return found
