"""Layer-wise relevance propagation (Bach et al. 2015), of a number as a whole or of a piece of it.

The rules stand in :mod:`core.explain.relevance`. What is handed down may be masked at the features
or at their maps: "the class through channel c", through a part, at some places (concept relevance
propagation; Achtibat et al. 2023). What is handed down is linear in what is masked, so the maps of
a partition sum to the map of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.explain.attribution import Attribution, Map, by_pixel, taking_gradients
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

LEAK = 0.05
"""Share of what is handed down that may be lost on the way before a map is declined."""


@dataclass(frozen=True)
class Relevance:
    """Where a number comes from by the rules."""

    pixels: FloatArray
    """(H, W) float32, of the encoder's input; its sum and ``kept`` are the number."""
    kept: float
    """What class tokens and position vectors have of it."""
    number: float
    """What was handed down."""
    without: Sequence[str]
    """Operations on the way that have no rule and keep their derivative, by torch's name."""

    @property
    def facts(self) -> dict[str, object]:
        """What has to be known of it, for a document."""
        return {"kept": self.kept, "without_rule": list(self.without)}

    @property
    def notes(self) -> list[str]:
        """Which operations fell back on their derivative, in words."""
        if not self.without:
            return []
        have = "has" if len(self.without) == 1 else "have"
        names = ", ".join(self.without)
        return [f"{names} {have} no rule of relevance propagation: the derivative stands in"]


def relevance(model: Model, image: Tensor, weight: FloatArray) -> Relevance:
    """Hand a weighted sum of the features, or of their maps, down to the pixels.

    Parameters
    ----------
    image : (1, 3, H, W) normalised, on the model's device.
    weight : (D,) of the features, or (D, h, w) of the maps whose mean they are.

    Raises
    ------
    InputError
        If what arrives differs from what was handed down by more than ``LEAK`` of it: the network
        does something that has no rule; or if it has no maps to weigh.
    """
    import torch

    from core.explain.relevance import Rules

    pixels = image.detach().clone().requires_grad_()
    with taking_gradients("LRP"), torch.enable_grad(), Rules() as rules:
        found = model.features_of(pixels) if weight.ndim == 1 else model.maps_of(pixels)
        given = found * torch.from_numpy(np.asarray(weight, np.float32)).to(found.device)
        if weight.ndim == 3:
            given = given / (found.shape[2] * found.shape[3])
        leaves = [pixels, *rules.constants]
        slopes = torch.autograd.grad(given.sum(), leaves, allow_unused=True)
    shares = [
        leaf.detach() * slope
        for leaf, slope in zip(leaves, slopes, strict=True)
        if slope is not None
    ]
    kept = float(sum(share.sum() for share in shares[1:]))
    made = Relevance(by_pixel(shares[0]), kept, given.sum().item(), sorted(rules.without))
    _check(model, made, given.abs().sum().item())
    return made


def _check(model: Model, made: Relevance, size: float) -> None:
    lost = abs(float(made.pixels.sum(dtype=np.float64)) + made.kept - made.number)
    if not lost <= LEAK * size:  # NaN too
        raise InputError(
            f"{model.name} does something that relevance propagation has no rule for: "
            f"{lost / size if size else lost:.0%} of the number is lost on the way to the pixels. "
            "Use integrated gradients."
        )


def lrp(model: Model, image: Tensor, direction: FloatArray) -> Map:
    """Relevance of every pixel, (H, W) of the encoder's input."""
    found = relevance(model, image, direction)
    return Map(found.pixels, found.facts, found.notes)


LRP = Attribution(
    name="lrp",
    title="LRP",
    text="Layer-wise relevance propagation: a number is handed down layer by layer, and every unit "
    "shares what it is given among its inputs, in proportion to what they put in. It adds up to "
    "the number, less what constants of the network (a class token, vectors of positions) keep.",
    source="Bach et al. 2015; rules of core/explain/relevance.py",
    explain=lrp,
    version=2,
)
