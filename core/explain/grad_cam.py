"""Grad-CAM (Selvaraju et al. 2017), at the layer with positions that is nearest to the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.explain.attribution import Attribution, functional
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model


def grad_cam(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """The layer's maps weighted by the mean of their gradient, (h, w) of that layer.

    It is not cut at zero, so that negative parts can be seen (a departure from the paper).

    Raises
    ------
    InputError
        If the architecture has no layer with positions.
    """
    import torch
    from captum.attr import LayerGradCam

    layer, layout = model.grad_layer, model.grad_layout
    if layer is None or layout is None:
        raise InputError(f"{model.name} has no layer with positions: use integrated gradients")
    target = functional(model, direction)
    if layout.order == "NCHW":
        cam = LayerGradCam(target, layer)
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


GRAD_CAM = Attribution(
    name="grad_cam",
    title="Grad-CAM",
    text="Where a number comes from, by gradients at the last maps. An approximation: it does not "
    "add up to the number.",
    source="Selvaraju et al. 2017",
    explain=grad_cam,
)
