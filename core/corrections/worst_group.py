"""The worst group of a head as far as training images can say: which accuracy a cue costs.

Groups are a class with a tagged cue and without it, the cue's own class and the others, since a cue
that other classes hardly show harms them most. Real images count by how likely they belong; where
few do, composites stand in: the cue pasted on images of other classes, and replaced on images of
its own. All composites of a group count like ``COUNTED`` images. Small groups of many are judged
together (:func:`judged`). A patch that has nothing of the
cue disturbs a head as well: what it costs is given back. Else cutting and pasting reads as a cost
of the cue, and a correction is chosen that is too strong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.pairs import REPLACED
from core.corrections.presence import Presence
from core.models.linear import Head
from core.types import BoolArray, FloatArray, IntArray

COUNTED = 20.0
"""Real images that all composites of a group are worth."""

FEWEST = 4.0
"""Images that a group needs to be judged by, composites included; see also :func:`judged`."""

CLASSES = 20
"""Classes that are judged one by one, at most; of more, all but the cue's own are one group."""


@dataclass(frozen=True)
class Groups:
    """Images by the groups that they are in; a group is a cue, a class, and whether it shows.

    There are as many groups as cues times classes times two, but an image is in few of them.
    """

    held: Evidence
    """Real images, which are in both groups of their class and of each cue."""
    shows: FloatArray
    """(n, M) how much each counts where the cue shows; the rest of 1 where it does not."""
    composites: tuple[Composite, ...]
    classes: IntArray
    """Outputs (K,), ascending; some may have no image here."""

    @property
    def own(self) -> BoolArray:
        """(M, K) whether a class is the cue's own."""
        outputs = np.array([cue.output for cue in self.held.cues], np.int64)
        return np.asarray(outputs[:, None] == self.classes)

    def hits(self, head: Head) -> FloatArray:
        """Weighted right images (M, K, 2), by cue, class, and with before without."""
        return self._counted(lambda x, labels: head.logits(x).argmax(axis=1) == labels)

    @property
    def totals(self) -> FloatArray:
        """(M, K, 2) the hits of a head that is always right."""
        return self._counted(lambda _, labels: np.ones(len(labels)))

    def _counted(self, right: Callable[[FloatArray, IntArray], FloatArray]) -> FloatArray:
        shape = (self.shows.shape[1], len(self.classes), 2)
        found, k = np.zeros(shape), np.searchsorted(self.classes, self.held.labels)
        hits = np.asarray(right(self.held.features, self.held.labels), np.float64)
        for m, shown in enumerate(self.shows.T):
            for side, share in enumerate((shown, 1 - shown)):
                counted = hits * np.nan_to_num(share)
                found[m, :, side] = np.bincount(k, weights=counted, minlength=shape[1])
        for made in self.composites:
            cells = np.ravel_multi_index((made.cue, made.place, made.side), shape)
            weights = made.share * right(made.features, made.labels)
            found += np.bincount(cells, weights=weights, minlength=found.size).reshape(shape)
        return found


class Composite(NamedTuple):
    """Composites that count, or what their controls cost."""

    features: FloatArray
    """(T, D)."""
    labels: IntArray
    """(T,) outputs."""
    cue: IntArray
    """(T,)."""
    place: IntArray
    """(T,) of the class among those that have images."""
    side: IntArray
    """(T,) 0 where the cue was put in, 1 where it was taken away."""
    share: FloatArray
    """(T,) images that each counts like; negative of controls."""


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
    held: Evidence,
    shows: FloatArray,
    pasted: Pasted,
    *,
    counted: float = COUNTED,
    classes: IntArray | None = None,
) -> Groups:
    """The groups of held-out images, by cue, class, and with before without.

    Parameters
    ----------
    shows : (n, M) probability that each image shows each cue, NaN where nothing is said.
    counted : images that the composites of a group are worth together, here.
    classes : outputs, ascending, where there are more than have images here: those of all folds.
    """
    made, classes = [], held.classes if classes is None else classes
    for side, composites in enumerate((pasted, _replaced(held))):
        among = np.isin(composites.labels, classes)
        labels, cue = composites.labels[among], composites.cue[among]
        place = np.searchsorted(classes, labels)
        share = _shared(cue * len(classes) + place, counted)
        sides = np.full(len(cue), side)
        for images, sign in composites.counted:
            made.append(Composite(images[among], labels, cue, place, sides, sign * share))
    return Groups(held, shows, tuple(made), classes)


def _shared(cells: IntArray, total: float) -> FloatArray:
    """A total shared out among the members of every cell (n,), no more than one to each."""
    if not len(cells):
        return np.zeros(0)
    found: FloatArray = np.minimum(total / np.bincount(cells)[cells], 1.0)
    return found


def _replaced(held: Evidence) -> Pasted:
    """The cue's images without it."""
    pairs = held.erased.get(REPLACED)
    if pairs is None:
        nothing, none = np.zeros(0, np.int64), np.zeros((0, held.features.shape[1]), np.float32)
        return Pasted(none, nothing, nothing, none)
    return Pasted(pairs.hidden, held.labels[pairs.rows], pairs.cue, pairs.shown, pairs.control)


def judged(hits: FloatArray, totals: FloatArray, own: BoolArray) -> FloatArray:
    """Accuracy (S, G) of the groups that have images enough, NaN of those that have not.

    The least of many is by chance far below all: of 2,000 groups of eight images somebody's is
    wrong in all eight. So of more than ``CLASSES`` classes all but the cue's own are one group,
    and a group has to have log2 G images, with which less than one of G groups is wrong in all of
    them by chance where half of the images are. Those of fewer are one group over all cues.

    Parameters
    ----------
    hits : (S, M, K, 2) of S heads, summed over folds; see :meth:`Groups.hits`.
    totals : (M, K, 2) of the same.
    own : (M, K), see :attr:`Groups.own`.
    """
    right, count = _kinds(hits, own), _kinds(totals[None], own)
    fewest = max(FEWEST, np.log2(max(sum(int((n > 0).sum()) for n in count), 1)))
    found = []
    for of, (n,) in zip(right, count, strict=True):
        small = n < fewest
        together = of[..., small].sum(axis=-1, keepdims=True)
        found += [accuracies(of[..., ~small], n[~small]), accuracies(together, n[small].sum())]
    return np.concatenate(found, axis=1)


def _kinds(sums: FloatArray, own: BoolArray) -> list[FloatArray]:
    """Groups of the same kind, (S, ?) each: of cues' own classes and of others, with and without.

    Parameters
    ----------
    sums : (S, M, K, 2) of hits, or of totals.
    """
    others = sums * ~own[:, :, None]
    others = others.sum(axis=2) if own.shape[1] > CLASSES else others[:, ~own]
    mine = sums[:, own]
    return [of.reshape(len(sums), -1, 2)[..., side] for of in (mine, others) for side in (0, 1)]


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
