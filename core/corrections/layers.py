"""Layers of a network by name: where attributions are taken and gradients penalised."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from core.errors import InputError
from core.models.positions import Layout, layouts
from core.models.trace import Site, captured

if TYPE_CHECKING:
    from core.models.model import Model

INPUT, LAST = "input", "last"
"""Names of the image itself and of the last layer with positions."""


@dataclass(frozen=True)
class Layer:
    """A tensor of the forward pass with positions."""

    site: Site | None
    """None: the image."""
    layout: Layout


def find_layer(model: Model, name: str) -> Layer:
    """The layer of a name: ``input``, ``last``, or a module whose output has positions.

    Raises
    ------
    InputError
        If there is no such module or its output has no positions; close names are given.
    """
    if name == INPUT:
        return Layer(None, Layout("NCHW", model.preprocess.input_size))
    if name == LAST:
        if model.trace.cam is None:
            raise InputError(f"{model.name} has no layer with positions: use the layer {INPUT!r}")
        return Layer(model.trace.cam.site, model.trace.cam.layout)
    known = layer_names(model)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=4, cutoff=0.3) or list(known)[-4:]
        raise InputError(
            f"{model.name} has no layer {name!r} with positions; choose {INPUT}, {LAST} or one of "
            f"{', '.join(close)}"
        )
    return Layer(Site(name, "output", 0), known[name])


def layer_names(model: Model) -> dict[str, Layout]:
    """Every module whose output has positions, in order of execution, with its layout."""
    found: dict[str, Layout] = {}
    sites = [Site(name, "output", 0) for name, _ in model.network.named_modules() if name]
    probe = torch.zeros(2, 3, *model.preprocess.input_size, device=model.device)
    with torch.no_grad(), captured(model.network, sites) as caught:
        model.network(probe)
    for site, tensor in caught.items():
        for layout in list(layouts(tensor.shape, model.preprocess.input_size, None))[:1]:
            found[site.module] = layout
    return found


@contextmanager
def seen(network: nn.Module, layer: Layer, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (B, K) and the layer's tensor of one forward pass, joined by a graph."""
    with torch.enable_grad():
        if layer.site is None:
            inputs = images.detach().requires_grad_()
            yield network(inputs), inputs
            return
        # an image that requires a gradient gives a graph even where no weight before it moves
        with captured(network, [layer.site]) as caught:
            logits = network(images.detach().requires_grad_())
        yield logits, caught[layer.site]


def parameters_after(model: Model, layer: Layer) -> list[str]:
    """Names of the parameters that act on the logits behind the layer.

    Found by cutting the graph at the layer: what still has a gradient comes after it, or on a
    path around it.
    """
    network = model.network
    names, parameters = zip(*network.named_parameters(), strict=True)
    for parameter in parameters:
        parameter.requires_grad_()
    try:
        logits = _cut_forward(model, layer)
        slopes = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    finally:
        network.requires_grad_(False)
    return [name for name, slope in zip(names, slopes, strict=True) if slope is not None]


def _cut_forward(model: Model, layer: Layer) -> Tensor:
    images = torch.zeros(1, 3, *model.preprocess.input_size, device=model.device)
    if layer.site is None:
        return model.network(images)  # type: ignore[no-any-return]
    module = model.network.get_submodule(layer.site.module)
    handle = module.register_forward_hook(lambda *call: call[2].detach())
    try:
        return model.network(images)  # type: ignore[no-any-return]
    finally:
        handle.remove()
