"""A mask that is learnt: the least of the image that keeps a number up.

The simple method of the paper on completeness and soundness (Gupta et al. 2022): a coarse mask is
optimised by gradients so that the masked image keeps the number, while it is small and smooth.
Departures: the number itself is kept up, as a share of what the image has over the fill, so that a
candidate's alpha can be explained, too; fills are the mean colour and the image blurred in turn,
as an attribution of one image has no others at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.explain.attribution import Attribution, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model

GRID, STEPS, RATE = 14, 40, 0.15
"""Cells along a side, steps and learning rate of Adam."""

SIZE, ROUGH = 0.5, 0.2
"""Weights of the mask's mean and of its total variation a cell."""


def learned_mask(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """The mask (14, 14) in [0, 1]; 1: kept."""
    import torch
    from torch.nn.functional import avg_pool2d, interpolate

    score, size = functional(model, direction), image.shape[2:]
    wide = max(min(size) // 8, 1) * 2 + 1
    blurred = avg_pool2d(image, wide, 1, wide // 2, count_include_pad=False)
    fills = (torch.zeros_like(image), blurred)
    with torch.no_grad():
        whole, *without = (score(each)[0] for each in (image, *fills))
    least = 1e-6 + 0.01 * float(whole.abs())
    state = torch.zeros(1, 1, GRID, GRID, device=image.device, requires_grad=True)
    steps = torch.optim.Adam([state], lr=RATE)
    for step in range(STEPS):
        mask = state.sigmoid()
        shown = interpolate(mask, size, mode="bilinear", align_corners=False)
        fill, none = fills[step % 2], without[step % 2]
        has = (whole - none).clamp(min=least)
        seen = score(shown * image + (1 - shown) * fill)[0]
        if not seen.requires_grad:  # what is left of the loss would take everything away
            raise NotImplementedError("no gradient reaches the mask")
        kept = (seen - none) / has
        rough = sum(mask.diff(dim=axis).abs().mean() for axis in (2, 3))
        loss = -kept.clamp(max=1) + SIZE * mask.mean() + ROUGH * rough
        (state.grad,) = torch.autograd.grad(loss, state)
        steps.step()
    found: FloatArray = state.detach().sigmoid()[0, 0].float().cpu().numpy()
    return found


LEARNED_MASK = Attribution(
    name="learned_mask",
    title="Learnt mask",
    text="The least of the image, as a smooth coarse mask, that keeps a number up while the rest "
    "is blurred or of the mean colour; found by gradients, never negative.",
    source="Gupta et al. 2022, the simple method",
    explain=learned_mask,
    masks="the model's mean colour and the image blurred in turn",
    version=2,
)
