"""Architectures and weights of timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

from core.errors import ModelError
from core.models.architecture import Architecture, ModelSource, unknown_name, wordnet_ids
from core.models.downloads import REMEDY, check_hub, downloading
from core.types import Preprocess

if TYPE_CHECKING:
    from torch import nn


def timm_architecture(
    architecture: str, pretrained: bool, num_outputs: int | None = None
) -> Architecture:
    """By its name in timm, with the tag of its weights where it has several.

    One that comes without a head (DINOv2) gets one, untrained, of the wanted size or of two.
    """
    import timm

    _check_timm_name(architecture, pretrained=pretrained)
    if pretrained:
        check_hub(architecture)
        with downloading(f"timm:{architecture}"):
            network = timm.create_model(architecture, pretrained=True)
    else:
        network = timm.create_model(architecture, pretrained=False)
    network.eval()
    preprocess, notes = _timm_preprocess(architecture, network)
    headless = int(cast(Any, network).num_classes) == 0
    if headless:
        cast(Any, network).reset_classifier(num_outputs or 2)

    def built(size: tuple[int, int]) -> nn.Module:
        outputs = cast(Any, network).num_classes
        return timm.create_model(architecture, num_classes=outputs, img_size=size)

    return Architecture(network, preprocess, _timm_outputs(network), notes, headless, built=built)


def _check_timm_name(architecture: str, *, pretrained: bool) -> None:
    import timm

    base, _, tag = architecture.partition(".")
    if not timm.is_model(base):
        known = timm.list_models()
        raise ModelError(unknown_name("timm", architecture, base, known))
    tagged = timm.list_pretrained(f"{base}.*")
    if tag and architecture not in tagged:
        raise ModelError(unknown_name("timm", architecture, architecture, tagged))
    if pretrained and not timm.is_model_pretrained(architecture):
        raise ModelError(
            f"timm:{architecture} has no pretrained weights: give a checkpoint for it. {REMEDY}"
        )


class _TimmConfig(TypedDict):
    """What timm says of the images of a model."""

    input_size: tuple[int, int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _timm_preprocess(architecture: str, network: nn.Module) -> tuple[Preprocess, tuple[str, ...]]:
    from timm.data.config import resolve_model_data_config

    config: _TimmConfig = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    channels, height, width = config["input_size"]
    if channels != 3:
        raise ModelError(f"timm:{architecture} wants {channels} channels: choose an RGB model.")
    mode = config["crop_mode"]
    preprocess = Preprocess(
        input_size=(height, width),
        crop_pct=float(config["crop_pct"]),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_mode=mode if mode in ("center", "squash") else "center",
    )
    if mode == preprocess.crop_mode:
        return preprocess, ()
    return preprocess, (f"The model was tuned with {mode!r} cropping; images are cut centrally.",)


def _timm_outputs(network: nn.Module) -> tuple[str, ...] | None:
    from timm.data.imagenet_info import infer_imagenet_subset

    subset = infer_imagenet_subset(network)
    return wordnet_ids(subset) if subset else None


TIMM = ModelSource("timm", "timm:NAME", timm_architecture)
