"""Tensors of a network that no forward pass of it reads, such as those of auxiliary heads."""

from __future__ import annotations

import torch
from torch import nn


def idle_tensors(network: nn.Module, input_size: tuple[int, int]) -> set[str]:
    """Names of the parameters that the output does not depend on, and of buffers beside them.

    Found by one forward pass and its gradients: what was not used has none. A buffer counts where
    its module has parameters, all of which are idle.
    """
    probe = torch.randn(2, 3, *input_size, generator=torch.Generator().manual_seed(0))
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        output = network(probe)
        found = torch.autograd.grad(output.sum(), list(parameters.values()), allow_unused=True)
    idle = {name for name, grad in zip(parameters, found, strict=True) if grad is None}
    used = {_module(name) for name in parameters if name not in idle}
    silent = {_module(name) for name in idle} - used
    return idle | {name for name, _ in network.named_buffers() if _module(name) in silent}


def _module(name: str) -> str:
    return name.rpartition(".")[0]
