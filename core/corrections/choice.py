"""Which strength: a sweep on images that were not fitted on, and the rule that picks from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from core.corrections.evidence import HIDDEN, SHOWN, UNKNOWN, Evidence
from core.corrections.head_methods import mitigate
from core.corrections.methods import METHODS
from core.corrections.presence import Presence, presence
from core.corrections.softmax import sample_rows
from core.corrections.worst_group import (
    COUNTED,
    Pasted,
    groups_of,
    judged,
    least,
    shows_of,
)
from core.errors import InputError
from core.models.linear import Head
from core.statistics.paired import newly_given
from core.types import BoolArray, FloatArray, IntArray

LOSS = 2.0
"""Accuracy without the cue, in points, that the rule gives away at most."""

CLOSE = 0.03
"""Accuracy of the worst group within which strengths do alike."""

FOLDS = 4

LIMIT = 8_192
"""Images that a sweep looks at, at most."""

MOVED = 32_768
"""Images that cues are added to in a fold, at most, of all cues together."""


Hits = tuple[BoolArray, IntArray]
"""Which images were right, (n,), and their outputs, (n,)."""


@dataclass(frozen=True)
class Sweep:
    """A method at several strengths; every array has shape (S,), the first row being no change."""

    strengths: FloatArray
    flips: FloatArray
    """Share of held-out images of other classes that the cue alone turns into its class, [0, 1]."""
    accuracy: FloatArray
    """Of held-out images without the cue, averaged over classes, [0, 1]."""
    n: int
    """Trials behind ``flips``."""
    basis: str
    """What ``flips`` was measured with, in words."""
    chosen: int
    """Row picked by :func:`choose` or :func:`by_worst_group`."""
    worst: FloatArray | None = None
    """Worst group of class and cue on held-out images and composites, [0, 1]
    (:mod:`core.corrections.worst_group`); NaN or None where no group has enough."""
    presences: tuple[Presence, ...] = ()
    """Who shows each cue; empty where that was not asked."""

    @property
    def strength(self) -> float:
        """The strength picked."""
        return float(self.strengths[self.chosen])

    @property
    def pareto(self) -> BoolArray:
        """(S,) rows that no other row beats in both flips and accuracy."""
        cost = np.stack([self.flips, -self.accuracy])
        no_worse = (cost[:, None] <= cost[:, :, None]).all(axis=0)
        better = (cost[:, None] < cost[:, :, None]).any(axis=0)
        return np.asarray(~np.any(no_worse & better, axis=1))


def choose(flips: FloatArray, accuracy: FloatArray, n: int, *, loss: float = LOSS) -> int:
    """Row of the weakest strength that is as good as the best one allowed.

    Allowed is what loses at most ``loss`` points of accuracy against row 0 (no change). Of these
    the weakest whose flip share is within one standard error of the lowest is taken: of heads that
    do alike, the one changed least (Breiman et al. 1984).

    Parameters
    ----------
    flips, accuracy : (S,) by ascending strength, row 0 unchanged; see :class:`Sweep`.
    n : trials behind each flip share; 0: nothing to choose by, row 0.
    """
    if not n:
        return 0
    allowed = np.flatnonzero(100 * (accuracy[0] - accuracy) <= loss + 1e-9)
    lowest = float(flips[allowed].min())
    share = (lowest * n + 1) / (n + 2)  # so that none of n is not taken for certain
    error = float(np.sqrt(share * (1 - share) / n))
    return int(allowed[flips[allowed] <= lowest + error][0])


def by_worst_group(worst: FloatArray, *, close: float = CLOSE) -> int | None:
    """Row of the weakest of the strengths whose worst group is close to the best one's.

    Of heads that do alike, the one changed least (Breiman et al. 1984); where nothing is better
    than no change, row 0.

    Parameters
    ----------
    worst : (S,) by ascending strength, row 0 unchanged. All NaN: None, nothing to choose by.
    """
    if np.isnan(worst).all():
        return None
    best = float(np.nanmax(worst))
    if not best > worst[0]:
        return 0
    return int(np.flatnonzero(worst >= best - close)[0])


def sweep(
    name: str,
    head: Head,
    evidence: Evidence,
    *,
    strengths: Sequence[float] | None = None,
    loss: float = LOSS,
    refit: bool = True,
    starts: Sequence[Head] | None = None,
    **options: Any,
) -> Sweep:
    """Try a method at every strength on images that it did not see, and choose.

    Over ``FOLDS`` folds; every image is held out once. A probe that the audit fitted knows its
    training images, so that accuracy on them says little: where the head's mode is ``fit``, the
    fold's own images fit the probe to start from. Fit on all of the evidence with
    ``mitigate(name, head, evidence, found.strength)`` afterwards.

    Parameters
    ----------
    strengths : ascending, the first of them no change; default the method's own.
    loss : see :func:`choose`.
    refit : False: start every fold from the head as it is, as for a head that is corrected already.
    starts : the folds' heads by :func:`fold_heads`, where several methods are tried.
    """
    tried = np.asarray(
        METHODS.chosen(name).strengths if strengths is None else strengths, np.float64
    )
    starts = fold_heads(head, evidence, refit=refit) if starts is None else starts
    looked, results = _sampled(evidence), []
    found = tuple(presence(looked, m) for m in range(len(looked.cues)))
    for start, (rows, others) in zip(starts, looked.fold_rows(FOLDS), strict=True):
        fit, held = looked.take(rows), looked.take(others)
        trials = trials_of(fit, held)
        groups = groups_of(
            held,
            shows_of(found)[others],
            trials.pasted,
            counted=COUNTED / FOLDS,
            classes=looked.classes,
        )
        heads = [mitigate(name, start, fit, float(s), **options) for s in tried]
        results.append(
            _Fold(
                [trials.turned(h) for h in heads],
                [clean(h, held) for h in heads],
                np.stack([groups.hits(h) for h in heads]),
                groups.totals,
            )
        )
    turned = np.concatenate([np.stack(fold.turned) for fold in results], axis=1)
    flips = turned.mean(axis=1) if turned.shape[1] else np.full(len(tried), np.nan)
    accuracy = _by_class([fold.clean for fold in results])
    hits, totals = (sum(getattr(fold, which) for fold in results) for which in ("hits", "totals"))
    worst = least(judged(np.asarray(hits), np.asarray(totals), groups.own))
    row = by_worst_group(worst) if turned.shape[1] else 0
    if row is None:
        row = choose(flips, accuracy, turned.shape[1], loss=loss)
    return Sweep(tried, flips, accuracy, turned.shape[1], trials.basis, row, worst, found)


class _Fold(NamedTuple):
    """What the heads of one fold do, a list or row per strength."""

    turned: list[BoolArray]
    clean: list[Hits]
    hits: FloatArray
    """(S, M, K, 2)."""
    totals: FloatArray
    """(M, K, 2)."""


def fold_heads(head: Head, evidence: Evidence, *, refit: bool = True) -> list[Head]:
    """The head that each fold of a sweep starts from (see :func:`sweep`)."""
    if not refit or head.mode != "fit":
        return [head] * FOLDS
    return [fold_head(head, fit) for fit, _ in _sampled(evidence).folds(FOLDS)]


def _sampled(evidence: Evidence) -> Evidence:
    """At most LIMIT images; those of the cues' classes and of the pairs first."""
    labels, seed = evidence.labels, evidence.seed
    if len(labels) <= LIMIT:
        return evidence
    first = np.isin(labels, [cue.output for cue in evidence.cues])
    if evidence.pairs is not None:
        first[evidence.pairs.rows] = True
    kept, rest = np.flatnonzero(first), np.flatnonzero(~first)
    kept = kept[sample_rows(labels[kept], LIMIT // 2, seed)]
    rest = rest[sample_rows(labels[rest], LIMIT - len(kept), seed)]
    return evidence.take(np.sort(np.concatenate([kept, rest])))


def fold_head(head: Head, evidence: Evidence) -> Head:
    """A probe like the audit's, fitted on these images alone; the head where a class is missing."""
    from core.corrections.rectified import with_weights
    from core.models.head import fit_probe

    k = len(head.bias)
    if len(evidence.classes) < k:
        return head
    probe = fit_probe(np.asarray(evidence.features), evidence.labels, k, folds=2)
    return with_weights(head, probe.weight, probe.bias)


@dataclass(frozen=True)
class Trials:
    """Held-out images of other classes, each with and without the cue, as features."""

    shown: FloatArray
    hidden: FloatArray
    """(T, D) each."""
    outputs: IntArray
    """(T,) the output that the cue belongs to."""
    labels: IntArray
    """(T,) the images' own outputs."""
    cue: IntArray
    """(T,) which cue it is."""
    basis: str
    control: FloatArray | None = None
    """(T, D) with a patch of the same shape instead (:class:`core.corrections.evidence.Pairs`)."""

    @property
    def pasted(self) -> Pasted:
        """The images with the cue."""
        return Pasted(self.shown, self.labels, self.cue, self.hidden, self.control)

    def turned(self, head: Head) -> BoolArray:
        """(T,) images newly given the cue's class when the cue is there."""
        before, after = (head.logits(x).argmax(axis=1) for x in (self.hidden, self.shown))
        return newly_given(before, after, self.outputs)


def trials_of(fit: Evidence, held: Evidence) -> Trials:
    """Trials from held-out pairs where there are any, else by adding the cue to features.

    Without pairs, an image of another class is given the difference between a random held-out
    image that shows the cue and one of the same class that hides it: real differences, each with
    all of its nuisance, not the mean direction that a method may just have removed.
    """
    if held.pairs is not None:
        pairs, outputs = held.pairs, np.array([c.output for c in held.cues])[held.pairs.cue]
        labels = held.labels[pairs.rows]
        other = labels != outputs
        found = pairs.take(np.flatnonzero(other))
        owners, own = outputs[other], labels[other]
        return Trials(found.shown, found.hidden, owners, own, found.cue, found.basis, found.control)
    moved = [_moved(fit, held, m) for m in range(len(held.cues))]
    shown, hidden, owners, own, cue = (np.concatenate(p) for p in zip(*moved, strict=True))
    return Trials(shown, hidden, owners, own, cue, "differences between high and low images")


def _moved(
    fit: Evidence, held: Evidence, m: int
) -> tuple[FloatArray, FloatArray, IntArray, IntArray, IntArray]:
    """Images of other classes moved by differences between images that show and hide cue m."""
    rng = np.random.default_rng([held.seed, m])
    sides = [held.rows(m, SHOWN), held.rows(m, HIDDEN)]
    source = held if all(len(rows) for rows in sides) else fit
    shown, hidden = (source.rows(m, state) for state in (SHOWN, HIDDEN))
    others = np.concatenate([held.rows(m, state, own=False) for state in (HIDDEN, UNKNOWN)])
    others = _some(others, MOVED // len(held.cues), held.seed)
    if not len(shown) or not len(hidden):
        raise InputError(
            f"output {held.cues[m].output} has no image that shows or none that hides its cue; "
            "give a strength"
        )
    plain = held.features[others]
    high, low = (source.features[rng.choice(rows, len(others))] for rows in (shown, hidden))
    owner = np.full(len(others), held.cues[m].output)
    return plain + high - low, plain, owner, held.labels[others], np.full(len(others), m)


def _some(rows: IntArray, most: int, seed: int) -> IntArray:
    """Rows (n,) in their order, of more than ``most`` as many at random."""
    if len(rows) <= most:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), max(most, 1), replace=False)
    return rows[np.sort(chosen)]


def clean(head: Head, evidence: Evidence) -> Hits:
    """Whether images without the cues are right.

    Of a cue's own class those known to hide it, of other classes those not known to show it.
    """
    kept = cue_free(evidence)
    labels = evidence.labels[kept]
    return head.logits(evidence.features[kept]).argmax(axis=1) == labels, labels


def cue_free(evidence: Evidence) -> BoolArray:
    """Images (N,) without the cues, as far as it is known; see :func:`clean`."""
    kept: BoolArray = ~(evidence.present == SHOWN).any(axis=1)
    for m, cue in enumerate(evidence.cues):
        kept &= (evidence.labels != cue.output) | (evidence.present[:, m] == HIDDEN)
    return kept


def _by_class(folds: list[list[Hits]]) -> FloatArray:
    """Accuracy (S,), averaged over classes, of every strength over all folds."""
    labels = np.concatenate([hits[0][1] for hits in folds])
    right = np.stack([np.concatenate([hits[s][0] for hits in folds]) for s in range(len(folds[0]))])
    shares = [right[:, labels == k].mean(axis=1) for k in np.unique(labels)]
    found: FloatArray = np.mean(shares, axis=0)
    return found
