"""Tensors as arrays that NumPy can store: bfloat16, which it lacks, as its bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def storable(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor as an array of the same bits (bfloat16 as uint16)."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        bits: NDArray[Any] = tensor.view(torch.uint16).numpy()
        return bits
    array: NDArray[Any] = tensor.numpy()
    return array


def stored_values(array: NDArray[Any]) -> NDArray[np.float32]:
    """The values behind :func:`storable`'s bits, as float32; needs no torch."""
    if array.dtype == np.uint16:
        wide = array.astype(np.uint32)
        wide <<= 16  # in place: of a million images there is no room for another copy
        return wide.view(np.float32)
    return array.astype(np.float32, copy=False)
