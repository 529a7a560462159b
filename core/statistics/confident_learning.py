"""Confident learning: which labels a classifier that did not see them contradicts.

Northcutt, Jiang, Chuang: Confident Learning, Estimating Uncertainty in Dataset Labels (JAIR 2021),
section 3. The confident joint follows the paper, which takes the most probable class among those
that are confident; cleanlab takes the most probable of all, which may be none of them. What is
pruned by it is what cleanlab prunes; cleanlab wants all probabilities in memory, of which a million
images of a thousand classes have ten gigabytes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.types import BoolArray, FloatArray, IntArray, Rows, blocks

CLOSE = 1e-6
"""How far below its threshold a probability still counts, for rounding."""

EQUAL = 1e-8
"""How much more probable another class must be than the label for the label to be doubted."""


class Told(NamedTuple):
    """What probabilities (n, K) say of n labels."""

    own: FloatArray
    """(n,) of the label."""
    other: IntArray
    """(n,) the most probable other class, and"""
    best: FloatArray
    """(n,) its probability."""

    @property
    def margins(self) -> FloatArray:
        """(n,) half of 1 + p(label) - p(the best other), in [0, 1]; lower: more doubtful."""
        found: FloatArray = (self.own - self.best + 1) / 2
        return found


def told(labels: IntArray, probabilities: Rows) -> Told:
    """Of labels (n,) and probabilities (n, K), out of sample, K at least 2."""
    n = len(labels)
    found = Told(np.empty(n), np.empty(n, np.int64), np.empty(n))
    for rows in blocks(n):
        others = np.array(probabilities[rows], np.float64)
        here, mine = np.arange(len(rows)), labels[rows]
        found.own[rows] = others[here, mine]
        others[here, mine] = -1
        found.other[rows] = others.argmax(axis=1)
        found.best[rows] = others[here, found.other[rows]]
    return found


def thresholds(labels: IntArray, own: FloatArray, n_classes: int) -> FloatArray:
    """How probable a class is on average where it is the label, (K,); 2 of a class without any.

    Parameters
    ----------
    labels : (n,) given; own : (n,) probability of each.
    """
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, weights=own, minlength=n_classes)
    return np.where(counts > 0, np.maximum(sums / np.maximum(counts, 1), 2 * CLOSE), 2.0)


def confident_classes(probabilities: Rows, least: FloatArray) -> IntArray:
    """(n,) the most probable class among those above their threshold (K,); -1 without any."""
    n = probabilities.shape[0]
    found = np.full(n, -1, np.int64)
    for rows in blocks(n):
        block = np.asarray(probabilities[rows], np.float64)
        among = np.where(block >= least - CLOSE, block, -1.0)
        best = among.argmax(axis=1)
        confident = among[np.arange(len(rows)), best] >= 0
        found[rows] = np.where(confident, best, -1)
    return found


def confident_joint(labels: IntArray, probabilities: Rows, own: FloatArray) -> IntArray:
    """Images by given label and confident class, (K, K); the diagonal is at least 1.

    An image without a confident class is not counted.
    """
    n_classes = probabilities.shape[1]
    sure = confident_classes(probabilities, thresholds(labels, own, n_classes))
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


def problems(labels: IntArray, probabilities: Rows, said: Told | None = None) -> BoolArray:
    """(n,) images whose label is probably wrong, pruned by noise rate.

    Of every pair of a given and another class, as many images as the calibrated joint has, those
    with the smallest margins; none whose label is the most probable class anyway, and none of a
    class with one image.

    Parameters
    ----------
    said : :func:`told` of both, where that is known.
    """
    said = told(labels, probabilities) if said is None else said
    joint = confident_joint(labels, probabilities, said.own)
    noise = np.rint(calibrated(joint, labels)).astype(np.int64)
    doubted = said.best > said.own + EQUAL
    found = np.zeros(len(labels), bool)
    order = np.argsort(labels, kind="stable")
    firsts = np.searchsorted(labels[order], np.arange(len(joint) + 1))
    for given, (first, last) in enumerate(zip(firsts[:-1], firsts[1:], strict=True)):
        rows = order[first:last]
        others = np.flatnonzero(noise[given])
        others = others[others != given]
        if len(rows) < 2 or not len(others):
            continue
        block = np.asarray(probabilities[rows])
        for other in others:
            ahead = block[:, other] - block[:, given]
            most = np.argsort(-ahead, kind="stable")[: noise[given, other]]
            found[rows[most]] = True
    return found & doubted
