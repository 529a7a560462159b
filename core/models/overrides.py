"""What a user says of how a network is read, put over what the network says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from core.types import Preprocess

if TYPE_CHECKING:
    from torch import nn

    from core.storage.audit_manifest import Reading


def as_asked(preprocess: Preprocess, reading: Reading | None) -> Preprocess:
    """A network's preprocessing with what the user said of it."""
    if reading is None:
        return preprocess
    said: Mapping[str, Any] = {
        **{"mean": reading.mean, "std": reading.std, "input_size": reading.input_size},
        **{"crop_pct": reading.crop, "crop_mode": reading.crop_mode},
        **{"interpolation": reading.interpolation, "colours": reading.colours},
    }
    return replace(preprocess, **{name: value for name, value in said.items() if value})


def resized(name: str, network: nn.Module, size: tuple[int, int]) -> None:
    """Have a network take images of another size, in place, where it was built for one.

    Raises
    ------
    ModelError
        If the network cannot take that size.
    """
    change = getattr(network, "set_input_size", None)
    if change is None:
        return
    try:
        change(img_size=size)
    except (AssertionError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{name} cannot take images of {size[0]} x {size[1]} pixels: choose a multiple of its "
            "patches, or leave --input-size out."
        ) from error


def in_words(preprocess: Preprocess) -> str:
    """How images are brought to the network, in a line."""
    size = " x ".join(map(str, preprocess.input_size))
    mean, std = (
        ", ".join(f"{value:.4g}" for value in part) for part in (preprocess.mean, preprocess.std)
    )
    shape = "squeezed to" if preprocess.crop_mode == "squash" else "central crop of"
    share = f" ({preprocess.crop_pct:.4g} of the resized image)" * (preprocess.crop_pct < 1)
    order = f", channels {preprocess.colours}" * (preprocess.colours != "rgb")
    return f"{shape} {size}{share}, {preprocess.interpolation}, mean {mean}, std {std}{order}"
