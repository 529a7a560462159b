"""What a candidate does, from stored maps alone: no image is decoded and no network is run.

The head reads the mean of the positions, so an image with some places of another one is known from
what the head reads at every place of both. Two trials of a candidate's region, the places where its
positive map reaches half of its maximum: *put in*, from the class's images into those of others;
*taken away*, from images of the class. Latent figures rank candidates like pasted pixels do
(chain saw, tench and church, ImageNet photos, 64 candidates: Spearman within a class .91, .95 and
.88 of put in, .67, .89 and .53 of the lean) but are higher (.93 against .68), since a place of the
maps has seen its surroundings: they are never to be shown as if they were of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from core.candidates.parts import Maps, blocks
from core.config import CONFIDENCE
from core.explain.heatmaps import half_maximum
from core.models.linear import Correction, Head
from core.statistics.intervals import critical, wilson
from core.statistics.two_way import TwoWay, two_way
from core.types import BoolArray, FloatArray, IntArray

DONORS = 16
"""Images of the class whose region is put into others, at most: those that show it most."""

FEWEST_DONORS = 4
"""Below, nothing is said: their spread would be a guess."""

TARGETS = 1000
"""Images of other classes that a region is put into, at most."""

NUMBERS = 2**18
"""Numbers that are worked on at once: 1 MiB in float32, which stays in a core's cache."""

NAN = float("nan")


@dataclass(frozen=True)
class Reader:
    """A head as what it reads at a place: the mean over places is all that it decides by.

    Of a kept head only the outputs that are given compete.
    """

    rows: FloatArray
    """(Q, D) float32: weights of the outputs, then those a correction reads."""
    bias: FloatArray
    """(K,) of the outputs."""
    correction: Correction | None = None
    """Its ``write`` cut to the outputs."""

    @classmethod
    def of(cls, head: Head, outputs: Sequence[int]) -> Reader:
        """The reader of some outputs of a head; they are numbered in this order from now on."""
        weight, bias = head.weight[outputs], head.bias[outputs]
        if head.correction is None:
            return cls(np.asarray(weight, np.float32), bias)
        correction = replace(head.correction, write=head.correction.write[outputs])
        return cls(np.concatenate([weight, correction.read]).astype(np.float32), bias, correction)

    def read(self, maps: Maps) -> FloatArray:
        """What it reads of images at every place, (n, P, Q) float32."""
        found = [
            np.matmul(self.rows, np.asarray(block, np.float32).reshape(*block.shape[:2], -1))
            for block in blocks(maps)
        ]
        read = np.concatenate(found) if found else np.zeros((0, len(self.rows), 0), np.float32)
        return np.ascontiguousarray(read.transpose(0, 2, 1))

    def given(self, sums: FloatArray, places: int) -> IntArray:
        """The output (...,) that an image is given by the sum (..., Q) over its places."""
        if self.correction is None:
            logits = sums + places * self.bias
        else:
            means, width = sums / places, len(self.bias)
            logits = self.correction.of_read(means[..., width:], means[..., :width] + self.bias)
        found: IntArray = logits.argmax(axis=-1)
        return found


@dataclass(frozen=True)
class Pool:
    """Held-out images of all classes, as a head reads them."""

    reader: Reader
    read: FloatArray
    """(N, P, Q)."""
    labels: IntArray
    """(N,) output of their class among the reader's; -1 where it has none."""

    @cached_property
    def given(self) -> IntArray:
        """(N,) the output that each is given."""
        return self.reader.given(self.sums, self.read.shape[1])

    @cached_property
    def sums(self) -> FloatArray:
        """(N, Q) over the places."""
        found: FloatArray = self.read.sum(axis=1)
        return found


