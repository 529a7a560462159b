"""The exact map as one of the methods: what every place adds to a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError
from core.explain.attribution import Attribution
from core.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.model import Model


def exact_map(model: Model, image: Tensor, direction: FloatArray) -> FloatArray:
    """What every place p of the last maps adds, q . A(p), (h, w); its mean is the number.

    Raises
    ------
    InputError
        If the features are not the mean of maps.
    """
    import torch

    if model.map_kind == "none":
        raise InputError(f"{model.name} has no exact map: use integrated gradients")
    with torch.no_grad():
        maps = model.maps_of(image)[0].float().cpu().numpy()
    return np.tensordot(np.asarray(direction, np.float32), maps, 1)


EXACT_MAP = Attribution(
    name="exact",
    title="Exact map",
    text="What every place of the last maps adds to a number: the mean of the map is the number.",
    source="this project; of one neuron Singla & Feizi 2022, section 4",
    explain=exact_map,
)
