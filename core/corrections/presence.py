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
from core.statistics.mixture import told_apart
from core.types import FloatArray, IntArray


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
    return Presence(told_apart(scores, labels, shown, hidden), output, labels, False)


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
