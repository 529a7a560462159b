"""How many images of a class show a tagged cue, and which: a mixture of scores.

High against low alpha says which images of a class show a cue more than others, not which show it:
where 95 % do, most of the lowest quarter does. Composites say how an image with the cue scores and
how one without it does, so that the scores of real images can be told apart as a mixture of two
normal distributions, both held near what the composites say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.corrections.concepts import concept_of
from core.corrections.evidence import HIDDEN, SHOWN, UNKNOWN, Evidence
from core.corrections.pairs import REPLACED
from core.types import FloatArray, IntArray

PRIOR = 20.0
"""Images that a component's mean and variance are worth before any real image is looked at."""

STEPS = 200

NARROW = 1e-3
"""Least spread of a component, as a share of the distance of the two."""


@dataclass(frozen=True)
class Presence:
    """Who shows one cue."""

    shows: FloatArray
    """(N,) probability that an image shows it, in [0, 1]; NaN where an attribute says nothing."""
    output: int
    """Of the cue's class."""
    labels: IntArray
    """(N,) outputs."""
    told: bool
    """Whether an attribute of the data says so; otherwise it is an estimate."""

    @property
    def lacking(self) -> float:
        """Expected number of the class's images that lack the cue."""
        return float(np.nansum(1 - self.shows[self.labels == self.output]))

    @property
    def of(self) -> int:
        """Images of the class that anything is known of."""
        return int((~np.isnan(self.shows) & (self.labels == self.output)).sum())

    @property
    def words(self) -> str:
        """Both numbers, and how they are known."""
        how = "by the attribute" if self.told else "estimated"
        return f"{self.lacking:.0f} of {self.of} training images lack the cue ({how})"


def presence(evidence: Evidence, cue: int) -> Presence:
    """Who shows a cue: by the attribute where one was given, else estimated from scores.

    A score is how far an image lies along what the cue adds (``shift`` of its pairs); without pairs
    it is alpha. Images with the cue score like pasted composites, or like the class's highest
    quarter; images without it like those of the class whose cue was replaced, or like those of
    other classes. Every class has a share of its own.
    """
    m, labels = cue, evidence.labels
    output = evidence.cues[m].output
    if (evidence.present[labels != output, m] != UNKNOWN).any():
        known = evidence.present[:, m].astype(np.float64)
        return Presence(np.where(known == UNKNOWN, np.nan, known), output, labels, True)
    scores, shown, hidden = _scores(evidence, m)
    ends = [_normal(shown), _normal(hidden)]
    found = np.zeros(len(labels))
    for k in evidence.classes:
        found[labels == k] = mixture(scores[labels == k], ends[0], ends[1])
    return Presence(found, output, labels, False)


def _scores(evidence: Evidence, m: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores (N,) of all images, and of images known to show and to lack the cue."""
    pairs = evidence.pairs.of(m) if evidence.pairs else None
    erased = evidence.erased.get(REPLACED)
    if pairs is None or not len(pairs.rows):
        scores = evidence.cues[m].alpha(evidence.features)
        others = scores[evidence.labels != evidence.cues[m].output]
        low = others if len(others) else scores[evidence.rows(m, HIDDEN)]
        return scores, scores[evidence.rows(m, SHOWN)], low
    along = concept_of(evidence, m, "shift").vector
    scores = np.asarray(evidence.features, np.float64) @ along
    without = pairs.hidden if erased is None else erased.of(m).hidden
    return scores, pairs.shown @ along, (without if len(without) else pairs.hidden) @ along


def _normal(scores: FloatArray) -> tuple[float, float]:
    """Centre and spread that a few outliers do not move: median, and 1.4826 times the MAD."""
    centre = float(np.median(scores))
    return centre, 1.4826 * float(np.median(np.abs(scores - centre)))


def mixture(
    scores: FloatArray, shown: tuple[float, float], hidden: tuple[float, float]
) -> FloatArray:
    """Probability (n,) that each image is of the first of two normal components.

    Expectation and maximisation (Dempster, Laird & Rubin 1977) of the share, and of mean and
    variance of both components with ``PRIOR`` images of the given ones (MAP).

    Parameters
    ----------
    scores : (n,).
    shown, hidden : mean and standard deviation of images with the cue and without it.
    """
    scores = np.asarray(scores, np.float64)
    least = max(NARROW * abs(shown[0] - hidden[0]), 1e-12)
    centres = np.array([shown[0], hidden[0]])
    spreads = np.maximum([shown[1], hidden[1]], least)
    mean, var, share = centres.copy(), spreads**2, np.full(2, 0.5)
    found = np.full(len(scores), 0.5)
    for _ in range(STEPS if len(scores) else 0):
        away = (scores[:, None] - mean) ** 2 / var
        logs = np.log(share) - (away + np.log(var)) / 2
        odds = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights = odds / odds.sum(axis=1, keepdims=True)
        if np.abs(weights[:, 0] - found).max() < 1e-6:
            break
        found, total = weights[:, 0], weights.sum(axis=0)
        share = (total + 0.5) / (len(scores) + 1)
        mean = (PRIOR * centres + scores @ weights) / (PRIOR + total)
        square = (weights * (scores[:, None] - mean) ** 2).sum(axis=0)
        var = (PRIOR * (spreads**2 + (mean - centres) ** 2) + square) / (PRIOR + total)
        var = np.maximum(var, least**2)
    return found
