"""Expected gradients (Lundberg & Lee 2017; Erion et al. 2021), from plain colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.explain.attribution import Attribution, by_pixel, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

SAMPLES = 24
"""Colours and places on the way from them."""

AT_ONCE = 8
"""Of them in a batch."""

SPREAD = 1.0
"""Standard deviation of the colours, in that of the pixels the model was trained on."""


def gradient_shap(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """Mean over colours of (image - colour) times the gradient between both, (H, W).

    Every colour has a place of its own on the way, evenly spread. Baselines are of one colour each
    (a departure: published are other images, which an attribution of one image does not have).
    Captum's draws with the process's own random state; here the same image gives the same map.
    """
    import torch

    draws = torch.Generator().manual_seed(0)
    colours = SPREAD * torch.randn(SAMPLES, 3, 1, 1, generator=draws)
    way = (torch.randperm(SAMPLES, generator=draws) + 0.5)[:, None, None, None] / SAMPLES
    score, found = functional(model, direction), torch.zeros_like(image)
    for first in range(0, SAMPLES, AT_ONCE):
        plain, share = (part[first : first + AT_ONCE].to(image) for part in (colours, way))
        apart = image - plain
        points = (plain + share * apart).requires_grad_()
        (slope,) = torch.autograd.grad(score(points).sum(), points)
        found += (apart * slope).sum(0, keepdim=True) / SAMPLES
    return by_pixel(found)


GRADIENT_SHAP = Attribution(
    name="gradient_shap",
    title="SHAP by gradients",
    text="Where a number comes from, by gradients at random points on the way from plain images of "
    "random colours: integrated gradients that do not rest on one colour.",
    source="Lundberg & Lee 2017; Erion et al. 2021",
    explain=gradient_shap,
)
