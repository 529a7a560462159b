"""What a candidate is: a linear functional of the features, in numbers and over an image.

Components, neurons and carried directions are all alpha = q . phi - c in logit units, with
q = <1, u> u * w and c = <1, u> <u, mean> for a unit vector u among the weighted activations
psi = w * phi of a class (Neuhaus et al. 2023, eq. 4). The formula stands here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.candidates.key import CandidateKey
from core.types import FloatArray

BLOCK = 4096
"""Images whose features are held in float64 at a time."""


@dataclass(frozen=True)
class LinearFunctional:
    """alpha = direction . phi - offset, logit units of one output."""

    class_idx: int
    direction: FloatArray
    """(D,) float64."""
    offset: float

    def alpha(self, features: FloatArray) -> FloatArray:
        """Alpha (n,) float64 of any features (n, D); higher: more evidence for the class."""
        return alpha_along(features, self.direction, self.offset)

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """Where it is, (n, h, w) float32, in maps (n, D, h, w) of the pooled layer."""
        return heatmaps(maps, self.direction[None], np.array([self.offset]))[:, 0]


@dataclass(frozen=True)
class Candidate(LinearFunctional):
    """One candidate feature of one class."""

    key: CandidateKey
    row: int
    """Position among the class's candidates: components first, then neurons; -1: not stored."""

    @property
    def title(self) -> str:
        """Name on the screen; components count from 1 there."""
        return self.key.title


def functional(
    units: FloatArray, weight: FloatArray, mean: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Directions and offsets of unit vectors among the weighted activations.

    Alpha does not depend on the sign of u.

    Parameters
    ----------
    units : (D,) one u, or (m, D); weight : (D,) w of the class; mean : (D,) of its psi.

    Returns
    -------
    (D,) and a scalar, or (m, D) and (m,).
    """
    total = units.sum(axis=-1)
    return total[..., None] * units * weight, total * (units @ mean)


def factors(
    direction: FloatArray, offset: float, weight: FloatArray, mean: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unit vector, weight and mean whose :func:`functional` a given one is.

    A carried direction is <1, v> v * w from v of another model, or from w of another head: what
    of it does not fit the head's own weight and the class's own mean is moved into these.

    Parameters
    ----------
    weight, mean : (D,) of the class, as for :func:`functional`.
    """
    unit = np.divide(direction, weight, out=np.zeros_like(weight), where=weight != 0)
    length = max(float(np.linalg.norm(unit)), 1e-300)
    unit = unit / length
    total = unit.sum()
    return unit, weight * (length / total), mean + (offset / total - unit @ mean) * unit


def linear_alpha(features: FloatArray, directions: FloatArray, offsets: FloatArray) -> FloatArray:
    """Alpha (n, m) = features . direction - offset, in logit units, float64.

    For a component, alpha_l(x) = <1, u_l> <u_l, psi(x) - mean> (Neuhaus et al. 2023, eq. 4);
    positive: the component raises the class's logit above its mean. Over a full basis the alphas
    of an image sum to its logit minus the class's mean logit.

    Parameters
    ----------
    features : (n, D); directions : (m, D); offsets : (m,).
    """
    return np.asarray(features, np.float64) @ directions.T - offsets


def alpha_along(features: FloatArray, direction: FloatArray, offset: float) -> FloatArray:
    """:func:`linear_alpha` of one functional, (n,), a block of images at a time."""
    found = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = linear_alpha(features[part], direction[None], np.array([offset]))[:, 0]
    return found


def heatmaps(maps: FloatArray, directions: FloatArray, offsets: FloatArray) -> FloatArray:
    """Maps (n, m, h, w) float32 of m candidates on n images; the mean over h, w is alpha.

    Positive: this place raises the class's logit above its mean. Logit units.

    Parameters
    ----------
    maps : (n, D, h, w) pooled-layer maps, float32.
    directions : (m, D); offsets : (m,).
    """
    q, flat = np.asarray(directions, np.float32), maps.reshape(*maps.shape[:2], -1)
    found: FloatArray = np.matmul(q, flat) - np.asarray(offsets, np.float32)[:, None]
    return found.reshape(len(maps), len(q), *maps.shape[2:])
