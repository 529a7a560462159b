"""Two kinds of images told apart by a score: a mixture of two normal distributions."""

from __future__ import annotations

import numpy as np

from core.types import FloatArray, IntArray

PRIOR = 20.0
"""Images that a component's mean and variance are worth before any real image is looked at."""

STEPS = 200

NARROW = 1e-3
"""Least spread of a component, as a share of the distance of the two."""


def told_apart(
    scores: FloatArray, labels: IntArray, first: FloatArray, second: FloatArray
) -> FloatArray:
    """Probability (n,) that an image is of the first kind, every class with a share of its own.

    Parameters
    ----------
    scores : (n,); labels : (n,) classes.
    first, second : scores of images known to be of either kind, at least one of each.
    """
    ends, found = (_normal(first), _normal(second)), np.zeros(len(scores))
    for k in np.unique(labels):
        found[labels == k] = mixture(scores[labels == k], *ends)
    return found


def _normal(scores: FloatArray) -> tuple[float, float]:
    """Centre and spread that a few outliers do not move: median, and 1.4826 times the MAD."""
    centre = float(np.median(scores))
    return centre, 1.4826 * float(np.median(np.abs(scores - centre)))


def mixture(
    scores: FloatArray, first: tuple[float, float], second: tuple[float, float]
) -> FloatArray:
    """Probability (n,) that each image is of the first of two normal components.

    Expectation and maximisation (Dempster, Laird & Rubin 1977) of the share, and of mean and
    variance of both components with ``PRIOR`` images of the given ones (MAP).

    Parameters
    ----------
    scores : (n,).
    first, second : mean and standard deviation of images of either kind.
    """
    scores = np.asarray(scores, np.float64)
    least = max(NARROW * abs(first[0] - second[0]), 1e-12)
    centres = np.array([first[0], second[0]])
    spreads = np.maximum([first[1], second[1]], least)
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
