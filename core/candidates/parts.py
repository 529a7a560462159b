"""Parts: a class's margin shared out, place by place, among a few things that it is made of.

For a head that is linear on the mean of positions, M(p) = m . A(p) averages to the margin, the
class's logit against the mean of the others. Non-negative factors (Lee & Seung 1999) of what every
channel gives to it, Z(p) = max(m * A(p), 0), say which channels give together; each place's share
of M belongs to the factors in the proportion in which they explain its Z. So the maps of the parts
and of the rest add up to M, and their means to the margin, of any image of any class. Unlike
components and gaps, parts see a cue that is on every image of its class. Nearest published
relative: CRAFT (Fel et al. 2023), which factors non-negative features and not a margin.

Plain arrays in, plain arrays out; maps are read a block of images at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from core.statistics.seeds import image_seed
from core.types import FloatArray, IntArray, count_of

POSITIONS = 3000
"""Positions that the factors are found on, at most."""

FEWEST, MOST = 4, 10
"""Parts of a class, where nobody says how many."""

GROWTH = 0.02
"""Explained share of Z that one part more has to add."""

NUMBERS = 2**23
"""Numbers of maps that are worked on at once: 32 MiB in float32."""


class Maps(Protocol):
    """Maps of n images, an array (n, D, h, w) or what reads parts of one."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, images: slice, /) -> FloatArray:
        """Maps (b, D, h, w) of neighbouring images."""


class Margin(NamedTuple):
    """A class's logit minus the mean of the others': weight . phi + offset."""

    weight: FloatArray
    """(D,) float64."""
    offset: float


class PartsFound(NamedTuple):
    """Parts, and the alphas of the images that they were found on."""

    parts: Parts
    alpha: FloatArray
    """(n, k + 1) float64, the rest last."""


def margin(
    weight: FloatArray, bias: FloatArray, output: int, classes: Sequence[int] = ()
) -> Margin:
    """What sets a class's logit apart from the others of the data.

    Parameters
    ----------
    weight : (K, D) and bias : (K,) of the head.
    output : of the class.
    classes : outputs of the data's classes; where they name no other, all other outputs count,
        and of a head with a single output its logit alone.
    """
    others = rivals(len(weight), output, classes)
    own, offset = np.asarray(weight[output], np.float64), float(bias[output])
    if not others:
        return Margin(own, offset)
    away = np.asarray(weight[others], np.float64).mean(axis=0)
    return Margin(own - away, offset - float(np.mean(bias[others], dtype=np.float64)))


def margin_of(logits: FloatArray, output: int, classes: Sequence[int] = ()) -> FloatArray:
    """The :func:`margin` (n,) float64 that logits (n, K) give a class."""
    found: FloatArray = np.asarray(logits[:, output], np.float64)
    others = rivals(logits.shape[1], output, classes)
    return found - logits[:, others].mean(axis=1, dtype=np.float64) if others else found


def rivals(outputs: int, output: int, classes: Sequence[int] = ()) -> list[int]:
    """The outputs, of so many, that a class is set against; see :func:`margin`."""
    others = [i for i in classes if i != output]
    return others or [i for i in range(outputs) if i != output]


