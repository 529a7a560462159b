"""Architectures and weights of torchvision."""

from __future__ import annotations

from dataclasses import replace
from math import floor, nextafter
from typing import Any

from core.errors import ModelError
from core.models.architecture import Architecture, ModelSource, unknown_name, wordnet_ids
from core.models.downloads import downloading
from core.types import Preprocess

TRANSFORMED = (
    "Images are normalised with mean 0.5 and std 0.5, to which a {name} that began from "
    "torchvision's weights brings its input itself (transform_input); of one trained from scratch "
    "say --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225."
)
"""Note on networks of torchvision that hold a part of their preprocessing."""


def torchvision_architecture(
    architecture: str, pretrained: bool, num_outputs: int | None = None
) -> Architecture:
    """By its name in torchvision."""
    del num_outputs
    from torchvision import models

    known = models.list_models(module=models)
    if architecture not in known:
        raise ModelError(unknown_name("torchvision", architecture, architecture, known))
    weights = models.get_model_weights(architecture).DEFAULT
    if pretrained:
        with downloading(f"torchvision:{architecture}"):
            network = models.get_model(architecture, weights=weights)
    else:
        network = models.get_model(architecture, weights=None)
    outputs = wordnet_ids("imagenet-1k") if len(weights.meta["categories"]) == 1000 else None
    preprocess = _preprocess(weights)
    if pretrained or not hasattr(network, "transform_input"):
        return Architecture(network.eval(), preprocess, outputs)
    note = TRANSFORMED.format(name=architecture)
    inside = replace(preprocess, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Architecture(network.eval(), inside, outputs, (note,))


def _preprocess(weights: Any) -> Preprocess:
    """Read the preset's numbers; touches no weights."""
    preset = weights.transforms()
    crop, resize = preset.crop_size[0], preset.resize_size[0]
    return Preprocess(
        input_size=(crop, crop),
        crop_pct=_crop_pct(crop, resize),
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


def _crop_pct(crop: int, resize: int) -> float:
    """Ratio r for which floor(crop / r) is ``resize`` also after rounding."""
    ratio = crop / resize
    while floor(crop / ratio) < resize:
        ratio = nextafter(ratio, 0.0)
    return ratio


TORCHVISION = ModelSource("torchvision", "torchvision:NAME", torchvision_architecture)