@dataclass(frozen=True)
class Ground:
    """What the candidates of one class are tried on; all draws are made here, once for all."""

    pool: Pool
    output: int
    """Of the class, among the reader's."""
    grid: tuple[int, int]
    """h, w of the maps."""
    read: FloatArray
    """(n, P, Q) of the class's training images."""
    fill: FloatArray
    """(Q,) what the head reads, on average, at a place of other classes' training images."""
    seed: int = 0

    @cached_property
    def targets(self) -> IntArray:
        """Rows of the pool of other classes that are not given the class, at most TARGETS."""
        rows = np.flatnonzero((self.pool.labels != self.output) & (self.pool.given != self.output))
        if len(rows) <= TARGETS:
            return rows
        return np.sort(self._rng(0).choice(rows, TARGETS, replace=False))

    @cached_property
    def own(self) -> IntArray:
        """Rows of the pool of the class that are given it."""
        right = (self.pool.labels == self.output) & (self.pool.given == self.output)
        return np.flatnonzero(right)

    @cached_property
    def controls(self) -> tuple[IntArray, IntArray]:
        """For every training image another one (n,), and by how much that is rolled (n, 2)."""
        rng, n = self._rng(1), len(self.read)
        other = (np.arange(n) + rng.integers(1, max(n, 2), n)) % max(n, 1)
        return other, rng.integers(0, self.grid, (n, 2))

    @cached_property
    def fillers(self) -> tuple[IntArray, IntArray]:
        """For every row of ``own`` one of another class and a shift of its region, (R,) and (R, 2).

        No other one, (0,), where the pool holds none.
        """
        rng, others = self._rng(2), np.flatnonzero(self.pool.labels != self.output)
        shifts = rng.integers(0, self.grid, (len(self.own), 2))
        return rng.choice(others, len(self.own) if len(others) else 0), shifts

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.output, purpose])

    @property
    def obstacle(self) -> str:
        """Why nothing can be put in, in words; empty where it can."""
        if len(self.pool.reader.bias) < 2:
            return "the head has a single output, so that no image can turn into the class"
        if not len(self.targets):
            return "no held-out image of another class is given another one"
        return ""


@dataclass(frozen=True)
class Latent:
    """What a candidate does in the maps. Shares in [0, 1]; NaN where there is no figure."""

    area: float
    """Share of the grid in the region, mean of the donors. A wide region turns images by itself."""
    donors: int
    targets: int
    own: int
    """The class's right held-out images behind ``taken_away``."""
    obstacle: str = ""
    """Why nothing could be put in, in words; empty where it could."""
    put_in: float = NAN
    """Share of targets x donors that are given the class once the donor's region is put in."""
    put_in_low: float = NAN
    put_in_high: float = NAN
    """95 % interval over donors and targets, of this figure alone."""
    put_in_control: float = NAN
    """The same with what another image of the class, rolled, has at the same places. It may show
    the candidate, too, so it errs to the safe side."""
    lean: float = NAN
    """put_in - put_in_control, in [-1, 1]; positive: the class leans on the candidate."""
    lean_low: float = NAN
    lean_high: float = NAN
    """Its interval, at 95 % or the level of :meth:`at`."""
    error: float = NAN
    """Standard error of the lean over donors and targets."""
    p: float = NAN
    """Two-sided p-value that the lean is zero, of this candidate alone."""
    taken_away: float = NAN
    """Share of the class's right images that are no longer given it once their own region is
    filled with the mean place of other classes."""
    taken_away_low: float = NAN
    taken_away_high: float = NAN
    """95 % Wilson interval."""
    taken_away_control: float = NAN
    """The same with the region moved at random."""
    fill_sensitivity: float = NAN
    """How far taken_away moves, in [0, 1], if another class's image fills the region."""
    left_out_sensitivity: float = NAN
    """How far it moves if the region is left out of the mean: as if the mean of the rest of the
    image filled it."""

    def at(self, level: float) -> Latent:
        """The same with the interval of the lean at another confidence level, (0, 1)."""
        if self.obstacle:
            return self
        low, high = within(TwoWay(self.lean, self.error, self.donors - 1), level, -1)
        return replace(self, lean_low=low, lean_high=high)


def latent_trial(ground: Ground, heat: FloatArray, own_heat: FloatArray) -> Latent:
    """Both trials of one candidate.

    Parameters
    ----------
    heat : (n, h, w) its maps on the class's training images; own_heat : (R, h, w) on the images
        ``ground.own``.
    """
    donors, regions = donors_of(heat)
    obstacle = obstacle_of(ground, donors)
    area = float(regions.mean()) if len(regions) else NAN
    found = Latent(area, len(donors), len(ground.targets), len(ground.own), obstacle)
    found = taken_away(found, ground, _regions(own_heat))
    return found if obstacle else put_in(found, ground, donors, regions).at(CONFIDENCE)


def obstacle_of(ground: Ground, donors: IntArray) -> str:
    """Why these donors' regions cannot be put in, in words; empty where they can."""
    if not ground.obstacle and len(donors) < FEWEST_DONORS:
        return f"{len(donors)} training images show it; {FEWEST_DONORS} are needed"
    return ground.obstacle


def put_in(found: Latent, ground: Ground, donors: IntArray, regions: BoolArray) -> Latent:
    """A trial with the figures of regions put in; as for :func:`turned`."""
    put, control = turned(ground, donors, regions)
    of_put, of_lean = two_way(put), two_way(put.astype(np.float64) - control)
    low, high = within(of_put, CONFIDENCE, 0)
    return replace(
        found,
        put_in=of_put.value,
        put_in_low=low,
        put_in_high=high,
        put_in_control=float(control.mean()),
        lean=of_lean.value,
        error=of_lean.error,
        p=of_lean.p,
    )


