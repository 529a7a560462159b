"""How far images are from what a model knows, and how well that tells two sets apart; arrays.

Every score rises with how anomalous an image is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from core.statistics.intervals import auroc, clopper_pearson, log_softmax
from core.statistics.separation import auroc_interval, precision_parts
from core.types import FloatArray, IntArray

NEIGHBOUR = 50
"""Which neighbour's distance is taken (Sun et al. 2022, for sets of tens of thousands)."""

DETECTED = 0.95
"""Share of the anomalous images that are detected where false alarms are counted."""

BLOCK = 2048
"""Images whose distances are in memory at a time."""

LEAST = 1e-38
"""Probability that stands for 0 in a logarithm."""


class Known(NamedTuple):
    """What images are held against."""

    features: FloatArray
    """(m, D)."""
    logits: FloatArray
    """(m, K)."""


def of_logits(logits: FloatArray) -> dict[str, FloatArray]:
    """The scores (n,) that take logits (n, K) alone.

    ``msp``: minus the highest probability (Hendrycks & Gimpel 2017). ``max_logit``: minus the
    highest logit (Hendrycks et al. 2022). ``energy``: minus the log of the sum of exponentials (Liu
    et al. 2020). ``entropy``: of the probabilities, nats.
    """
    from scipy.special import entr, logsumexp

    p = np.exp(log_softmax(logits))
    return {
        "msp": -p.max(axis=1),
        "max_logit": -np.asarray(logits, np.float64).max(axis=1),
        "energy": -logsumexp(np.asarray(logits, np.float64), axis=1),
        "entropy": entr(p).sum(axis=1),
    }


def templates(logits: FloatArray) -> FloatArray:
    """Mean probabilities (t, K) of the images that are predicted as each class that any is."""
    p = np.exp(log_softmax(logits))
    said = p.argmax(axis=1)
    return np.stack([p[said == k].mean(axis=0) for k in np.unique(said)])


def typicality(logits: FloatArray, of: FloatArray) -> FloatArray:
    """Divergence (n,) of an image's probabilities from the nearest template (t, K), nats.

    min over k of KL(p || d_k): KL matching (Hendrycks et al. 2022, section 4).
    """
    from scipy.special import entr

    p, log_d = np.exp(log_softmax(logits)), np.log(np.maximum(of, LEAST))
    found: FloatArray = -entr(p).sum(axis=1) - (p @ log_d.T).max(axis=1)
    return found


def neighbour_distance(
    features: FloatArray, known: FloatArray, own: IntArray | None = None, *, k: int = NEIGHBOUR
) -> FloatArray:
    """Distance (n,) to the k-th nearest known image, of features of length 1 (Sun et al. 2022).

    Parameters
    ----------
    features : (n, D); known : (m, D). Of fewer than 2 k known images the neighbour at half of them
        is taken, at least the first; NaN without any.
    own : (n,) place of each image among the known ones, -1 elsewhere: no image is its own
        neighbour.
    """
    others = len(known) - (0 if own is None else 1)
    if others < 1:
        return np.full(len(features), np.nan)
    at = max(min(k, others // 2), 1) - 1
    x, z = _of_length_one(features), _of_length_one(known)
    found = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        alike = x[part] @ z.T
        if own is not None:
            rows = np.flatnonzero(own[part] >= 0)
            alike[rows, own[part][rows]] = -np.inf
        nearest = -np.partition(-alike, at, axis=1)[:, at]
        found[part] = np.sqrt(np.maximum(2 - 2 * nearest, 0))
    return found


def _of_length_one(features: FloatArray) -> FloatArray:
    values = np.asarray(features, np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    found: FloatArray = values / np.maximum(length, 1e-12)
    return found


def scores(
    features: FloatArray, logits: FloatArray, known: Known, own: IntArray | None = None
) -> dict[str, FloatArray]:
    """Every score (n,) of images, held against known ones; ``own`` as for the neighbours."""
    return {
        **of_logits(logits),
        "knn": neighbour_distance(features, known.features, own),
        "typicality": typicality(logits, templates(known.logits)),
    }


class Told(NamedTuple):
    """How well a score tells anomalous images from the others, with 95 % intervals."""

    auroc: tuple[float, float, float]
    """Chance .5; below it the anomalous ones look more typical."""
    aupr: tuple[float, float, float]
    """Average precision, the anomalous images being positive; ``chance`` is their share."""
    false_alarms: tuple[float, float, float]
    """Share of the others above the threshold above which ``DETECTED`` of the anomalous are."""
    chance: float
    n_anomalous: int
    n_others: int


def told_apart(anomalous: FloatArray, others: FloatArray) -> Told:
    """Of scores (n,) of anomalous images and (m,) of others; each at least one, all finite."""
    n, m = len(anomalous), len(others)
    values, positive = np.concatenate([anomalous, others]), np.repeat([True, False], [n, m])
    area = auroc(values, positive)
    parts = precision_parts(values, positive)
    alarms = false_alarms(anomalous, others)
    low, high = map(float, clopper_pearson(round(alarms * m), m))
    return Told(
        (area, *auroc_interval(area, n, m)),
        (parts[0], parts[1], parts[2]),
        (alarms, low, high),
        n / (n + m),
        n,
        m,
    )


def false_alarms(anomalous: FloatArray, others: FloatArray) -> float:
    """FPR95 (Hendrycks et al. 2019): the anomalous images are positive.

    Share of the others that are at least as anomalous as the highest threshold that 95 % of the
    anomalous images reach.
    """
    order = np.sort(anomalous)[::-1]
    threshold = order[int(np.ceil(DETECTED * len(order) - 1e-9)) - 1]
    return float((others >= threshold).mean())


def in_class(values: FloatArray, classes: IntArray) -> FloatArray:
    """Share (n,) of the other images of its class that an image is above; ties count half.

    In [0, 1], .5 on average; NaN of an image that is alone in its class.
    """
    import pandas as pd

    by = pd.Series(values).groupby(classes)
    rank, size = by.rank().to_numpy(np.float64), by.transform("size").to_numpy(np.float64)
    found: FloatArray = np.full(len(rank), np.nan)
    np.divide(rank - 1, size - 1, out=found, where=size > 1)
    return found


TITLES: Mapping[str, str] = {
    "msp": "most probable class (MSP)",
    "max_logit": "highest logit (MaxLogit)",
    "energy": "energy",
    "entropy": "entropy",
    "knn": "nearest neighbours (kNN)",
    "typicality": "typicality (KL matching)",
}
"""The scores in words, in the order of every table."""
