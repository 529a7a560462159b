"""What every channel of every place adds to a number, to first order, where no map is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model


def contributions(model: Model, pixels: np.ndarray, direction: FloatArray) -> FloatArray:
    """Activation times gradient at the last layer with positions, times the places, (C, h, w).

    Of a head on the mean of that layer the mean over places of the sum over channels is the
    number itself; elsewhere it is its first-order part, whatever bends between layer and head
    left out. Source: gradient times input, at a layer (HiResCAM; Draelos & Carin 2020).

    Parameters
    ----------
    pixels : (h, w, 3) uint8, what the encoder sees; direction : (D,) the number, q . phi.

    Raises
    ------
    ModelError
        If the network has no layer with positions.
    """
    import torch

    from core.models.trace import exclusive

    image = model.normalise(torch.from_numpy(np.ascontiguousarray(pixels))[None])
    q = torch.from_numpy(np.asarray(direction, np.float32)).to(model.device)
    with exclusive(model.network):
        seen = model.cam_tensor(image)
        (slope,) = torch.autograd.grad((seen.features @ q).sum(), seen.tensor)
        given = seen.layout.to_maps(seen.tensor).float() * seen.layout.to_maps(slope).float()
    found: FloatArray = given[0].detach().cpu().numpy()
    return found * np.prod(found.shape[1:], dtype=np.float32)
