"""Two maps of one gradient: saliency (Simonyan et al. 2014), and the gradient times the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.explain.attribution import Attribution, by_pixel, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model


def saliency(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """How much a pixel could move the number, (H, W), never negative; summed over colours."""
    from captum.attr import Saliency

    return by_pixel(Saliency(functional(model, direction)).attribute(image.requires_grad_()))


def times_image(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """Gradient times the difference from the mean colour, (H, W)."""
    from captum.attr import InputXGradient

    found = InputXGradient(functional(model, direction)).attribute(image.requires_grad_())
    return by_pixel(found)


SALIENCY = Attribution(
    name="saliency",
    title="Saliency",
    text="How much a small change of a pixel changes a number, whichever way: never negative, and "
    "about the next step, not about what is there.",
    source="Simonyan et al. 2014",
    explain=saliency,
)
INPUT_X_GRADIENT = Attribution(
    name="input_x_gradient",
    title="Input x gradient",
    text="What a number would lose if a pixel faded to the mean colour, to first order. Of a "
    "network that is linear without constants exactly what the pixel adds.",
    source="Shrikumar et al. 2016",
    explain=times_image,
)
