"""Integrated gradients (Sundararajan et al. 2017), from the model's mean colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.explain.attribution import Attribution, by_pixel, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

STEPS = 16
"""Of the integral."""


def integrated_gradients(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """Gradients along the path from the mean colour, (H, W) of the encoder's input."""
    import torch
    from captum.attr import IntegratedGradients

    found = IntegratedGradients(functional(model, direction)).attribute(
        image, baselines=torch.zeros_like(image), n_steps=STEPS, internal_batch_size=8
    )
    return by_pixel(found)


INTEGRATED_GRADIENTS = Attribution(
    name="integrated_gradients",
    title="Integrated gradients",
    text="Where a number comes from, by gradients along a path from an image in the model's mean "
    "colour.",
    source="Sundararajan et al. 2017",
    explain=integrated_gradients,
)
