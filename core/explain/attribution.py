"""Gradient and perturbation methods, by captum, to hold against the exact maps.

All of them explain a linear functional of the features, target = q . phi: a candidate's alpha
(its constant changes nothing) or the logit of a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

Method = Literal["grad_cam", "integrated_gradients", "occlusion"]

METHODS: dict[str, str] = {
    "grad_cam": "Grad-CAM (Selvaraju et al. 2017)",
    "integrated_gradients": "Integrated gradients (Sundararajan et al. 2017)",
    "occlusion": "Occlusion (Zeiler & Fergus 2014)",
}


class _Target(nn.Module):
    """Normalised images to q . phi, (B,)."""

    def __init__(self, model: Model, direction: FloatArray) -> None:
        super().__init__()
        self.model = model
        self.q = torch.from_numpy(np.asarray(direction, np.float32)).to(model.device)

    def forward(self, batch: Tensor) -> Tensor:
        return self.model.features_of(batch) @ self.q


def attribute(
    model: Model,
    pixels: np.ndarray,
    direction: FloatArray,
    method: Method,
    *,
    steps: int = 16,
    patch: int = 32,
) -> FloatArray:
    """Attribution map (h, w) float32 of one image; positive: raises the target.

    Grad-CAM is not cut at zero, so that negative parts can be seen (a departure from the paper);
    it has the resolution of the layer, the other two that of the encoder's input, summed over
    colour channels. Integrated gradients start from the model's mean colour. None of them averages
    to alpha: they are approximations. Captum hooks into the network and holds several passes in
    memory, so one map at a time is computed of it (:func:`core.models.trace.exclusive`); others
    wait for theirs.

    Parameters
    ----------
    pixels : (h, w, 3) uint8, what the encoder sees.
    direction : (D,) the functional of the features.
    steps : steps of the integral; patch : side of the occluded square, pixels.

    Raises
    ------
    InputError
        If the method is unknown.
    """
    from core.models.trace import exclusive

    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    image = model.normalise(torch.from_numpy(np.ascontiguousarray(pixels))[None])
    with exclusive(model.network):
        if method == "grad_cam":
            return _grad_cam(model, image, direction)
        return _by_pixel(model, image, direction, method, steps, patch)


def _by_pixel(
    model: Model, image: Tensor, direction: FloatArray, method: Method, steps: int, patch: int
) -> FloatArray:
    from captum.attr import IntegratedGradients, Occlusion

    target = _Target(model, direction)
    if method == "integrated_gradients":
        found = IntegratedGradients(target).attribute(
            image, baselines=torch.zeros_like(image), n_steps=steps, internal_batch_size=8
        )
    else:
        with torch.no_grad():
            found = Occlusion(target).attribute(
                image,
                sliding_window_shapes=(3, patch, patch),
                strides=(3, patch // 2, patch // 2),
                perturbations_per_eval=8,
            )
    summed: FloatArray = found.detach().float().sum(1)[0].cpu().numpy().astype(np.float32)
    return summed


def _grad_cam(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    from captum.attr import LayerGradCam

    layer, layout = model.grad_layer, model.grad_layout
    if layer is None or layout is None:
        raise InputError(f"{model.name} has no layer with positions: use integrated gradients")
    if layout.order == "NCHW":
        cam = LayerGradCam(_Target(model, direction), layer)
        found = cam.attribute(image.requires_grad_(), relu_attributions=False)
        plain: FloatArray = found.detach().float()[0, 0].cpu().numpy()
        return plain
    # captum takes axis 1 for channels, which holds positions in a transformer's tensors
    seen = model.cam_tensor(image)
    q = torch.from_numpy(np.asarray(direction, np.float32)).to(model.device)
    (gradient,) = torch.autograd.grad((seen.features @ q).sum(), seen.tensor)
    maps, slopes = layout.to_maps(seen.tensor).float(), layout.to_maps(gradient).float()
    tokens: FloatArray = (slopes.mean((2, 3), keepdim=True) * maps).sum(1)[0].detach().cpu().numpy()
    return tokens
