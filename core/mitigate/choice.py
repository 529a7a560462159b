"""Which strength: a sweep on images that were not fitted on, and the rule that picks from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.mitigate.evidence import Evidence
from core.mitigate.methods import method, mitigate
from core.models.linear import Head
from core.types import BoolArray, FloatArray

LOSS = 2.0
"""Accuracy, in points, that the rule gives away at most: half of what is held acceptable."""


@dataclass(frozen=True)
class Sweep:
    """A method at several strengths; every array has shape (S,), the first row being no change."""

    strengths: FloatArray
    flips: FloatArray
    """Share of held-out images of other classes that the cue alone turns into its class, [0, 1]."""
    accuracy: FloatArray
    """On held-out images without the cue, balanced over classes, [0, 1]."""
    n: int
    """Trials behind ``flips``."""
    basis: str
    """What ``flips`` was measured with, in words."""
    chosen: int
    """Row picked by :func:`choose`."""

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
        return np.asarray(~(no_worse & better).any(axis=1))


def choose(flips: FloatArray, accuracy: FloatArray, n: int, *, loss: float = LOSS) -> int:
    """Row of the weakest strength that is as good as the best one allowed.

    Allowed is what loses at most ``loss`` points of accuracy against row 0 (no change). Of these
    the weakest whose flip share is within one standard error of the lowest is taken: of heads that
    do alike, the one changed least (Breiman et al. 1984).

    Parameters
    ----------
    flips, accuracy : (S,) by ascending strength, row 0 unchanged; see :class:`Sweep`.
    n : trials behind each flip share.
    """
    allowed = np.flatnonzero(100 * (accuracy[0] - accuracy) <= loss + 1e-9)
    lowest = float(flips[allowed].min())
    error = float(np.sqrt(lowest * (1 - lowest) / max(n, 1)))
    return int(allowed[flips[allowed] <= lowest + error][0])


def sweep(
    name: str,
    head: Head,
    evidence: Evidence,
    *,
    strengths: Sequence[float] | None = None,
    loss: float = LOSS,
    share: float = 0.25,
    **options: Any,
) -> Sweep:
    """Fit on one part of the evidence at every strength, measure on the other, choose.

    Fit again on all of it with ``mitigate(name, head, evidence, found.strength)`` afterwards.

    Parameters
    ----------
    strengths : ascending, the first of them no change; default the method's own.
    share : of the evidence that is held out.
    """
    tried = np.asarray(method(name).strengths if strengths is None else strengths, np.float64)
    fit, held = evidence.split(share)
    heads = [mitigate(name, head, fit, float(s), **options) for s in tried]
    trials = trials_of(fit, held)
    flips = np.array([trials.flips(h) for h in heads])
    accuracy = np.array([clean_accuracy(h, held) for h in heads])
    row = choose(flips, accuracy, len(trials.labels), loss=loss)
    return Sweep(tried, flips, accuracy, len(trials.labels), trials.basis, row)


@dataclass(frozen=True)
class Trials:
    """Held-out images of other classes, each with and without the cue, as features."""

    shown: FloatArray
    hidden: FloatArray
    """(T, D) each."""
    labels: FloatArray
    outputs: FloatArray
    """(T,) the image's own output, and the output that the cue belongs to."""
    basis: str

    def flips(self, head: Head) -> float:
        """Share newly given the cue's class when the cue is there; NaN without trials."""
        after = head.logits(self.shown).argmax(axis=1) == self.outputs
        before = head.logits(self.hidden).argmax(axis=1) == self.outputs
        return float((after & ~before).mean()) if len(after) else float("nan")


def trials_of(fit: Evidence, held: Evidence) -> Trials:
    """Trials from held-out pairs where there are any, else by adding the cue to features.

    Without pairs, an image of another class is given the difference between a random held-out
    image that shows the cue and one of the same class that hides it: real differences, each with
    all of its nuisance, not the mean direction that a method may just have removed.
    """
    if held.pairs is not None and len(held.pairs.labels):
        pairs, outputs = held.pairs, np.array([c.output for c in held.cues])[held.pairs.cue]
        other = pairs.labels != outputs
        return Trials(
            pairs.shown[other], pairs.hidden[other], pairs.labels[other], outputs[other],
            "images with and without the cue",
        )  # fmt: skip
    rng = np.random.default_rng(held.seed)
    parts = [_moved(fit, held, m, rng) for m in range(len(held.cues))]
    shown, hidden, labels, outputs = (np.concatenate(p) for p in zip(*parts, strict=True))
    return Trials(shown, hidden, labels, outputs, "differences of high and low images added")


def _moved(
    fit: Evidence, held: Evidence, m: int, rng: np.random.Generator
) -> tuple[FloatArray, ...]:
    """Images of other classes moved by differences between images that show and hide cue m."""
    source = held if len(held.rows(m, 1)) and len(held.rows(m, 0)) else fit
    shown, hidden = source.rows(m, 1), source.rows(m, 0)
    targets = np.flatnonzero((held.labels != held.cues[m].output) & (held.present[:, m] != 1))
    if not len(shown) or not len(hidden):
        targets = targets[:0]
    high = source.features[rng.choice(shown, len(targets))] if len(targets) else 0.0
    low = source.features[rng.choice(hidden, len(targets))] if len(targets) else 0.0
    plain = held.features[targets]
    outputs = np.full(len(targets), held.cues[m].output)
    return plain + high - low, plain, held.labels[targets], outputs


def clean_accuracy(head: Head, evidence: Evidence) -> float:
    """Accuracy on images not known to show a cue, averaged over classes, in [0, 1]."""
    clean = ~(evidence.present == 1).any(axis=1)
    correct = head.logits(evidence.features[clean]).argmax(axis=1) == evidence.labels[clean]
    labels = evidence.labels[clean]
    return float(np.mean([correct[labels == k].mean() for k in np.unique(labels)]))
