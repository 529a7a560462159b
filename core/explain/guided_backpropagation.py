"""Guided backpropagation (Springenberg et al. 2015), for whatever activation a network has.

Captum's looks at modules of one class alone, so that a rectifier that is called as a function, or
a smooth one, silently gives the plain gradient; here operations are caught where torch calls them
(:mod:`core.explain.activations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.explain.attribution import Attribution, by_pixel, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model


def guided_backpropagation(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """Gradient that only positive gradients have reached, summed over colours, (H, W)."""
    import torch

    from core.explain.activations import Guided

    image = image.detach().requires_grad_()
    with torch.enable_grad(), Guided():
        number = functional(model, direction)(image).sum()
        (found,) = torch.autograd.grad(number, image)
    return by_pixel(found)


GUIDED_BACKPROPAGATION = Attribution(
    name="guided_backpropagation",
    title="Guided backpropagation",
    text="A gradient without whatever an activation would pass on as negative. It shows edges, and "
    "nearly the same ones for every class: look at it to see detail, not to decide.",
    source="Springenberg et al. 2015; Adebayo et al. 2018 on its blindness",
    explain=guided_backpropagation,
)
