"""What a candidate is: alpha, a number of every image, and where in the image it comes from.

Components, neurons and carried directions are all linear, alpha = q . phi - c in logit units, with
q = <1, u> u * w and c = <1, u> <u, mean> for a unit vector u among the weighted activations
psi = w * phi of a class (Neuhaus et al. 2023, eq. 4). The formula stands here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from core.candidates.key import CandidateKey
from core.types import FloatArray

BLOCK = 4096
"""Images whose features are held in float64 at a time."""

Needs = Literal["features", "maps", "contributions"]
"""What the alpha of images is computed from: features (n, D), maps (n, D, h, w), or, where these
are not exact, what channels and places add to first order, (n, C, h, w)."""


class Functional(ABC):
    """A number that the model's features or maps of an image give, and where it comes from."""

    class_idx: int
    """Output that it speaks of."""
    needs: ClassVar[Needs] = "features"
    exact: ClassVar[bool] = True
    """Whether the mean of its map is alpha, where the architecture has exact maps."""

    @abstractmethod
    def alpha(self, given: FloatArray) -> FloatArray:
        """Alpha (n,) float64 of what it ``needs`` of n images; higher: more for the class."""

    @abstractmethod
    def heatmap(self, maps: FloatArray) -> FloatArray:
        """Where it is, (n, h, w) float32, in maps (n, D, h, w) of the pooled layer."""

    @classmethod
    def several(cls, functionals: Sequence[Self], maps: FloatArray) -> FloatArray:
        """:meth:`heatmap` of several of one class, (n, m, h, w)."""
        return np.stack([one.heatmap(maps) for one in functionals], axis=1)

    @abstractmethod
    def slope(self, given: FloatArray) -> FloatArray:
        """Change of alpha with the features, (n, D), at what it ``needs`` of n images.

        Of what is not linear, the slope of the piece that the image lies in.
        """

    def by_place(self, maps: FloatArray) -> FloatArray:
        """Change of alpha with every entry of exact maps, (n, D, h, w).

        Where all that counts is the mean of the places, each has the same share of :meth:`slope`.
        """
        n, d, h, w = maps.shape
        means = maps.mean(axis=(2, 3), dtype=np.float64)
        slope = self.slope(means if self.needs == "features" else maps)
        return np.broadcast_to(slope[:, :, None, None] / (h * w), (n, d, h, w))


class Candidate(Functional):
    """One candidate feature of one class."""

    key: CandidateKey

    @property
    def title(self) -> str:
        """Name on the screen; components count from 1 there."""
        return self.key.title


@dataclass(frozen=True)
class LinearFunctional(Functional):
    """alpha = direction . phi - offset, logit units of one output."""

    class_idx: int
    direction: FloatArray
    """(D,) float64."""
    offset: float

    def alpha(self, given: FloatArray) -> FloatArray:
        """Of any features (n, D)."""
        return alpha_along(given, self.direction, self.offset)

    def heatmap(self, maps: FloatArray) -> FloatArray:
        """Of any maps."""
        return heatmaps(maps, self.direction[None], np.array([self.offset]))[:, 0]

    @classmethod
    def several(cls, functionals: Sequence[Self], maps: FloatArray) -> FloatArray:
        """In one product."""
        directions = np.stack([one.direction for one in functionals])
        return heatmaps(maps, directions, np.array([one.offset for one in functionals]))

    def slope(self, given: FloatArray) -> FloatArray:
        """The direction, whatever the image."""
        return np.broadcast_to(self.direction, (len(given), len(self.direction)))


@dataclass(frozen=True)
class LinearCandidate(LinearFunctional, Candidate):
    """A component, a neuron, or a direction from another model."""

    key: CandidateKey


def alphas_of(candidates: Sequence[Functional], features: FloatArray) -> FloatArray:
    """Alpha (n, m) of several that need features alone; linear ones in one product."""
    if linear := _linear(candidates):
        return linear_alpha(features, *linear)
    return np.stack([c.alpha(features) for c in candidates], axis=1)


def heatmaps_of(candidates: Sequence[Functional], maps: FloatArray) -> FloatArray:
    """Maps (n, m, h, w) of several of one class; those of a type at once."""
    n, _, h, w = maps.shape
    found = np.zeros((n, len(candidates), h, w), np.float32)
    types: dict[type[Functional], None] = dict.fromkeys(type(c) for c in candidates)
    for of_type in types:
        places = [i for i, c in enumerate(candidates) if type(c) is of_type]
        found[:, places] = of_type.several([candidates[i] for i in places], maps)
    return found


def _linear(candidates: Sequence[Functional]) -> tuple[FloatArray, FloatArray] | None:
    """Directions (m, D) and offsets (m,) where all are linear."""
    linear = [c for c in candidates if isinstance(c, LinearFunctional)]
    if not linear or len(linear) < len(candidates):
        return None
    return np.stack([c.direction for c in linear]), np.array([c.offset for c in linear])


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
