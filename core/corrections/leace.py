"""LEACE: the least change of the features after which no linear predictor finds the cue.

Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff, Biderman: LEACE: Perfect linear concept
erasure in closed form (NeurIPS 2023), theorem 4.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.head_methods import BIAS, SHARES
from core.corrections.methods import Method
from core.corrections.presence import presence
from core.corrections.rectified import with_weights
from core.errors import InputError
from core.models.linear import Head
from core.types import FloatArray, IntArray

FEW = 5
"""Images per feature below which the covariance is shrunk."""

CONCEPTS = ("images", "pairs")


class Eraser(NamedTuple):
    """x -> x - write (read . (x - mean))."""

    write: FloatArray
    """(M, D) rows S^T: covariances of the features with each cue."""
    read: FloatArray
    """(M, D) rows (S^T C^+ S)^+ S^T C^+."""
    mean: FloatArray
    """(D,)."""

    def __call__(self, features: FloatArray) -> FloatArray:
        """Erased features (n, D) float64."""
        x = np.asarray(features, np.float64)
        found: FloatArray = x - (x - self.mean) @ self.read.T @ self.write
        return found


def eraser(features: FloatArray, concepts: FloatArray, labels: IntArray) -> Eraser:
    """The least-squares optimal affine eraser of concepts **within classes**.

    r(x) = x - W^+ P W (x - mean) with W the pseudo-inverse root of the covariance C of the features
    and P the orthogonal projection onto the columns of W S, where S is the cross-covariance of
    features and concepts. Since the columns of S lie in those of C, W^+ P W is
    S (S^T C^+ S)^+ S^T C^+, which takes one solve and no root. Both covariances are taken about the
    means of the classes (a departure): else what sets classes apart would go with a cue that goes
    with a class. Where there are fewer than five images per feature, C is shrunk (Ledoit & Wolf
    2004; a departure), which leaves the cue erased and the change a little larger.

    Parameters
    ----------
    features : (n, D); concepts : (n, M); labels : (n,) classes.
    """
    x, z = (np.asarray(part, np.float64) for part in (features, concepts))
    mean = x.mean(axis=0)
    x, z = _centred(x, labels), _centred(z, labels)
    cross = x.T @ z / len(x)
    solved = _solved(x, cross)
    inner = np.linalg.pinv(cross.T @ solved, hermitian=True, rcond=1e-10)
    return Eraser(cross.T, inner @ solved.T, mean)


def _centred(values: FloatArray, labels: IntArray) -> FloatArray:
    found = values.copy()
    for k in np.unique(labels):
        found[labels == k] -= found[labels == k].mean(axis=0)
    return found


def _solved(x: FloatArray, cross: FloatArray) -> FloatArray:
    """C^+ S (D, M) of centred features (n, D)."""
    from scipy.linalg import solve
    from sklearn.covariance import ledoit_wolf_shrinkage

    n, d = x.shape
    cov = x.T @ x / n
    if n >= FEW * d:
        return np.asarray(np.linalg.pinv(cov, hermitian=True, rcond=1e-10) @ cross)
    share = min(max(float(ledoit_wolf_shrinkage(x, assume_centered=True)), 1e-6), 1.0)
    ridge = max(share * float(np.trace(cov)) / d, 1e-12)
    found: FloatArray = solve((1 - share) * cov + ridge * np.eye(d), cross, assume_a="pos")
    return found


def leace(head: Head, evidence: Evidence, strength: float, *, concept: str = "images") -> Head:
    """The head that sees erased features, folded into its weights.

    Parameters
    ----------
    strength : share of the erased part that is taken away; 1 is published.
    concept : ``images``: who shows the cue, by an attribute or as estimated
        (:mod:`core.corrections.presence`); ``pairs``: the same images with and without it.

    Raises
    ------
    InputError
        If there are no pairs where these are asked for, or all images of every class show a cue or
        none does.
    """
    found = eraser(*_told(evidence, concept))
    taken = strength * np.asarray(head.weight, np.float64) @ found.write.T  # (K, M)
    return with_weights(
        head, head.weight - taken @ found.read, head.bias + taken @ (found.read @ found.mean)
    )


def _told(evidence: Evidence, concept: str) -> tuple[FloatArray, FloatArray, IntArray]:
    """Features, concepts and classes to fit on."""
    pairs, m = evidence.pairs, len(evidence.cues)
    if concept == "pairs" and pairs is None:
        raise InputError("leace by pairs needs stored maps or cue masks; choose concept=images")
    if pairs is not None and concept == "pairs":
        z = np.zeros((2 * len(pairs.rows), m))
        z[np.arange(len(pairs.rows)), pairs.cue] = 1
        labels = evidence.labels[pairs.rows]
        return np.concatenate([pairs.shown, pairs.hidden]), z, np.concatenate([labels, labels])
    shows = np.stack([presence(evidence, c).shows for c in range(m)], axis=1)
    known = ~np.isnan(shows).any(axis=1)
    z, labels = (shows[known] > 0.5).astype(np.float64), evidence.labels[known]
    if (_centred(z, labels) == 0).all(axis=0).any():
        raise InputError(
            "leace needs images with and without each cue in one class at least: none are known; "
            "give --attribute, or choose concept=pairs where maps are kept"
        )
    return evidence.features[known], z, labels


LEACE = Method(
    name="leace",
    title="LEACE: linear erasure",
    fit=leace,
    strengths=SHARES,
    published=1.0,
    source="Belrose et al. 2023",
    remark="No linear predictor finds the cue in the erased training features; what replaces it in "
    "other features stays.",
    options={"concept": CONCEPTS, "bias": BIAS},
    published_options={"bias": "kept"},
)
