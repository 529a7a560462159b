"""Parts as candidates: how they are found in a class's maps, kept, and read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.candidates.kinds import CandidateKind, Found, Stored
from core.candidates.parts import Margin, Parts, find_parts
from core.types import FloatArray, IntArray

if TYPE_CHECKING:
    from core.candidates.search import ClassImages


@dataclass(frozen=True)
class Part(Candidate):
    """One part of a class's margin: what its places give to the class against the others."""

    class_idx: int
    key: CandidateKey
    parts: Parts
    """All of the class's: a place is shared out among them."""
    needs = "maps"

    def alpha(self, given: FloatArray) -> FloatArray:
        """Of maps (n, D, h, w); logit units of the margin."""
        found: FloatArray = self.parts.alpha(given)[:, self.key.number]
        return found

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """Its share of the map of the margin; the mean over places is alpha."""
        found: FloatArray = self.parts.maps_of(maps)[:, self.key.number]
        return found

    @classmethod
    def several(cls, functionals: Sequence[Self], maps: FloatArray) -> FloatArray:
        """Of one class: its places are shared out once."""
        found: FloatArray = functionals[0].parts.maps_of(maps)
        return found[:, [one.key.number for one in functionals]]

    def slope(self, given: FloatArray) -> FloatArray:
        """While every place keeps its shares."""
        found: FloatArray = self.parts.slope(given)[:, self.key.number]
        return found

    def by_place(self, maps: FloatArray) -> FloatArray:
        """With the change of the shares, unlike :meth:`slope`."""
        return self.parts.by_place(maps, self.key.number)


@dataclass(frozen=True)
class ApproximatePart(Candidate):
    """A part of what activation times gradient gives to a class's margin, place by place."""

    class_idx: int
    key: CandidateKey
    parts: Parts
    """All of the class's, of contributions (:mod:`core.explain.contributions`)."""
    margin: FloatArray
    """(D,) float64 in the features."""
    needs = "contributions"
    exact = False

    def alpha(self, given: FloatArray) -> FloatArray:
        """Of contributions (n, C, h, w); logit units, to first order."""
        found: FloatArray = self.parts.alpha(given)[:, self.key.number]
        return found

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """Of contributions, its share of what they sum up to; the mean over places is alpha."""
        found: FloatArray = self.parts.maps_of(maps)[:, self.key.number]
        return found

    def slope(self, given: FloatArray) -> FloatArray:
        """While every place keeps its shares, those of the margin itself."""
        shares = self.parts.shares(given)[:, self.key.number].mean(axis=(1, 2), dtype=np.float64)
        found: FloatArray = shares[:, None] * self.margin
        return found


def approximate(
    images: ClassImages,
    whole: Margin,
    rows: IntArray,
    n_train: int,
    maps: FloatArray,
    count: int | None,
) -> Found:
    """Parts of contributions, as :class:`PartKind` keeps them.

    Parameters
    ----------
    whole : the class's margin, which the contributions are to.
    rows : of the images looked at, the first ``n_train`` of them for training.
    maps : (n, C, h, w) their contributions.
    """
    names = [images.image_ids[i] for i in rows[:n_train]]
    even = np.ones(maps.shape[1])
    parts, alphas = find_parts(maps[:n_train], names, even, count=count)
    known = np.full((len(images.image_ids), len(parts) + 1), np.nan)
    known[rows[:n_train]], known[rows[n_train:]] = alphas, parts.alphas(maps[n_train:])
    return _kept(parts, whole.offset, known, {APPROXIMATE: whole.weight})


APPROXIMATE = "margin"
"""What only approximate parts keep."""


def is_approximate(found: Found) -> bool:
    """Whether the parts of a class are of contributions."""
    return APPROXIMATE in found.arrays


def _kept(
    parts: Parts, offset: float, known: FloatArray, more: Mapping[str, FloatArray] | None = None
) -> Found:
    """Parts with the alphas (n, k + 1) of a class's images, the rest last; NaN where unknown."""
    arrays = {
        "weight": parts.weight,
        "dictionary": parts.dictionary,
        "facts": np.array([parts.explained, offset]),
        "rest": known[:, -1],
        "note": np.array([parts.note]),
        **(more or {}),
    }
    return Found(np.arange(len(parts)), known[:, :-1], arrays, whole=known.sum(axis=1))


class PartKind(CandidateKind):
    """Parts (:mod:`core.candidates.parts`); the number is the place by falling mean alpha."""

    name, word, plural, needs = "part", "part", "parts", "maps"
    help = "0-based, by falling mean alpha"
    whole = "margin"

    def find(self, images: ClassImages) -> Found | None:
        """In the training images whose maps are kept; None without any."""
        training = np.flatnonzero(images.mapped & images.given.train)
        if not len(training):
            return None
        names = [images.image_ids[i] for i in training]
        whole = images.margin
        count = images.counts.get(self.name)
        parts, alphas = find_parts(images.maps(training), names, whole.weight, count=count)
        known = np.full((len(images.image_ids), len(parts) + 1), np.nan)
        known[training] = alphas
        others = np.flatnonzero(images.mapped & ~images.given.train)
        known[others] = parts.alphas(images.maps(others))
        return _kept(parts, whole.offset, known)

    def read(self, stored: Stored, number: int) -> Candidate:
        """One of them, with the others of its class."""
        found, key = stored.of_kind(self.name), CandidateKey(stored.label, self.name, number)
        if is_approximate(found):
            margin = np.asarray(found.arrays[APPROXIMATE], np.float64)
            return ApproximatePart(stored.class_idx, key, parts_of(found), margin)
        return Part(stored.class_idx, key, parts_of(found))


def parts_of(found: Found) -> Parts:
    """The parts of a class as :class:`PartKind` keeps them."""
    arrays = found.arrays
    return Parts(
        np.asarray(arrays["weight"], np.float64),
        np.asarray(arrays["dictionary"]),
        float(arrays["facts"][0]),
        str(arrays["note"][0]) if "note" in arrays else "",
    )


def offset_of(found: Found) -> float:
    """The bias of the margin that the parts of a class share out."""
    return float(found.arrays["facts"][1])


PARTS = PartKind()
PART = PARTS.name
