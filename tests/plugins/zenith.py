"""A kind of candidates of another package: the largest value of a map, which is not linear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.candidates.candidate import Candidate, heatmaps
from core.candidates.key import CandidateKey
from core.candidates.kinds import CandidateKind, Found, Stored, register
from core.candidates.search import ClassImages
from core.types import FloatArray


@dataclass(frozen=True)
class Largest(Candidate):
    """alpha = max over positions of <q, A(p)>; the mean of its map is not alpha."""

    class_idx: int
    key: CandidateKey
    direction: FloatArray
    needs = "maps"
    exact = False

    def heatmap(self, maps: FloatArray) -> FloatArray:
        return heatmaps(maps, self.direction[None], np.zeros(1))[:, 0]

    def alpha(self, given: FloatArray) -> FloatArray:
        return self.heatmap(given).max(axis=(1, 2)).astype(np.float64)

    def slope(self, given: FloatArray) -> FloatArray:
        return np.broadcast_to(self.direction, (len(given), len(self.direction)))


class Zeniths(CandidateKind):
    """The class's weight and the two features that give it most, each at its highest place."""

    name, word, plural, needs = "zenith", "zenith", "zeniths", "maps"

    def find(self, images: ClassImages) -> Found | None:
        rows = np.flatnonzero(images.mapped)
        if not len(rows):
            return None
        weight = images.weight[images.output]
        best = np.argsort(-(images.given.features.mean(axis=0) * weight))[:2]
        directions = np.stack([weight, *(np.eye(len(weight))[i] * weight[i] for i in best)])
        maps = images.maps(rows)[0 : len(rows)]
        alpha = np.full((len(images.image_ids), 3), np.nan)
        alpha[rows] = heatmaps(maps, directions, np.zeros(3)).max(axis=(2, 3))
        return Found(np.arange(3), alpha, {"directions": directions})

    def read(self, stored: Stored, number: int) -> Largest:
        directions = stored.of_kind(self.name).arrays["directions"]
        key = CandidateKey(stored.label, self.name, number)
        return Largest(stored.class_idx, key, np.asarray(directions[number]))


def add() -> None:
    register(Zeniths())
