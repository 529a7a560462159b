"""What stands where something is masked: every figure that masks says which it took.

A fill is never neutral. The model's mean colour is 0 once normalised, which is not black; a blur
keeps colours and rough shapes; another image brings evidence of its own. What is masked should be
looked at under several (Jain, Salman et al. 2022).

A fill should tell the model nothing. Where none is chosen it is the flat one that does so best: of
:data:`FLAT`, that whose image alone the model is least sure of (largest entropy of its answer). A
network that normalises nothing has black as its mean colour, and is sure of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from core.errors import InputError
from core.types import FloatArray

BLUR = 10 / 224
"""Standard deviation of the blur, as a share of the picture's shorter side."""


class Given(NamedTuple):
    """What a fill is made from."""

    pixels: np.ndarray
    """(h, w, 3) uint8, the image that is masked."""
    mean: Sequence[float]
    """(3,) the model's mean colour, in [0, 1]."""
    other: Callable[[], np.ndarray]
    """An image of another class, (h, w, 3) uint8."""


def _flat(given: Given, colour: Sequence[float]) -> FloatArray:
    return np.broadcast_to(np.asarray(colour, np.float32), given.pixels.shape).copy()


def _blurred(given: Given) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    sigma = BLUR * min(given.pixels.shape[:2])
    pixels = given.pixels.astype(np.float32) / 255
    found: FloatArray = gaussian_filter(pixels, (sigma, sigma, 0), mode="nearest")
    return found


AUTO = "auto"
"""Stands for the flat fill that tells the model least."""

FLAT = ("mean", "own", "grey", "black")
"""Of one colour; of those that tell as little the first is taken."""

FILLS: dict[str, Callable[[Given], FloatArray]] = {
    "mean": lambda given: _flat(given, given.mean),
    "grey": lambda given: _flat(given, (0.5,) * 3),
    "black": lambda given: _flat(given, (0.0,) * 3),
    "own": lambda given: _flat(given, given.pixels.mean(axis=(0, 1)) / 255),
    "blur": _blurred,
    "other": lambda given: given.other().astype(np.float32) / 255,
}
"""By name: makes of an image what it is masked with, (h, w, 3) float32 in [0, 1]."""

WORDS = {
    "mean": "the model's mean colour",
    "grey": "grey",
    "black": "black",
    "own": "the image's own mean colour",
    "blur": "the image itself, blurred",
    "other": "an image of another class",
}
"""What each is, in a sentence."""


def filled(name: str, given: Given) -> FloatArray:
    """What an image is masked with, (h, w, 3) float32 in [0, 1].

    Raises
    ------
    InputError
        If there is no such fill.
    """
    if name not in FILLS:
        raise InputError(f"there is no fill {name!r}; choose {', '.join(FILLS)}")
    return FILLS[name](given)


def least_telling(probabilities: Mapping[str, FloatArray]) -> str:
    """The fill that a model is least sure of alone: of the largest mean entropy.

    Parameters
    ----------
    probabilities : by fill (n, K), what the model gives what n images are filled with.
    """

    def entropy(given: FloatArray) -> float:
        return float(-(given * np.log(np.maximum(given, 1e-300))).sum(axis=1).mean())

    return max(probabilities, key=lambda name: round(entropy(probabilities[name]), 6))
