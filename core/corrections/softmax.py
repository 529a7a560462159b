"""Refitting a linear head on features, near the one that it starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.models.linear import Head
from core.types import FloatArray, IntArray

SUBSAMPLE = 5_000
"""Images that a refit looks at, at most, the same share of every class."""

ITERATIONS = 100

STIFF = 1e-4
"""Penalty on the squared shift of an intercept, so that separable classes have one."""

Penalty = Callable[[FloatArray], tuple[float, FloatArray]]
"""Value and gradient (K, D) at a scaled weight (K, D)."""


def sample_rows(labels: IntArray, limit: int, seed: int) -> IntArray:
    """At most ``limit`` rows, the same share of every class, ascending."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    if limit < 1:
        return np.zeros(0, np.int64)
    rng, share = np.random.default_rng(seed), limit / len(labels)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[order], np.unique(labels), side="left")
    ends = np.append(starts[1:], len(labels))
    parts = [order[s : s + max(int((e - s) * share), 1)] for s, e in zip(starts, ends, strict=True)]
    return np.sort(np.concatenate(parts))


def feature_scale(features: FloatArray) -> float:
    """Root of the mean squared length of the centred features; 1 where all are equal.

    Weights times this scale have no unit, so that penalties on them mean the same everywhere.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    squares = np.einsum("ij,ij->", features, features, dtype=np.float64) / len(features)
    spread = float(squares - mean @ mean)
    return float(np.sqrt(spread)) if spread > 1e-12 * squares else 1.0


def fit_softmax(
    features: FloatArray,
    labels: IntArray,
    head: Head,
    *,
    anchor: float,
    penalty: Penalty | None = None,
    seen: FloatArray | None = None,
    weights: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Weight (K, D) and bias (K,) of least mean cross-entropy near a given head.

    Minimises CE + anchor / 2 |V - V0|^2 + penalty(V) with V = scale * W
    (:func:`feature_scale`), by L-BFGS (SciPy). What the head's correction takes off the logits is
    taken off while fitting too, by the features that the encoder gives.

    Parameters
    ----------
    features : (n, D), as the head is to see them.
    labels : (n,) outputs.
    seen : (n, D) features as the encoder gives them, where ``features`` were changed.
    weights : (n,) how much each image counts, at least 0; default all alike.
    """
    from scipy.optimize import minimize

    x, n = np.asarray(features, np.float32), len(labels)
    scale, mean = feature_scale(x), x.mean(axis=0, dtype=np.float64)
    first = np.asarray(head.weight, np.float64) * scale
    offsets = _taken(head, x if seen is None else seen)
    k, d = first.shape
    counts = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    counts = counts / counts.sum()

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        v, bias = flat[: k * d].reshape(k, d), flat[k * d :]
        logits = (x @ (v / scale).T.astype(np.float32)).astype(np.float64)
        logits += bias - v @ mean / scale - offsets
        logits -= logits.max(axis=1, keepdims=True)
        grown = np.exp(logits)
        total = grown.sum(axis=1)
        value = float(counts @ (np.log(total) - logits[np.arange(n), labels]))
        wrong = grown / total[:, None]
        wrong[np.arange(n), labels] -= 1
        wrong *= counts[:, None]
        pull = (wrong.T.astype(np.float32) @ x).astype(np.float64)
        slope = (pull - np.outer(wrong.sum(axis=0), mean)) / scale + anchor * (v - first)
        value += anchor / 2 * float(np.sum((v - first) ** 2))
        if penalty is not None:
            more, direction = penalty(v)
            value, slope = value + more, slope + direction
        return value, np.concatenate([slope.ravel(), wrong.sum(axis=0)])

    start = np.concatenate([first.ravel(), head.bias + first @ mean / scale])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "maxcor": 20}
    ).x
    weight = found[: k * d].reshape(k, d) / scale
    return weight, found[k * d :] - weight @ mean


def rebalanced(head: Head, before: Head, features: FloatArray, labels: IntArray) -> Head:
    """The head with intercepts that suit what its weights have become.

    A class that lost its cue loses its logit with it, and would hardly be predicted any more. One
    number per class cannot learn the cue again: of each head the shift of the intercepts of least
    cross-entropy is found, over the classes that have images, and what the new head needs more
    than the old one is added. Shifts have mean zero, so that outputs without images keep their
    place.

    Parameters
    ----------
    before : the head before the correction, which for an equal head makes the shift zero.
    features : (n, D); labels : (n,) outputs.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    shifts = [
        _intercepts(h.logits(features)[:, classes].astype(np.float64), targets.reshape(-1))
        for h in (head, before)
    ]
    bias = head.bias.astype(np.float64)
    bias[classes] += shifts[0] - shifts[1]
    return replace(head, bias=bias.astype(np.float32))


def _intercepts(logits: FloatArray, targets: IntArray) -> FloatArray:
    """Shift (C,) of mean zero that makes the mean cross-entropy of logits (n, C) least."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    shares = np.bincount(targets, minlength=logits.shape[1]) / len(targets)
    rows = np.arange(len(targets))

    def loss(shift: FloatArray) -> tuple[float, FloatArray]:
        logs = log_softmax(logits + shift, axis=1)
        slope = np.exp(logs).mean(axis=0) - shares + STIFF * shift
        return float(STIFF / 2 * shift @ shift - logs[rows, targets].mean()), slope

    found: FloatArray = minimize(loss, np.zeros(len(shares)), jac=True, method="L-BFGS-B").x
    return np.asarray(found - found.mean())


def _taken(head: Head, features: FloatArray) -> FloatArray | float:
    """What a head's correction takes off the logits, (n, K), or 0."""
    if head.correction is None:
        return 0.0
    zero = np.zeros((len(features), len(head.bias)), np.float32)
    return -head.correction.apply(features, zero).astype(np.float64)
