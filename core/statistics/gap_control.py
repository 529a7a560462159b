"""What an accuracy gap is compared with: the gap of random directions; plain arrays.

A logit says how sure a model is of a class, so accuracy differs along *every* direction that has a
share of the logit, be it a cue, the object, or nothing that anybody could name. A gap says
something about one candidate only where it differs from that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.statistics.intervals import accuracy_gaps
from core.types import BoolArray, FloatArray

DRAWS = 100
"""Random directions; their mean gap is known to a tenth of their spread."""

STEPS = 33
"""Angles to the logit, from along it to against it, that they are tried at; linear between."""


class GapControl(NamedTuple):
    """What random directions open that follow the logit as closely as each of m candidates."""

    gap: FloatArray
    """(m,) mean gap of them, percentage points; NaN where there is no such direction."""
    p: FloatArray
    """(m,) two-sided p-value, of this candidate alone, that errors go along with it as with them;
    NaN where no image, or every image, is predicted correctly."""

    def take(self, which: slice) -> GapControl:
        """Of some of the candidates."""
        return GapControl(self.gap[which], self.p[which])


def rank_scores(correct: BoolArray, values: FloatArray) -> FloatArray:
    """Mann & Whitney's statistic (1947) in standard errors, (m,), of some values of all n images.

    Positive: images that are predicted correctly have the larger values. Mid-ranks, and the
    variance that ties leave (Lehmann 2006, section 1.4). 0 where all values, or all predictions,
    are alike.

    Parameters
    ----------
    correct : (n,) whether each image was predicted correctly; values : (n, m).
    """
    from scipy.stats import rankdata

    n, right = len(correct), int(np.sum(correct))
    ranks = rankdata(values, axis=0) - (n + 1) / 2
    variance = right * (n - right) * (ranks**2).sum(axis=0) / max(n * (n - 1), 1)
    found: FloatArray = np.divide(
        ranks[np.asarray(correct, bool)].sum(axis=0),
        np.sqrt(variance),
        out=np.zeros(ranks.shape[1]),
        where=variance > 0,
    )
    return found


def gap_control(
    correct: BoolArray,
    values: FloatArray,
    logit: FloatArray,
    components: FloatArray,
    *,
    k: int | None = None,
    seed: int = 0,
) -> GapControl:
    """Gaps of random directions beside those of m candidates, over the same n images.

    A direction is a mixture of the class's components with normal weights, moved along the logit
    until its correlation with it is the candidate's: of a component the square of that is its share
    of the logit's variance. Errors are compared by ranks over all images
    (:func:`rank_scores`), the candidate with the directions by Student's t with DRAWS - 1 degrees:
    no candidate is certain to lie above its control because its share is large.

    Parameters
    ----------
    correct : (n,) whether each image was predicted correctly.
    values : (n, m) of the candidates, of any kind; logit : (n,) of the class.
    components : (n, r) alpha of the class's components, which are mixed.
    k : images a side of the gaps that they stand beside, as in
        :func:`core.statistics.intervals.accuracy_gaps`.
    """
    from scipy.stats import t

    m = values.shape[1]
    if not len(correct):
        return GapControl(np.full(m, np.nan), np.full(m, np.nan))
    towards, others = _scaled(logit[:, None])[:, 0], _mixtures(logit, components, seed)
    known = others is not None and np.any(towards)
    if others is None or not known or len(np.unique(correct)) < 2:
        gap = np.zeros(m) if known and len(np.unique(correct)) == 1 else np.full(m, np.nan)
        return GapControl(gap, np.full(m, np.nan))
    steps = np.linspace(0, np.pi, STEPS)
    tried = [_tried(correct, np.cos(a) * towards[:, None] + np.sin(a) * others, k) for a in steps]
    angles = np.arccos(np.clip(towards @ _scaled(values), -1, 1))
    gap, mean, spread = (np.interp(angles, steps, row) for row in np.transpose(tried))
    away = rank_scores(correct, values) - mean
    error = spread * np.sqrt(1 + 1 / DRAWS)
    score = np.divide(away, error, out=np.zeros(m), where=error > 1e-9)
    return GapControl(gap, 2 * t.sf(np.abs(score), DRAWS - 1))


def _tried(correct: BoolArray, directions: FloatArray, k: int | None) -> tuple[float, float, float]:
    """Mean gap of directions (n, DRAWS), and mean and spread of their rank scores."""
    scores = rank_scores(correct, directions)
    gaps = accuracy_gaps(correct, directions, k=k).gap
    return float(gaps.mean()), float(scores.mean()), float(scores.std(ddof=1))


def _mixtures(logit: FloatArray, components: FloatArray, seed: int) -> FloatArray | None:
    """DRAWS mixtures of components, scaled, that do not follow the logit; None without any."""
    weights = np.random.default_rng(seed).standard_normal((components.shape[1], DRAWS))
    towards = _scaled(logit[:, None])
    mixed = _scaled(components @ weights)
    rest = mixed - towards * (towards.T @ mixed)
    return _scaled(rest) if np.linalg.norm(rest, axis=0).min(initial=np.inf) > 1e-6 else None


def _scaled(values: FloatArray) -> FloatArray:
    """Columns with mean 0 and length 1; those that do not vary are 0."""
    centred = np.asarray(values, np.float64) - np.mean(values, axis=0)
    length = np.linalg.norm(centred, axis=0)
    small = 1e-12 * np.maximum(np.abs(values).max(axis=0, initial=0), 1e-300)
    found: FloatArray = np.divide(centred, length, out=np.zeros_like(centred), where=length > small)
    return found


def directions_like(
    values: FloatArray, logit: FloatArray, components: FloatArray, count: int, *, seed: int = 0
) -> FloatArray | None:
    """Values (n, count) along random directions that follow the logit as closely as a candidate.

    Those that a gap is compared with, at most DRAWS; None where there is no such direction.

    Parameters
    ----------
    values : (n,) of the candidate; logit, components : as in :func:`gap_control`.
    """
    towards, others = _scaled(logit[:, None]), _mixtures(logit, components, seed)
    if others is None or not np.any(towards):
        return None
    along = float(np.clip(towards[:, 0] @ _scaled(values[:, None])[:, 0], -1, 1))
    found: FloatArray = along * towards + np.sqrt(1 - along**2) * others[:, :count]
    return found
