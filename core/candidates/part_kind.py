"""Parts as candidates: how they are found in a class's maps, kept, and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.candidates.kinds import CandidateKind, Found, Stored
from core.candidates.parts import Parts, find_parts, margin
from core.types import FloatArray

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
        whole = margin(images.weight, images.bias, images.output, images.classes)
        count = images.counts.get(self.name)
        parts, alphas = find_parts(images.maps(training), names, whole.weight, count=count)
        known = np.full((len(images.image_ids), len(parts) + 1), np.nan)
        known[training] = alphas
        others = np.flatnonzero(images.mapped & ~images.given.train)
        known[others] = parts.alphas(images.maps(others))
        arrays = {
            "weight": parts.weight,
            "dictionary": parts.dictionary,
            "facts": np.array([parts.explained, whole.offset]),
            "rest": known[:, -1],
            "note": np.array([parts.note]),
        }
        alpha = known[:, :-1]
        return Found(np.arange(len(parts)), alpha, arrays, whole=known.sum(axis=1))

    def read(self, stored: Stored, number: int) -> Part:
        """One of them, with the others of its class."""
        parts = parts_of(stored.of_kind(self.name))
        return Part(stored.class_idx, CandidateKey(stored.label, self.name, number), parts)


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