def within(mean: TwoWay, level: float, least: float) -> tuple[float, float]:
    """The interval of a mean inside what a share, or a difference of shares, can be."""
    low, high = mean.interval(level)
    return max(low, least), min(high, 1.0)


def donors_of(heat: FloatArray) -> tuple[IntArray, BoolArray]:
    """The images that show a candidate most, and where: rows (d,) and places (d, P).

    By falling alpha; images whose map has no positive part show nothing.

    Parameters
    ----------
    heat : (n, h, w).
    """
    order = np.argsort(-heat.mean(axis=(1, 2), dtype=np.float64), kind="stable")
    shown = order[heat[order].max(axis=(1, 2), initial=0) > 0][:DONORS]
    return shown, _regions(heat[shown])


def _regions(heat: FloatArray) -> BoolArray:
    """Places (n, P) where maps (n, h, w) reach half of their maximum."""
    found = [half_maximum(one).ravel() for one in heat]
    return np.array(found, bool).reshape(len(heat), int(np.prod(heat.shape[1:])))


def turned(ground: Ground, donors: IntArray, regions: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Whether targets are given the class, (d, T), with a donor's region put in, and its control.

    Parameters
    ----------
    donors : (d,) rows of the class's training images; regions : (d, P) the places put in.
    """
    others, shifts = ground.controls
    other, shift = others[donors], shifts[donors]
    inside = np.stack(
        [
            _inside(ground.read[donors], regions),
            _inside(_rolled(ground.read[other], shift, ground.grid), regions),
        ]
    )
    pool, masks = ground.pool, regions.astype(np.float32)
    found = np.zeros((2, len(donors), len(pool.read)), bool)
    step = max(NUMBERS // max(inside[0].size, 1), 1)
    for start in range(0, len(pool.read), step):  # of every image: picking rows would copy them
        part = slice(start, start + step)
        outside = np.matmul(-masks, pool.read[part])
        outside += pool.sums[part, None]
        for which, put in enumerate(inside):
            given = pool.reader.given(outside + put, regions.shape[1])
            found[which, :, part] = (given == ground.output).T
    return found[0][:, ground.targets], found[1][:, ground.targets]


def _inside(read: FloatArray, regions: BoolArray) -> FloatArray:
    """Sum over the places of a region, (n, Q), of what is read (n, P, Q)."""
    found: FloatArray = np.einsum("np,npq->nq", regions.astype(np.float32), read)
    return found


def _rolled(values: FloatArray, shifts: IntArray, grid: tuple[int, int]) -> FloatArray:
    """Values (n, P, ...) of images moved over the edge of the grid by shifts (n, 2)."""
    n, places = values.shape[:2]
    rows = (np.arange(grid[0]) - shifts[:, :1]) % grid[0]
    columns = (np.arange(grid[1]) - shifts[:, 1:]) % grid[1]
    source = (rows[:, :, None] * grid[1] + columns[:, None]).reshape(n, places)
    found: FloatArray = values[np.arange(n)[:, None], source]
    return found


def taken_away(found: Latent, ground: Ground, regions: BoolArray) -> Latent:
    """A trial with the figures of regions taken away; without images as it is.

    Parameters
    ----------
    regions : (R, P) places of the images ``ground.own``.
    """
    if not len(regions):
        return found
    pool, (others, shifts) = ground.pool, ground.fillers
    read, sums = pool.read[ground.own], pool.sums[ground.own]

    def changed(new_sums: FloatArray) -> BoolArray:
        return np.asarray(pool.reader.given(new_sums, regions.shape[1]) != ground.output)

    def lost(places: BoolArray, filling: FloatArray) -> BoolArray:
        return changed(sums - _inside(read, places) + _inside(filling, places))

    mean = np.broadcast_to(ground.fill.astype(np.float32), read.shape)
    by_mean = lost(regions, mean)
    by_other = lost(regions, pool.read[others]).mean() if len(others) else NAN
    moved = lost(_rolled(regions, shifts, ground.grid), mean)
    kept = np.maximum((~regions).mean(axis=1, keepdims=True), 1 / regions.shape[1])
    without = changed((sums - _inside(read, regions)) / kept)
    low, high = wilson(np.array(by_mean.sum()), len(regions), z=critical())
    return replace(
        found,
        taken_away=float(by_mean.mean()),
        taken_away_low=float(low),
        taken_away_high=float(high),
        taken_away_control=float(moved.mean()),
        fill_sensitivity=abs(float(by_mean.mean()) - float(by_other)),
        left_out_sensitivity=abs(float(by_mean.mean()) - float(without.mean())),
    )
