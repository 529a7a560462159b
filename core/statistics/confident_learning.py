"""Confident learning: which labels a classifier that did not see them contradicts.

Northcutt, Jiang, Chuang: Confident Learning, Estimating Uncertainty in Dataset Labels (JAIR 2021),
section 3. The confident joint follows the paper, which takes the most probable class among those
that are confident; cleanlab takes the most probable of all, which may be none of them. What is
pruned by it is cleanlab's.
"""

from __future__ import annotations

import numpy as np

from core.types import BoolArray, FloatArray, IntArray

CLOSE = 1e-6
"""How far below its threshold a probability still counts, for rounding."""

ROWS = 4096
"""Images that are looked at together, so that a large set needs little memory."""


def thresholds(labels: IntArray, probabilities: FloatArray) -> FloatArray:
    """How probable a class is on average where it is the label, (K,); 2 of a class without any.

    Parameters
    ----------
    labels : (n,) given; probabilities : (n, K), out of sample.
    """
    n_classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    sums = np.bincount(labels, weights=own, minlength=n_classes)
    return np.where(counts > 0, np.maximum(sums / np.maximum(counts, 1), 2 * CLOSE), 2.0)


def confident_classes(probabilities: FloatArray, least: FloatArray) -> IntArray:
    """(n,) the most probable class among those above their threshold (K,); -1 without any."""
    found = np.full(len(probabilities), -1, np.int64)
    for start in range(0, len(probabilities), ROWS):
        rows = np.asarray(probabilities[start : start + ROWS], np.float64)
        among = np.where(rows >= least - CLOSE, rows, -1.0)
        best = among.argmax(axis=1)
        confident = among[np.arange(len(rows)), best] >= 0
        found[start : start + ROWS] = np.where(confident, best, -1)
    return found


def confident_joint(labels: IntArray, probabilities: FloatArray) -> IntArray:
    """Images by given label and confident class, (K, K); the diagonal is at least 1.

    An image without a confident class is not counted.
    """
    n_classes = probabilities.shape[1]
    sure = confident_classes(probabilities, thresholds(labels, probabilities))
    counted = sure >= 0
    cells = labels[counted] * n_classes + sure[counted]
    found = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
    np.fill_diagonal(found, np.maximum(found.diagonal(), 1))
    return found


def calibrated(joint: IntArray, labels: IntArray) -> FloatArray:
    """The joint in images, (K, K): every row sums to the images that bear its label."""
    counts = np.bincount(labels, minlength=len(joint))
    found: FloatArray = joint * (counts / joint.sum(axis=1))[:, None]
    return found


def margins(labels: IntArray, probabilities: FloatArray) -> FloatArray:
    """(n,) half of 1 + p(label) - p(the best other), in [0, 1]; lower: more doubtful."""
    rows = np.arange(len(labels))
    others = np.array(probabilities, np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    found: FloatArray = (own - others.max(axis=1) + 1) / 2
    return found


def problems(labels: IntArray, probabilities: FloatArray) -> BoolArray:
    """(n,) images whose label is probably wrong, pruned by noise rate.

    Of every pair of a given and another class, as many images as the calibrated joint has, those
    with the smallest margins; none whose label is the most probable class anyway.
    """
    from cleanlab.filter import find_label_issues

    joint = np.rint(calibrated(confident_joint(labels, probabilities), labels)).astype(np.int64)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    found: BoolArray = find_label_issues(
        labels, probabilities, confident_joint=joint, filter_by="prune_by_noise_rate", n_jobs=1
    )
    return found
