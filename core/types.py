"""Values that pass from station to station. Frozen; every field says its shape and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[Any]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TRAIN = "train"
"""The one split name with a meaning: components and statistics are fitted on it."""


class Progress(NamedTuple):
    """One report of a long computation."""

    stage: str
    """What is being done, in words a user reads: "Reading images"."""
    done: int
    total: int
    unit: str = "images"
    values: Mapping[str, float] | None = None
    """Loss and metrics as they stand, by name."""

    @property
    def figures(self) -> str:
        """The values for people: "loss 0.31, accuracy 0.84"; empty where there are none."""
        return ", ".join(f"{name} {value:.3g}" for name, value in (self.values or {}).items())


Reporter = Callable[[Progress], None]
"""Receives progress; numerics never depend on it."""


def silent(_: Progress) -> None:
    """Report nothing."""


class Tag(StrEnum):
    """What a person says about a candidate feature of a class."""

    CORE = "core"
    SPURIOUS = "spurious"
    UNSURE = "unsure"


class Subtype(StrEnum):
    """What kind of spurious a cue is (Singla & Feizi 2022, section 4)."""

    SEPARATE_OBJECT = "separate_object"
    BACKGROUND = "background"


class Kind(StrEnum):
    """Where a candidate feature comes from."""

    PCA = "pca"
    NEURON = "neuron"
    CARRIED = "carried"
    """A direction matched to a tagged candidate of another model."""


@dataclass(frozen=True)
class ImageTable:
    """Every image of a data set, one row each, sorted by label, then path."""

    source: str
    """The DATA argument, with its path made absolute."""
    root: Path
    """Folder that every relative path starts from."""
    frame: pd.DataFrame
    """Columns: ``image_id`` (16 hex digits), ``path`` (POSIX, relative to root), ``label`` (raw),
    ``split``; where the data has them ``object_mask`` and ``cue_mask`` (paths like ``path``, empty
    string where an image has none) and ``x_min, y_min, x_max, y_max`` (object box in source
    pixels of the upright image, NaN where none); then one column per attribute. RangeIndex."""
    attributes: tuple[str, ...] = ()
    """Names of the attribute columns to slice by."""
    notes: tuple[str, ...] = ()
    """Warnings a user should read: a class with one image, a link in a circle."""
    repeated: tuple[tuple[str, ...], ...] = ()
    """Rows for the very same path that were dropped after the first, as (path, detail)."""
    planted: dict[str, Any] = field(default_factory=dict)
    """For rendered data: the planted truth, ``{label: {"cue": attribute, "kind": …, …}}``."""

    @property
    def labels(self) -> list[str]:
        """Distinct raw labels, sorted."""
        return sorted(self.frame["label"].unique().tolist())


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its images; taken from the model's own configuration.

    The upright RGB image is resized so that its shorter side becomes
    ``floor(input_size / crop_pct)`` and cut in the centre to ``input_size``; ``squash`` resizes
    both sides without keeping the aspect ratio. Values in [0, 1] are then normalised with ``mean``
    and ``std`` per channel.
    """

    input_size: tuple[int, int]
    """Height and width of what the encoder sees, pixels."""
    crop_pct: float
    interpolation: str
    """``bicubic``, ``bilinear``, ``nearest`` or ``lanczos``."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_mode: str = "center"
    """``center`` or ``squash``."""