@dataclass(frozen=True)
class Parts:
    """Non-negative factors of what the positions of a class's training images give its margin."""

    weight: FloatArray
    """(D,) float64 m of the margin."""
    dictionary: FloatArray
    """(k, D) float32, at least 0: what a part gives by channel, logit units; by falling mean alpha
    over the training images."""
    explained: float
    """Share of the squares of Z that the factors explain, in [0, 1]; NaN where Z is zero."""
    note: str = ""
    """Why there are fewer parts than were asked for; empty where there are not."""

    def __len__(self) -> int:
        """Number of parts, the rest not counted."""
        return len(self.dictionary)

    def alpha(self, maps: Maps) -> FloatArray:
        """What every part adds to an image's margin, (n, k) float64, logit units."""
        return self.alphas(maps)[:, :-1]

    def alphas(self, maps: Maps) -> FloatArray:
        """:meth:`alpha` with the rest last, (n, k + 1): their sum is the margin without offset."""
        found = [
            part.mean(axis=(2, 3), dtype=np.float64) for part in map(self.maps_of, blocks(maps))
        ]
        return np.concatenate(found) if found else np.zeros((0, len(self) + 1))

    def maps_of(self, maps: FloatArray) -> FloatArray:
        """Maps (n, k + 1, h, w) float32 of the parts and the rest: their sum is m . A(p).

        The mean over h, w is alpha; a place may be negative.
        """
        n, _, h, w = maps.shape
        flat = _flat(maps)
        whole = np.matmul(self.weight.astype(np.float32), flat)
        found: FloatArray = self._shares(flat) * whole[:, None]
        return found.reshape(n, len(self) + 1, h, w)

    def shares(self, maps: FloatArray) -> FloatArray:
        """Which share r of a place belongs to whom, (n, k + 1, h, w) float32.

        In [0, 1], sum 1; the rest has all of a place that gives the margin nothing, or nothing
        that the factors explain.
        """
        n, _, h, w = maps.shape
        return self._shares(_flat(maps)).reshape(n, len(self) + 1, h, w)

    def slope(self, maps: FloatArray) -> FloatArray:
        """(n, k, D): the slope of alpha in the features while every place keeps its shares.

        Shares depend on the image, so that alpha is not linear in its features.
        """
        mean = self.shares(maps)[:, :-1].mean(axis=(2, 3), dtype=np.float64)
        found: FloatArray = mean[:, :, None] * self.weight
        return found

    def by_place(self, maps: FloatArray, part: int) -> FloatArray:
        """Change of a part's alpha with every entry of the maps, (n, D, h, w), shares included.

        Exact between the places where one more factor begins to explain a position.
        """
        n, d, h, w = maps.shape
        flat = _flat(maps)
        positions = flat.transpose(0, 2, 1).reshape(n * h * w, d).astype(np.float64)
        share = self._shares(flat)[:, part].reshape(n * h * w)
        whole, found = positions @ self.weight, share[:, None] * self.weight
        parts, gram = self._parts(flat), self._gram
        for row in np.flatnonzero(parts.any(axis=1)):
            active = np.flatnonzero(parts[row])
            wanted = ((active == part) - share[row]) / parts[row].sum() * self._sizes[active]
            inner = np.linalg.lstsq(gram[np.ix_(active, active)], wanted, rcond=None)[0]
            change = (inner @ self.dictionary[active]) * self.weight
            found[row] += whole[row] * change * (positions[row] * self.weight > 0)
        change_of: FloatArray = found.reshape(n, h, w, d).transpose(0, 3, 1, 2) / (h * w)
        return change_of

    @property
    def _gram(self) -> FloatArray:
        """(k, k) float64 of the dictionary."""
        found: FloatArray = self.dictionary.astype(np.float64) @ self.dictionary.T
        return found

    @property
    def _sizes(self) -> FloatArray:
        """(k,) what one unit of each gives."""
        found: FloatArray = self.dictionary.sum(axis=1, dtype=np.float64)
        return found

    def _parts(self, flat: FloatArray) -> FloatArray:
        """What the factors explain of every position of maps (n, D, P), (n * P, k) float64."""
        n, _, places = flat.shape
        products = np.matmul(self.dictionary, _given(flat, self.weight))
        rows = products.transpose(0, 2, 1).reshape(n * places, -1)
        return coefficients(self._gram, rows) * self._sizes

    def _shares(self, flat: FloatArray) -> FloatArray:
        """Shares (n, k + 1, P) of maps (n, D, P)."""
        n, _, places = flat.shape
        found = np.zeros((n, len(self) + 1, places), np.float32)
        if len(self):
            parts = self._parts(flat)
            total = parts.sum(axis=1, keepdims=True)
            parts = np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)
            found[:, :-1] = parts.reshape(n, places, -1).transpose(0, 2, 1)
        found[:, -1] = ~found[:, :-1].any(axis=1)
        return found


def find_parts(
    maps: Maps,
    image_ids: Sequence[str],
    weight: FloatArray,
    *,
    count: int | None = None,
    seed: int = 0,
) -> PartsFound:
    """Parts of a class from the maps of its training images; the same input gives the same parts.

    Parameters
    ----------
    maps : of n images; image_ids : (n,) theirs, from which alone the sample of positions follows.
    weight : (D,) of the class's :func:`margin`.
    count : parts wanted; by default the fewest of 4 to 10 beyond which one more explains less
        than 2 % more of Z.
    """
    weight = np.asarray(weight, np.float64)
    sample = sampled_positions(maps, image_ids, weight, seed=seed)
    dictionary, explained = _chosen(sample, count, seed)
    note = ""
    if count is not None and len(dictionary) < count:
        asked = count_of(count, "part was", "parts were")
        places = count_of(
            len(sample),
            "position looked at that adds to the class's margin holds",
            "positions looked at that add to the class's margin hold",
        )
        note = f"{asked} asked for; the {places} {len(dictionary)}"
    parts = Parts(weight, dictionary, explained, note)
    alpha = parts.alphas(maps)
    order = np.argsort(-alpha[:, :-1].sum(axis=0), kind="stable")
    ranked = Parts(weight, dictionary[order], explained, note)
    return PartsFound(ranked, alpha[:, [*order, len(parts)]])


