"""An attribution of another package: the slope at every pixel, times the pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from core.explain.attribution import Attribution, by_pixel, functional, register
from core.models.model import Model
from core.types import FloatArray


def pixel_slope(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """(H, W) of the encoder's input."""
    image = image.detach().requires_grad_()
    (slope,) = torch.autograd.grad(functional(model, direction)(image).sum(), image)
    return by_pixel(slope * image)


register(
    Attribution(
        name="pixel_slope",
        title="Slope times pixel",
        text="What the number would lose if a pixel faded to the mean colour, to first order.",
        source="an example",
        explain=pixel_slope,
    )
)
