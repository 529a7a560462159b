"""Occlusion (Zeiler & Fergus 2014), by squares in the model's mean colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.explain.attribution import Attribution, by_pixel, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

PATCH = 32
"""Side of the covered square, pixels of the encoder's input; it moves by half of it."""


def occlusion(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """What the target loses under each square, (H, W) of the encoder's input."""
    import torch
    from captum.attr import Occlusion

    with torch.no_grad():
        found = Occlusion(functional(model, direction)).attribute(
            image,
            sliding_window_shapes=(3, PATCH, PATCH),
            strides=(3, PATCH // 2, PATCH // 2),
            perturbations_per_eval=8,
        )
    return by_pixel(found)


OCCLUSION = Attribution(
    name="occlusion",
    title="Occlusion",
    text="Where a number comes from, by covering one patch of the image after the other with the "
    "model's mean colour.",
    source="Zeiler & Fergus 2014",
    explain=occlusion,
    masks="the model's mean colour",
    version=2,
)
