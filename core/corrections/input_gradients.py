"""Attribution maps that can themselves be differentiated, as model guidance needs them.

captum's methods take the first derivative and drop the graph; these keep it. Without
``create_graph`` they equal captum's ``InputXGradient``, ``LayerGradientXActivation`` and
``LayerGradCam`` (the tests hold them together).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from core.corrections.layers import seen
from core.errors import InputError

if TYPE_CHECKING:
    from core.corrections.layers import Layer

Attribution = Literal["ixg", "gradcam"]
Target = Literal["margin", "logit"]

TARGETS: dict[str, str] = {
    "margin": "the logit minus the mean of all others",
    "logit": "the logit of the class alone, as published",
}

ATTRIBUTIONS: dict[str, str] = {
    "ixg": "Input x gradient (for B-cos and bias-free networks the exact contributions)",
    "gradcam": "Grad-CAM (Selvaraju et al. 2017)",
}


def attribution(
    network: nn.Module,
    images: Tensor,
    classes: Tensor,
    layer: Layer,
    method: Attribution = "ixg",
    *,
    target: Target = "margin",
    create_graph: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attribution maps of one class per image at a layer, and all logits.

    ``ixg``: sum over channels of gradient times tensor. ``gradcam``: the tensor weighted by the
    spatial mean of the gradient, summed, negative parts cut. Nothing here reads a bias: in a
    network without any, the map of ``ixg`` sums to the logit. A network with a context manager
    ``explanation_mode()`` (B-cos: its dynamic weights held fixed) is explained in it.

    Parameters
    ----------
    images : (n, 3, H, W) normalised.
    classes : (n,) output to explain.
    target : ``logit`` (published) or ``margin``, the logit minus the mean of all others.
    create_graph : whether the maps can be differentiated with respect to the weights.

    Returns
    -------
    Maps (n, h, w) at the layer's resolution, signed for ``ixg``; logits (n, K) with their graph.

    Raises
    ------
    InputError
        If the method is unknown.
    """
    if method not in ATTRIBUTIONS:
        raise InputError(f"attribution {method!r}: choose {', '.join(ATTRIBUTIONS)}")
    with _explaining(network), seen(network, layer, images) as (logits, tensor):
        explained = explained_score(logits, classes, target).sum()
        (slope,) = torch.autograd.grad(
            explained, tensor, create_graph=create_graph, retain_graph=True
        )
    maps, slopes = layer.layout.to_maps(tensor), layer.layout.to_maps(slope)
    if method == "gradcam":
        return (slopes.mean((2, 3), keepdim=True) * maps).sum(1).relu(), logits
    return (slopes * maps).sum(1), logits


def explained_score(logits: Tensor, classes: Tensor, target: Target) -> Tensor:
    """What the maps take apart, (n,): the logit of the class, or its margin.

    A softmax decides by differences: with the logit alone a background may still decide, by what
    it takes from the *other* classes. The margin counts both.
    """
    own = logits.gather(1, classes[:, None])[:, 0]
    if target == "logit":
        return own
    return own - (logits.sum(1) - own) / max(logits.shape[1] - 1, 1)


def _explaining(network: nn.Module) -> AbstractContextManager[object]:
    mode = getattr(network, "explanation_mode", None)
    return cast(AbstractContextManager[object], mode()) if callable(mode) else nullcontext()
