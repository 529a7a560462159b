"""What a user says of how a network is read, put over what the network says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from typing import TYPE_CHECKING, Any, cast

from core.errors import ModelError
from core.types import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.storage.audit_manifest import Reading


def as_asked(preprocess: Preprocess, reading: Reading | None) -> Preprocess:
    """A network's preprocessing with what the user said of it."""
    if reading is None:
        return preprocess
    said: Mapping[str, Any] = {
        **{"mean": reading.mean, "std": reading.std, "input_size": reading.input_size},
        **{"crop_pct": reading.crop, "crop_mode": reading.crop_mode},
        **{"interpolation": reading.interpolation, "colours": reading.colours},
        "levels": reading.levels,
    }
    return replace(preprocess, **{name: value for name, value in said.items() if value})


POSITIONS = ("pos_embed", "encoder.pos_embedding")
"""What networks of timm and of torchvision call the embedding of positions, (1, tokens, D)."""


def size_of(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Height and width of the images that a checkpoint's positions are of.

    None where they are those of the network, or it has none.
    """
    for name in POSITIONS:
        mine = dict(network.named_parameters()).get(name)
        theirs = next((t for key, t in state.items() if f".{key}".endswith(f".{name}")), None)
        if mine is None or theirs is None or mine.ndim != 3 or theirs.ndim != 3:
            continue
        if (patches := _patches(network)) is None:
            continue
        patch, tokens = patches
        side = isqrt(max(theirs.shape[1] - (mine.shape[1] - tokens), 0))
        alone = theirs.shape[1] - side * side == mine.shape[1] - tokens
        if alone and side and theirs.shape[1:] != mine.shape[1:]:
            return side * patch, side * patch
    return None


def _patches(network: nn.Module) -> tuple[int, int] | None:
    """Side of a patch, pixels, and how many patches there are; None where it does not say so."""
    embed = getattr(network, "patch_embed", None)
    if hasattr(embed, "patch_size") and hasattr(embed, "num_patches"):
        return int(cast(Any, embed).patch_size[0]), int(cast(Any, embed).num_patches)
    if not hasattr(network, "patch_size") or not hasattr(network, "image_size"):
        return None
    patch, side = int(cast(Any, network).patch_size), int(cast(Any, network).image_size)
    return patch, (side // patch) ** 2


def resized(name: str, network: nn.Module, size: tuple[int, int]) -> None:
    """Have a network take images of another size, in place, where it was built for one.

    Raises
    ------
    ModelError
        If the network cannot take that size.
    """
    change = getattr(network, "set_input_size", None)
    try:
        if change is not None:
            change(img_size=size)
        elif hasattr(network, "image_size"):
            _resize_positions(cast(Any, network), size)
    except (AssertionError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{name} cannot take images of {size[0]} x {size[1]} pixels: choose a multiple of its "
            "patches, or leave --input-size out."
        ) from error


def _resize_positions(network: Any, size: tuple[int, int]) -> None:
    """A vision transformer of torchvision for square images of another size."""
    from torchvision.models.vision_transformer import interpolate_embeddings

    if size[0] != size[1] or size[0] % network.patch_size:
        raise ValueError("images must be square and of whole patches")
    key = "encoder.pos_embedding"
    state = interpolate_embeddings(
        size[0], network.patch_size, {key: network.encoder.pos_embedding}
    )
    network.image_size = size[0]
    network.seq_length = state[key].shape[1]
    network.encoder.pos_embedding = type(network.encoder.pos_embedding)(state[key])


def in_words(preprocess: Preprocess) -> str:
    """How images are brought to the network, in a line."""
    size = " x ".join(map(str, preprocess.input_size))
    mean, std = (
        ", ".join(f"{value:.4g}" for value in part) for part in (preprocess.mean, preprocess.std)
    )
    shape = "squeezed to" if preprocess.crop_mode == "squash" else "central crop of"
    share = f" ({preprocess.crop_pct:.4g} of the resized image)" * (preprocess.crop_pct < 1)
    if preprocess.levels:
        std += ", of {:g} (black) to {:.7g} (white)".format(*preprocess.levels)
    order = f", channels {preprocess.colours}" * (preprocess.colours != "rgb")
    return f"{shape} {size}{share}, {preprocess.interpolation}, mean {mean}, std {std}{order}"
