"""What a user says of how a network is read, put over what the network says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.types import Preprocess

if TYPE_CHECKING:
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
    windows = f", windows of attention {preprocess.windows}" * bool(preprocess.windows)
    order = f", channels {preprocess.colours}" * (preprocess.colours != "rgb")
    return (
        f"{shape} {size}{share}, {preprocess.interpolation}, mean {mean}, std {std}{order}{windows}"
    )