def rest_share(alpha: FloatArray) -> float:
    """Share of the mean margin (without offset) that no part has; NaN where that is zero.

    Parameters
    ----------
    alpha : (n, k + 1) of the class's images, the rest last.
    """
    whole = float(alpha.sum())
    return float(alpha[:, -1].sum()) / whole if whole else float("nan")


def sampled_positions(
    maps: Maps, image_ids: Sequence[str], weight: FloatArray, *, seed: int = 0
) -> FloatArray:
    """Z (q, D) float32 of at most :data:`POSITIONS` positions, those left out where it is zero.

    Every image gives as many; of more images than positions, a part by their ids gives one each.
    """
    seeds = [image_seed(name, seed) for name in image_ids]
    chosen = set(sorted(range(len(seeds)), key=lambda i: (seeds[i], image_ids[i]))[:POSITIONS])
    each = max(POSITIONS // max(len(seeds), 1), 1)
    found, image = [], 0
    for block in blocks(maps):
        for one in _flat(block):
            if image in chosen:
                found.append(_given(one[:, _places(one.shape[1], each, seeds[image])], weight).T)
            image += 1
    sample = np.concatenate(found) if found else np.zeros((0, len(weight)), np.float32)
    return np.ascontiguousarray(sample[sample.any(axis=1)])


def _places(places: int, each: int, seed: int) -> IntArray:
    """Which positions of an image are looked at, ascending."""
    if each >= places:
        return np.arange(places)
    return np.sort(np.random.default_rng(seed).choice(places, each, replace=False))


def _chosen(sample: FloatArray, count: int | None, seed: int) -> tuple[FloatArray, float]:
    """Dictionary (k, D) and explained share with as many parts as were asked for, or the rule's."""
    if not len(sample):
        return np.zeros((0, sample.shape[1]), np.float32), float("nan")
    most = min(len(sample), int(sample.any(axis=0).sum()))
    if count is not None:
        return _factors(sample, min(count, most), seed)
    found = _factors(sample, min(FEWEST, most), seed)
    for more in range(FEWEST + 1, min(MOST, most) + 1):
        next_one = _factors(sample, more, seed)
        if next_one[1] - found[1] < GROWTH:
            break
        found = next_one
    return found


def _factors(sample: FloatArray, count: int, seed: int) -> tuple[FloatArray, float]:
    """Non-negative factors (k, D) of a sample (q, D), and the share of its squares explained.

    On one thread: the products are so thin that threads wait for each other longer than they work,
    ten times as long on a busy machine.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    live = sample.any(axis=0)
    fit = NMF(count, init="nndsvda", random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(sample[:, live])
    dictionary = np.zeros((count, sample.shape[1]), np.float32)
    dictionary[:, live] = fit.components_
    squares = float(np.square(sample, dtype=np.float64).sum())
    explained = 1 - float(fit.reconstruction_err_) ** 2 / squares
    return dictionary[dictionary.any(axis=1)], float(np.clip(explained, 0, 1))


def coefficients(gram: FloatArray, products: FloatArray) -> FloatArray:
    """U (n, k) float64, at least 0, that makes U V nearest to Z for a fixed dictionary V.

    Exact and by itself for every position: the problem is rotated into k dimensions and given to
    Lawson & Hanson's algorithm. (scikit-learn's transform stops all positions together, 5e-4 off.)

    Parameters
    ----------
    gram : (k, k) V V^T; products : (n, k) Z V^T.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(gram)
    kept = values > values[-1] * 1e-12
    roots = np.sqrt(values[kept])
    root = roots[:, None] * vectors[:, kept].T
    wanted = np.asarray(products, np.float64) @ vectors[:, kept] / roots
    found = np.zeros(products.shape)
    for row in np.flatnonzero((products > 0).any(axis=1)):
        found[row] = nnls(root, wanted[row], maxiter=100 * len(gram))[0]
    return found


def blocks(maps: Maps) -> Iterator[FloatArray]:
    """Maps of neighbouring images, few enough to be worked on."""
    if not len(maps):
        return
    size = max(NUMBERS // max(int(np.prod(maps[0:1].shape)), 1), 1)
    for start in range(0, len(maps), size):
        yield maps[start : start + size]


def _flat(maps: FloatArray) -> FloatArray:
    """Maps (n, D, P) float32 of maps (n, D, h, w)."""
    found: FloatArray = np.asarray(maps, np.float32).reshape(*maps.shape[:2], -1)
    return found


def _given(flat: FloatArray, weight: FloatArray) -> FloatArray:
    """Z = max(m * A, 0) of maps (..., D, P)."""
    found = flat * weight.astype(np.float32)[:, None]
    return np.maximum(found, 0, out=found)
