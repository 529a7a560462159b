"""Images as the encoder sees them, with labels and masks: what a network is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.data.decode import read_image
from core.data.masks import box_mask, crop_mask, read_mask
from core.data.preprocess import apply, as_seen
from core.data.table import BOX
from core.errors import InputError
from core.types import BoolArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from core.types import Preprocess

Row = Mapping[str, object]
"""One row of an image table; see ``ImageTable.frame``."""


@dataclass(frozen=True)
class Examples:
    """Decoded images with what is known about each.

    Raises
    ------
    InputError
        If the arrays do not fit together.
    """

    pixels: NDArray[np.uint8]
    """(N, h, w, 3), what the encoder sees."""
    labels: IntArray
    """(N,) output of each image in the head."""
    objects: BoolArray | None = None
    """(N, h, w) where the object is; all False where an image has no mask."""
    cues: BoolArray | None = None
    """(N, h, w) where the spurious cue is; all False where an image has none."""
    groups: IntArray | None = None
    """(N,) group of each image, for the accuracy of the worst group."""

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if len(shape) != 4 or shape[3] != 3 or self.pixels.dtype != np.uint8:
            raise InputError(f"images {shape} of {self.pixels.dtype}: give uint8 (N, h, w, 3)")
        wanted = {"labels": shape[:1], "groups": shape[:1], "objects": shape[:3], "cues": shape[:3]}
        for name, size in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != size:
                raise InputError(f"{name} {value.shape} of images {shape}: give {size}")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: IntArray | BoolArray) -> Examples:
        """Some of the images."""
        return Examples(
            self.pixels[rows],
            self.labels[rows],
            None if self.objects is None else self.objects[rows],
            None if self.cues is None else self.cues[rows],
            None if self.groups is None else self.groups[rows],
        )

    def with_objects(self, method: str) -> IntArray:
        """Rows that have an object mask; ``method`` is named where there is none.

        Raises
        ------
        InputError
            If no image has one.
        """
        return _rows_with(self.objects, method, "object_mask, or a box x_min,y_min,x_max,y_max")

    def with_cues(self, method: str) -> IntArray:
        """Rows that have a cue mask; raises like :meth:`with_objects`."""
        return _rows_with(self.cues, method, "cue_mask")


def _rows_with(masks: BoolArray | None, method: str, column: str) -> IntArray:
    rows = np.flatnonzero(masks.any(axis=(1, 2))) if masks is not None else np.zeros(0, np.int64)
    if not len(rows):
        raise InputError(
            f"{method} needs masks and no training image has one: add the column {column} to the "
            "manifest, or choose a method that needs none"
        )
    return rows.astype(np.int64)


def annotated(rows: IntArray, labels: IntArray, fraction: float, *, seed: int = 0) -> IntArray:
    """A random ``fraction`` of the rows that have a mask, the same share of every class.

    At least one row of each class that has any; smaller fractions are parts of larger ones.

    Parameters
    ----------
    rows : positions of the images with masks.
    labels : (N,) of all images.
    fraction : above 0 and at most 1.

    Raises
    ------
    InputError
        If the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"fraction {fraction}: must be above 0 and at most 1")
    rng = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels[rows]):
        mine = rng.permutation(rows[labels[rows] == label])
        kept.append(mine[: max(1, round(fraction * len(mine)))])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def read_examples(
    rows: Sequence[Row],
    root: Path,
    preprocess: Preprocess,
    labels: IntArray,
    *,
    groups: IntArray | None = None,
    report: Reporter = silent,
) -> Examples:
    """Decode images with their masks; a box stands in where an image has no ``object_mask``.

    Parameters
    ----------
    rows : of the image table, ``frame.to_dict("records")``.
    root : folder their paths start from.
    labels : (N,) output of each image in the head.

    Raises
    ------
    DataError
        If an image or a mask cannot be read; the message names it.
    """
    n, size = len(rows), preprocess.input_size
    pixels = np.zeros((n, *size, 3), np.uint8)
    objects, cues = np.zeros((n, *size), bool), np.zeros((n, *size), bool)
    for i, row in enumerate(rows):
        path = root / str(row["path"])
        image = read_image(path, levels=preprocess.black_and_white).image
        small = preprocess.shrink
        pixels[i] = as_seen(preprocess, path)[0] if small else apply(preprocess, image)
        objects[i] = _object_of(row, root, image, preprocess)
        cues[i] = _mask_of(row, "cue_mask", root, image, preprocess)
        if i % 32 == 0:
            report(Progress("Reading training images", i, n))
    report(Progress("Reading training images", n, n))
    return Examples(
        pixels, labels, objects if objects.any() else None, cues if cues.any() else None, groups
    )


def _object_of(row: Row, root: Path, image: Image.Image, preprocess: Preprocess) -> BoolArray:
    mask = _mask_of(row, "object_mask", root, image, preprocess)
    box = tuple(float(str(row.get(side, "nan"))) for side in BOX)
    if mask.any() or not np.isfinite(box).all():
        return mask
    left, top, right, bottom = box
    return crop_mask(box_mask((left, top, right, bottom), image.width, image.height), preprocess)


def _mask_of(
    row: Row, column: str, root: Path, image: Image.Image, preprocess: Preprocess
) -> BoolArray:
    path = row.get(column)
    if not isinstance(path, str) or not path:
        return np.zeros(preprocess.input_size, bool)
    return crop_mask(read_mask(root / path, image.size), preprocess)
