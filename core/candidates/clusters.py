"""Clusters of a class's explanations: images that the model decides alike, each a candidate.

Spectral relevance analysis (SpRAy; Lapuschkin et al. 2019) groups the heatmaps of a class; a small
group that stands apart is a strategy of its own, and often a shortcut. Heatmaps are compared place
by place, so a cue has to stand where it stood; what channels or parts give to the class is free of
position, and finds it anywhere. All are compared as shares, so that how sure the model is does not
matter. The alpha of a cluster is the affinity to its centre, 1 / (1 + d^2 / s^2) in (0, 1], with s
the spread of its members: 1 in the centre, 1/2 where a typical member is, and with a slope
everywhere (the kernel of van der Maaten & Hinton 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.candidates.parts import Parts
from core.statistics.spectral import block_means, shares_of
from core.types import FloatArray

SIDE = 20
"""Places along a side of the heatmaps that are compared, at most (Lapuschkin et al. 2019)."""

LEAST = 1e-6
"""Squared spread of a cluster at least: its members may be equal."""


@dataclass(frozen=True)
class Centre:
    """Where a cluster is among rows of shares, and how wide it is."""

    at: FloatArray
    """(q,) mean of its members' shares."""
    spread: float
    """Mean squared distance s^2 of its members to it."""

    @classmethod
    def of(cls, shares: FloatArray) -> Centre:
        """The centre of the shares (n, q) of its members."""
        at = shares.mean(axis=0)
        spread = float(np.square(shares - at).sum(axis=1).mean())
        return cls(at, max(spread, LEAST))

    def affinity(self, rows: FloatArray) -> FloatArray:
        """(n,) in (0, 1] of rows (n, q), whatever their size; 0 of a row without any mass."""
        shares, there = shares_of(rows, 0)
        far = np.square(shares - self.at).sum(axis=1)
        return np.where(there, 1 / (1 + far / self.spread), 0)

    def slope(self, rows: FloatArray) -> FloatArray:
        """Change of :meth:`affinity` with every entry of the rows, (n, q)."""
        shares, there = shares_of(rows, 0)
        affinity = self.affinity(rows)
        of_shares = -2 * np.square(affinity)[:, None] * (shares - self.at) / self.spread
        mass = np.abs(rows).sum(axis=1, keepdims=True)
        along = (of_shares * shares).sum(axis=1, keepdims=True)
        change = of_shares - np.sign(rows) * along
        nothing = np.zeros(rows.shape)
        found: FloatArray = np.divide(change, mass, out=nothing, where=there[:, None])
        return found


@dataclass(frozen=True)
class HeatmapCluster(Candidate):
    """Images whose margin comes from the same places."""

    class_idx: int
    key: CandidateKey
    centre: Centre
    margin: FloatArray
    """(D,) float64, what sets the class apart from the others, in the features."""
    places: FloatArray
    """(h, w) bool, where the mean overlay of its members reaches half of its maximum."""
    needs = "maps"
    exact = False

    def alpha(self, given: FloatArray) -> FloatArray:
        """Affinity to its centre, of maps (n, D, h, w)."""
        return self.centre.affinity(pooled_rows(margin_maps(given, self.margin)))

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """The margin at its places, weighted by the affinity of the image."""
        found = margin_maps(maps, self.margin) * self.places
        return (found * self.alpha(maps)[:, None, None]).astype(np.float32)

    def slope(self, given: FloatArray) -> FloatArray:
        """Along the margin: what all places together change."""
        found: FloatArray = self._of_margin(given).sum(axis=(1, 2))[:, None] * self.margin
        return found

    def by_place(self, maps: FloatArray) -> FloatArray:
        """Along the margin, more at some places and less at others."""
        found: FloatArray = self._of_margin(maps)[:, None] * self.margin[:, None, None]
        return found

    def _of_margin(self, maps: FloatArray) -> FloatArray:
        """Change with the margin of every place, (n, h, w)."""
        whole = margin_maps(maps, self.margin)
        found = unpooled(self.centre.slope(pooled_rows(whole)), whole.shape[1:])
        return np.where(whole > 0, found, 0)


