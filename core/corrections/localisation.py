"""How much of an attribution lies on the object: losses to descend and scores to report.

Rao, Böhle et al. (ICCV 2023). A is the attribution map of one class, M the mask of the object,
A+ = max(A, 0); a hat means divided by the largest absolute value of the map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import InputError

Loss = Literal["energy", "l1", "ppce", "rrr"]

NOTHING = 1e-7
"""Positive energy below which a map says nothing (released code)."""

FLOOR = -100.0
"""Least logarithm, as in torch's binary cross-entropy."""


def energy_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """1 - sum(A+ M) / sum(A+), (n,) in [0, 1]; scale-free; blind to negative attribution.

    Where there is no positive energy it is 1 without a gradient (the released code returns
    1 - sum(A+ M) there, whose gradient is zero as well).
    """
    return 1 - epg(maps, masks)[0]


def l1_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Mean over positions of |A+hat - M|, (n,) in [0, 1]: fills the mask, empties the rest."""
    return (_hat(maps.relu()) - masks).abs().mean((1, 2))


def ppce_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """Per-pixel cross-entropy inside the mask, -mean log A+hat, (n,); blind outside of it.

    0 where the mask is empty (the released code divides by zero there).
    """
    logs = _hat(maps.relu()).clamp_min(torch.finfo(maps.dtype).tiny).log().clamp_min(FLOOR)
    return -(logs * masks).sum((1, 2)) / masks.sum((1, 2)).clamp_min(1)


def rrr_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """RRR*: sum of Ahat^2 outside the mask, (n,), signed attributions; blind inside of it."""
    return (_hat(maps).square() * (1 - masks)).sum((1, 2))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "energy": energy_loss,
    "l1": l1_loss,
    "ppce": ppce_loss,
    "rrr": rrr_loss,
}


def guidance_loss(maps: Tensor, masks: Tensor, kind: str) -> Tensor:
    """One of the four losses per image, (n,).

    Parameters
    ----------
    maps : (n, h, w) attributions; brought to the masks' size bilinearly where they differ, after
        normalising, as published.
    masks : (n, H, W) in {0, 1}.

    Raises
    ------
    InputError
        If the loss is unknown.
    """
    if kind not in LOSSES:
        raise InputError(f"guidance loss {kind!r}: choose {', '.join(LOSSES)}")
    if maps.shape[1:] != masks.shape[1:]:
        maps = resized(_hat(maps), (masks.shape[1], masks.shape[2]))
    return LOSSES[kind](maps, masks.to(maps.dtype))


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (n, h, w) at another size, bilinear."""
    if maps.shape[1:] == size:
        return maps
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _hat(maps: Tensor) -> Tensor:
    """Divide each map by its largest absolute value; an all-zero map stays."""
    largest = maps.abs().amax((1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, torch.ones_like(largest))


def epg(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Energy pointing game: share of the positive attribution on the object, (n,) in [0, 1].

    Returns
    -------
    The share, 0 where undefined as published; and whether it is defined (positive energy of at
    least ``NOTHING``). Chance is the area of the mask: large boxes score high by themselves.
    """
    positive = maps.relu()
    total = positive.sum((1, 2))
    defined = total >= NOTHING
    inside = (positive * masks).sum((1, 2))
    return torch.where(defined, inside / total.clamp_min(NOTHING), 0.0), defined


def attribution_iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the mask and the binarised attribution, (n,) in [0, 1].

    A+ is stretched to [0, 1] and cut above ``threshold``. A map without positive parts counts 0,
    a constant positive one as the whole image, an empty union 0 (released code).
    """
    positive = maps.relu()
    low, high = positive.amin((1, 2), keepdim=True), positive.amax((1, 2), keepdim=True)
    flat = high == low
    stretched = torch.where(flat, (high > 0).to(maps.dtype), (positive - low) / (high - low))
    found, wanted = stretched > threshold, masks > 0.5
    union = (found | wanted).sum((1, 2))
    return (found & wanted).sum((1, 2)) / union.clamp_min(1)
