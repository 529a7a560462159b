"""A network for images of another size than its architecture is published for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isqrt
from typing import TYPE_CHECKING, Any, cast

from core.errors import ModelError

if TYPE_CHECKING:
    from torch import Size, Tensor, nn

    from core.models.architecture import Architecture

KEPT, SCALED = "kept", "scaled"
"""Windows of attention as the network was built with them, or grown with the image."""


def at_size(
    name: str,
    parts: Architecture,
    size: tuple[int, int],
    state: Mapping[str, Tensor] | None = None,
    windows: str = "",
) -> Architecture:
    """An architecture for images of another size.

    A network can be built for a size, or built for its own and then set to it. Where that gives
    tensors of other shapes the file says which it was; where all tensors are alike and yet the
    two are not (windows of attention that grow with the image, or stay), no tensor does:
    ``windows`` decides, and what was assumed is a note.

    Parameters
    ----------
    size : height and width, pixels.
    state : tensors of the checkpoint that it is for; None for the architecture's own.
    windows : KEPT or SCALED; KEPT, which is what training scripts do, where nothing was said.

    Raises
    ------
    ModelError
        If the network cannot take that size.
    """
    network, built, notes = parts.network, _outline(parts, size), parts.notes
    preprocess = replace(parts.preprocess, input_size=size)
    own = network.state_dict()
    resized(name, network, size)
    if built is not None and _is_meant(built, network, state):
        network = _built(parts, size)
    elif built is not None and _differ_unseen(built, network):
        preprocess = replace(preprocess, windows=windows or KEPT)
        notes = (*notes, *((_assumed(size),) if not windows else ()))
        if preprocess.windows == KEPT:
            network = _built(parts, size)
            network.load_state_dict(own)
    return replace(parts, network=network, preprocess=preprocess, notes=notes)


def _assumed(size: tuple[int, int]) -> str:
    """Which of two networks was taken, and how the other is asked for."""
    return (
        f"At {size[0]} x {size[1]} pixels this is one of two networks, and weights do not say "
        "which: its windows of attention are taken as create_model(img_size=…) keeps them; "
        "--windows scaled is the network that set_input_size makes."
    )


def _built(parts: Architecture, size: tuple[int, int]) -> nn.Module:
    assert parts.built is not None
    return parts.built(size).eval()


def _outline(parts: Architecture, size: tuple[int, int]) -> nn.Module | None:
    """The network built for a size, without its values; None where it cannot be."""
    import torch

    if parts.built is None:
        return None
    try:
        with torch.device("meta"):
            return parts.built(size)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # it has no such option, or no such size


def _shapes(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Size]:
    return {name: tensor.shape for name, tensor in tensors}


def _is_meant(built: nn.Module, network: nn.Module, state: Mapping[str, Tensor] | None) -> bool:
    """Whether a file's tensors have the shapes of one network where another has others."""
    mine, other = (_shapes(each.state_dict().items()) for each in (built, network))
    apart = {name: shape for name, shape in mine.items() if shape != other.get(name)}
    theirs = {name: tensor_called(name, state or {}) for name in apart}
    return bool(apart) and all(
        tensor is not None and tensor.shape == apart[name] for name, tensor in theirs.items()
    )


def _differ_unseen(built: nn.Module, network: nn.Module) -> bool:
    """Whether two networks have the same tensors in a file, but others that are in none.

    That these tell the two apart is tested by their outputs, over families of timm.
    """
    seen = [_shapes(each.state_dict().items()) for each in (built, network)]
    unseen = [_shapes(each.named_buffers()) for each in (built, network)]
    return seen[0] == seen[1] and unseen[0] != unseen[1]


def tensor_called(name: str, state: Mapping[str, Tensor]) -> Tensor | None:
    """A tensor of a file by its name, whatever stands before it there."""
    return next((t for key, t in state.items() if f".{key}".endswith(f".{name}")), None)


POSITIONS = ("pos_embed", "encoder.pos_embedding")
"""What networks of timm and of torchvision call the embedding of positions, (1, tokens, D)."""


def size_of(network: nn.Module, state: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """Height and width of the images that a checkpoint's positions are of.

    None where they are those of the network, or it has none.
    """
    for name in POSITIONS:
        mine = dict(network.named_parameters()).get(name)
        theirs = tensor_called(name, state)
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
