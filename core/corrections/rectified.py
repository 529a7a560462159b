"""New heads from old: directions folded into the weights, rectified terms stacked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.models.linear import Correction, Head
from core.types import FloatArray


def with_weights(head: Head, weight: FloatArray, bias: FloatArray) -> Head:
    """The head with another weight (K, D) and bias (K,); a correction it carries stays."""
    return replace(head, weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def with_correction(head: Head, read: FloatArray, offset: FloatArray, write: FloatArray) -> Head:
    """The head with rectified terms added to those that it has.

    Every term reads the encoder's features. For SpuFix that is exact, since it changes no
    features. A rectified *projection* on top of another should read what the first has left: that
    is the same only where its ``read`` is orthogonal to what the first takes away.

    Parameters
    ----------
    read : (M, D); offset : (M,); write : (K, M).
    """
    new = [np.asarray(part, np.float32) for part in (read, offset, write)]
    if old := head.correction:
        new = [
            np.concatenate([old.read, new[0]]),
            np.concatenate([old.offset, new[1]]),
            np.concatenate([old.write, new[2]], axis=1),
        ]
    return replace(head, correction=Correction(*new))


def without_directions(
    head: Head, directions: FloatArray, levels: FloatArray, strength: float = 1.0
) -> Head:
    """The head that sees its features moved to given levels along given directions.

    phi <- phi - s V (V^T V)^-1 (V^T phi - z), folded into weight and bias: for s = 1 every
    v_m . phi becomes z_m, and doing it again changes nothing. Dependent directions are handled by
    the pseudo-inverse. A correction that the head carries goes on reading the features as they
    were.

    Parameters
    ----------
    directions : (M, D) v_m; levels : (M,) z_m.
    strength : s; 0 leaves the head as it is.
    """
    weight = np.asarray(head.weight, np.float64)
    taken = weight @ np.linalg.pinv(directions) * strength  # (K, M) what a unit of v_m adds
    return with_weights(head, weight - taken @ directions, head.bias + taken @ levels)


def shrunk(head: Head, shifts: FloatArray, origin: FloatArray, strength: float) -> Head:
    """The head nearest to this one that hardly answers to some shifts of the features.

    Minimises |W - W0|^2 + strength * |W S^T|^2, a ridge on the shifts: W = W0 (I + strength S^T
    S)^-1. With one shift and growing strength it becomes the projection that removes it; with many
    it removes their common part first and their spread the more, the stronger it is.

    Parameters
    ----------
    shifts : (R, D) rows S; scaled by the caller to squared lengths that sum to 1 per cue, so that
        the strength means the same for any features.
    origin : (D,) where logits stay as they are.
    strength : at least 0.
    """
    s = np.asarray(shifts, np.float64)
    weight = np.asarray(head.weight, np.float64)
    small = np.eye(len(s)) + strength * (s @ s.T)
    taken = strength * np.linalg.solve(small, s @ weight.T).T @ s  # Woodbury: R x R, not D x D
    return with_weights(head, weight - taken, head.bias + taken @ origin)
