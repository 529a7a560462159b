"""Image classifiers of Hugging Face: a local folder, or a name on the hub.

The network is built by ``transformers``, which is optional, from safetensors alone and without code
of the folder; how it wants its images is read from its own ``preprocessor_config.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from core.errors import ModelError
from core.models.architecture import Architecture, ModelSource, wordnet_ids
from core.models.downloads import ask_hub, downloading
from core.storage.guard import permitted
from core.types import Preprocess

if TYPE_CHECKING:
    from transformers import PretrainedConfig

RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Interpolation by Pillow's number for it, as processors write it."""

IMAGENET = 1000
"""Outputs of a classifier of ImageNet, which begin with the tench and are in one order."""

HALF = (0.5, 0.5, 0.5)


class Classifier(nn.Module):
    """A classifier of transformers as a network that gives one row of logits per image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of normalised images (B, 3, h, w)."""
        return cast(Tensor, self.network(pixel_values=images).logits)


def load_hugging_face(place: str, pretrained: bool, num_outputs: int | None) -> Architecture:
    """A classifier by the path of its folder, or by its name on the hub.

    Parameters
    ----------
    pretrained : with its weights, not only its architecture.
    num_outputs : not looked at; a classifier has its own.

    Raises
    ------
    ModelError
        If transformers is not installed, or there is no such classifier of images.
    InputError
        If the path may not be read by this process.
    """
    del num_outputs
    if os.path.isdir(place):
        place = str(permitted(place))
    elif place.startswith(("/", ".", "~")):
        raise ModelError(f"hf:{place} is no folder: give one that save_pretrained wrote.")
    else:
        ask_hub(f"hf:{place}", place, "config.json")
    config = _config(place)
    network = _network(place, config, pretrained=pretrained)
    preprocess, notes = _preprocess(place, config)
    return Architecture(Classifier(network).eval(), preprocess, _labels(config), notes)


HUGGING_FACE = ModelSource("hf", "hf:FOLDER or hf:OWNER/NAME", load_hugging_face)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            "Models of Hugging Face need the package transformers: pip install transformers."
        ) from error
    return transformers


def _config(place: str) -> PretrainedConfig:
    auto = _transformers().AutoConfig
    with downloading(f"hf:{place}"):
        try:
            found: PretrainedConfig = auto.from_pretrained(place, trust_remote_code=False)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"hf:{place} has no configuration that transformers knows: give a folder with its "
                "config.json, or a model without code of its own."
            ) from error
    return found


def _network(place: str, config: PretrainedConfig, *, pretrained: bool) -> nn.Module:
    auto = _transformers().AutoModelForImageClassification
    try:
        if not pretrained:
            return cast(nn.Module, auto.from_config(config))
        with downloading(f"hf:{place}"):
            found = auto.from_pretrained(
                place,
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"hf:{place} is no classifier of images with weights as safetensors: give one that "
            "AutoModelForImageClassification loads."
        ) from error
    network, info = found
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"hf:{place} lacks weights of its classifier, such as {missing[0]}: give a model that "
            "was trained as one, or fit a probe on its architecture in timm."
        )
    return cast(nn.Module, network)


def _labels(config: PretrainedConfig) -> tuple[str, ...] | None:
    named = {int(index): str(label) for index, label in (config.id2label or {}).items()}
    labels = tuple(named[index] for index in sorted(named))
    if len(labels) == IMAGENET and labels[0].startswith("tench"):
        return wordnet_ids("imagenet-1k")
    plain = all(label == f"LABEL_{index}" for index, label in enumerate(labels))
    return None if plain or len(set(labels)) < len(labels) else labels


def _preprocess(place: str, config: PretrainedConfig) -> tuple[Preprocess, tuple[str, ...]]:
    """How images are prepared by the folder's processor; by the architecture where it has none."""
    said = _processor(place)
    if said is None:
        side = config.image_size if isinstance(getattr(config, "image_size", 0), int) else 224
        plain = Preprocess((side or 224, side or 224), 1.0, "bilinear", HALF, HALF, "squash")
        note = "The model has no preprocessor_config.json: mean and std of 0.5 are assumed."
        return plain, (note,)
    size, crop_pct, mode = _geometry(said)
    mean, std = _normalisation(said)
    number = said.get("resample", 2)
    resample = RESAMPLE[number] if number in range(len(RESAMPLE)) else "bilinear"
    return Preprocess(size, crop_pct, resample, mean, std, mode), ()


def _processor(place: str) -> Mapping[str, Any] | None:
    """The processor's own settings."""
    path: Path | None = Path(place) / "preprocessor_config.json"
    if not os.path.isdir(place):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        with downloading(f"hf:{place}"):
            try:
                path = Path(hf_hub_download(place, "preprocessor_config.json"))
            except EntryNotFoundError:
                return None
    if path is None or not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is no JSON: save the processor again.") from error
    return said if isinstance(said, Mapping) else None


def _geometry(said: Mapping[str, Any]) -> tuple[tuple[int, int], float, str]:
    """What the network sees, the share of the resized image that it is, and the crop mode."""
    shortest, (tall, wide) = _sides(said.get("size", 224))
    cropped = said.get("do_center_crop") and said.get("crop_size")
    if cropped:
        side, (height, width) = _sides(said["crop_size"])
        height, width = (side, side) if side else (height, width)
        whole = shortest or tall
        return (height, width), height / whole, "center" if shortest else "squash"
    if not shortest:
        return (tall, wide), 1.0, "squash"
    share = said.get("crop_pct")
    if share and shortest < LARGE:  # as the processor of ConvNeXt does
        return (shortest, shortest), float(share), "center"
    return (shortest, shortest), 1.0, "squash" if share else "center"


LARGE = 384
"""Side, pixels, from which on a processor with a share resizes without a crop."""


def _sides(size: Any) -> tuple[int, tuple[int, int]]:
    """Shortest edge (0 where both sides are given), and height and width."""
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return int(size["shortest_edge"]), (0, 0)
        return 0, (int(size.get("height", 224)), int(size.get("width", 224)))
    return 0, (int(size), int(size))


def _normalisation(said: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of values in [0, 1], whatever range the processor brings them to."""
    white = (
        255 * float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 255
    )
    normal = said.get("do_normalize", True)
    mean = said.get("image_mean") or HALF if normal else (0.0,) * 3
    std = said.get("image_std") or HALF if normal else (1.0,) * 3
    return tuple(float(m) / white for m in mean), tuple(float(s) / white for s in std)
