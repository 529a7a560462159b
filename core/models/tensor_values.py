"""What keeps a tensor of a file from being copied into a network as it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.errors import CheckpointError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights. Those of 8 bits need scales that a state dict does not name."""

COUNTER = "num_batches_tracked"
"""Last part of names that training counts with and no forward pass reads."""


def check_values(found: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that cannot be copied into the network as they are.

    Raises
    ------
    CheckpointError
        If one is no plain array of finite numbers of the network's kind.
    """
    for name, tensor in found.items():
        if problem := _problem(tensor, own[name], name):
            raise CheckpointError(
                f"{source} holds {name} {problem}: save it as a plain float32 tensor of finite "
                "numbers."
            )


def _problem(theirs: Tensor, mine: Tensor, name: str) -> str:
    """What keeps a tensor from being copied; empty where nothing does."""
    if theirs.is_meta:
        return "without values (a meta tensor)"
    if theirs.layout is not torch.strided or theirs.is_quantized:
        return "as a sparse or quantised tensor"
    if theirs.is_complex() and not mine.is_complex():
        return "as complex numbers"
    if mine.is_floating_point() and theirs.dtype not in FLOATS:
        return f"as {str(theirs.dtype).removeprefix('torch.')}"
    if not mine.is_floating_point() and theirs.is_floating_point() and not name.endswith(COUNTER):
        return "as fractions where the network has whole numbers"
    if mine.is_floating_point() and mine.isfinite().all() and not theirs.float().isfinite().all():
        return "with NaN or infinity among its values"
    return ""


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are copies of each other; without plain values only a tensor itself."""
    if a is b or a.shape != b.shape:
        return a is b
    plain = [not _problem(tensor, torch.zeros((), dtype=tensor.dtype), "") for tensor in (a, b)]
    return all(plain) and torch.equal(a.double(), b.double())
