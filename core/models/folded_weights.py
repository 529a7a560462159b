"""Weights that a file keeps in parts, put together: pruned, or normed by weight or by spectrum.

What torch computes from the parts before every forward pass is computed once. Parts that cannot be
put together without their program, adapters and quantised weights, are refused as what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.models.tensor_values import FLOATS
from core.models.weights import some


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    return weight * mask


def _weight_normed(length: Tensor, direction: Tensor) -> Tensor:
    """Length times v / |v|, by every axis that the length has (Salimans & Kingma 2016)."""
    alone = length.ndim != direction.ndim
    axes = [a for a in range(direction.ndim) if alone or length.shape[a] == 1]
    norm: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return length * direction / norm


def _spectral_normed(weight: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """W / (u^T W v), as in evaluation (Miyato et al. 2018)."""
    return weight / torch.dot(left, weight.flatten(1) @ right)


class Form(NamedTuple):
    """One way to keep a tensor in parts."""

    title: str
    whole: str
    """How the name of the tensor ends."""
    parts: tuple[str, ...]
    """How those of its parts do."""
    put: Callable[..., Tensor]


FORMS = (
    *(
        Form("pruned", name, (f"{name}_orig", f"{name}_mask"), _masked)
        for name in ("weight", "bias")
    ),
    Form("spectral norm", "weight", ("weight_orig", "weight_u", "weight_v"), _spectral_normed),
    Form("weight norm", "weight", ("weight_g", "weight_v"), _weight_normed),
    Form(
        "weight norm",
        "weight",
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        _weight_normed,
    ),
    Form(
        "spectral norm",
        "weight",
        (
            "parametrizations.weight.original",
            *("parametrizations.weight.0._u", "parametrizations.weight.0._v"),
        ),
        _spectral_normed,
    ),
)
"""The longest first where parts are shared."""

REFUSED = {
    ".zero_point": "quantised weights: save the state dict of the network before it was quantised",
    "lora_A": "adapters (LoRA) beside its weights: merge them into the weights, and save it again",
}
"""What a name holds: what such a file is."""


def folded(
    state: Mapping[str, Tensor], own: Collection[str], source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Named tensors with whole weights in place of their parts, and what to say.

    Parameters
    ----------
    own : names of the network, which may be made of such parts itself.

    Raises
    ------
    CheckpointError
        If the file holds adapters or quantised weights.
    """
    found, notes = dict(state), list[str]()
    for mark, what in REFUSED.items():
        if any(mark in name for name in state) and not any(mark in name for name in own):
            raise CheckpointError(f"{source} holds {what}.")
    for form in FORMS:
        if any(name.endswith(form.parts) for name in own):
            continue
        names = [name for name in list(found) if _fold(name, form, found)]
        if names:
            notes.append(f"Weights kept in parts ({form.title}) are put together: {some(names)}.")
    return found, notes


def _fold(name: str, form: Form, found: dict[str, Tensor]) -> bool:
    """Put one tensor together, in place, where a name is that of its first part."""
    stem = name.removesuffix(form.parts[0])
    if stem == name or (stem and not stem.endswith(".")):
        return False
    parts = [found.get(stem + part) for part in form.parts]
    plain = [
        part for part in parts if part is not None and part.dtype in FLOATS and not part.is_meta
    ]
    if len(plain) < len(parts):
        return False
    try:
        whole = form.put(*(part.float() for part in plain))
    except RuntimeError:  # parts of other shapes: they are told as what they are
        return False
    for part in form.parts:
        del found[stem + part]
    found[f"{stem}{form.whole}"] = whole
    return True