@dataclass(frozen=True)
class PsiCluster(Candidate):
    """Images whose logit comes from the same channels, wherever in the image."""

    class_idx: int
    key: CandidateKey
    centre: Centre
    weight: FloatArray
    """(D,) float64 of the class in the head."""
    mean: FloatArray
    """(D,) mean share of every channel over the class: what a cluster is set apart from."""
    exact = False

    def alpha(self, given: FloatArray) -> FloatArray:
        """Affinity to its centre, of features (n, D)."""
        return self.centre.affinity(np.asarray(given, np.float64) * self.weight)

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """What its mean direction gives to the class, weighted by the affinity of the image."""
        toward = margin_maps(maps, (self.centre.at - self.mean) * self.weight)
        affinity = self.alpha(maps.mean(axis=(2, 3), dtype=np.float64))
        found: FloatArray = (toward * affinity[:, None, None]).astype(np.float32)
        return found

    def slope(self, given: FloatArray) -> FloatArray:
        """Of features (n, D)."""
        found: FloatArray = self.centre.slope(given * self.weight) * self.weight
        return found


@dataclass(frozen=True)
class PartCluster(Candidate):
    """Images whose margin is made of the same parts, wherever in the image."""

    class_idx: int
    key: CandidateKey
    centre: Centre
    parts: Parts
    mean: FloatArray
    """(k,) mean share of every part over the class."""
    needs = "maps"
    exact = False

    def alpha(self, given: FloatArray) -> FloatArray:
        """Affinity to its centre, of maps (n, D, h, w)."""
        return self.centre.affinity(self.parts.alpha(given))

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """The parts that it has more of than the class, weighted by the affinity of the image."""
        more = np.maximum(self.centre.at - self.mean, 0)
        found = np.einsum("nkhw,k->nhw", self.parts.maps_of(maps)[:, :-1], more)
        mine: FloatArray = (found * self.alpha(maps)[:, None, None]).astype(np.float32)
        return mine

    def slope(self, given: FloatArray) -> FloatArray:
        """While every place keeps its shares of the parts."""
        by_part = self.centre.slope(self.parts.alpha(given))
        found: FloatArray = np.einsum("nk,nkd->nd", by_part, self.parts.slope(given))
        return found

    def by_place(self, maps: FloatArray) -> FloatArray:
        """With the change of the shares, unlike :meth:`slope`."""
        by_part = self.centre.slope(self.parts.alpha(maps))
        found = np.zeros(maps.shape)
        for part in range(len(self.parts)):
            found += by_part[:, part, None, None, None] * self.parts.by_place(maps, part)
        return found


def margin_maps(maps: FloatArray, direction: FloatArray) -> FloatArray:
    """What every place gives along a direction (D,), (n, h, w) float64, of maps (n, D, h, w)."""
    n, _, h, w = maps.shape
    flat = np.asarray(maps, np.float32).reshape(*maps.shape[:2], h * w)
    found = np.matmul(direction.astype(np.float32)[None], flat)
    grid: FloatArray = found.reshape(n, h, w).astype(np.float64)
    return grid


def pooled_rows(maps: FloatArray) -> FloatArray:
    """What speaks for the class, as rows (n, q): positive parts of maps (n, h, w), made small."""
    down, across = (block_means(side, SIDE) for side in maps.shape[1:])
    small: FloatArray = down @ np.maximum(maps, 0) @ across.T
    rows: FloatArray = small.reshape(len(maps), len(down) * len(across))
    return rows


def unpooled(slopes: FloatArray, grid: tuple[int, ...]) -> FloatArray:
    """Slopes (n, h, w) by place, of slopes (n, q) by the entries of :func:`pooled_rows`."""
    down, across = (block_means(side, SIDE) for side in grid)
    small = slopes.reshape(-1, len(down), len(across))
    found: FloatArray = down.T @ small @ across
    return found
