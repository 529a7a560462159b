"""What people call the columns of a table of images, and what their cells mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.data.split_names import KINDS, NUMBERED, split_name
from core.data.table import BOX, some

ALIASES: Mapping[str, tuple[str, ...]] = {
    "path": (
        *("img_filename", "image_path", "img_path", "file_path", "filepath", "file_name"),
        *("filename", "image", "img", "file", "image_name", "image_file", "relative_path"),
        *("image index", "image_index"),
    ),
    "label": (
        *("y", "class", "class_name", "category", "target", "label_name", "classname"),
        *("class_label", "species", "diagnosis", "dx", "labels"),
        *("finding labels", "finding_labels", "finding label"),
    ),
    "split": ("set", "subset", "fold", "partition", "phase", "data_split", "dataset_split"),
    "object_mask": ("mask", "mask_path", "segmentation", "mask_filename"),
}
"""Other names, small letters, of the columns that have a meaning, the likeliest first."""

CORNERS: Sequence[tuple[str, str, str, str]] = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("bbox_x_min", "bbox_y_min", "bbox_x_max", "bbox_y_max"),
)
"""Columns of a box by two corners."""

SIZED: Sequence[tuple[str, str, str, str]] = (
    ("x", "y", "w", "h"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("x", "y", "box_width", "box_height"),
)
"""Columns of a box by its upper left corner and its size (COCO)."""

CENTRED: Sequence[tuple[str, str, str, str]] = (
    ("x_center", "y_center", "width", "height"),
    ("x_center", "y_center", "box_width", "box_height"),
    ("xc", "yc", "w", "h"),
    ("cx", "cy", "w", "h"),
)
"""Columns of a box by its centre and its size (YOLO)."""


def with_our_names(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """A table whose columns bear our names, and what was understood so, in sentences."""
    taken: dict[str, str] = {}
    by_name = {str(name).strip().lower(): str(name) for name in frame.columns}
    for ours, others in ALIASES.items():
        if ours in frame.columns:
            continue
        found = next((name for name in (ours, *others) if name in by_name), None)
        if found is not None and by_name[found] not in taken:
            taken[by_name[found]] = ours
    frame, notes = _with_boxes(frame.rename(columns=taken), by_name)
    if taken:
        pairs = [f"{theirs} as {ours}" for theirs, ours in taken.items()]
        notes.insert(0, f"Columns of the manifest are read so: {some(pairs)}.")
    return frame, notes


def _with_boxes(frame: pd.DataFrame, by_name: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """A table whose box columns, if it has such of another kind, are two corners."""
    if any(name in frame.columns for name in BOX):
        return frame, []
    for kind, known in (("corners", CORNERS), ("sizes", SIZED), ("centres", CENTRED)):
        names = next((four for four in known if all(n in by_name for n in four)), None)
        if names is not None:
            theirs = [by_name[name] for name in names]
            numbers = frame[theirs].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
            box = pd.DataFrame(_corners(numbers, kind), columns=list(BOX), index=frame.index)
            note = f"Boxes are read from the columns {', '.join(theirs)}, as {WORDS[kind]}."
            return pd.concat([frame.drop(columns=theirs), box], axis="columns"), [note]
    return frame, []


WORDS = {
    "corners": "left, top, right and bottom",
    "sizes": "the upper left corner, width and height",
    "centres": "the centre, width and height",
}
"""Ways to write a box, in words."""


def _corners(numbers: np.ndarray, kind: str) -> np.ndarray:
    """Left, top, right, bottom (n, 4) of boxes (n, 4) of a kind."""
    first, second = numbers[:, :2], numbers[:, 2:]
    if kind == "corners":
        return numbers
    start = first if kind == "sizes" else first - second / 2
    return np.concatenate([start, start + second], axis=1)


def split_cells(cells: pd.Series) -> tuple[pd.Series, list[str]]:
    """Splits of a column by our names, and what was understood so, in sentences.

    Whole words only: a cell may be any name. Numbers 0, 1 and 2 are train, val and test where there
    is nothing else.
    """
    lower = cells.str.strip().str.lower()
    found = set(lower)
    numbers = {f"{name}.0": name for name in NUMBERED} | {name: name for name in NUMBERED}
    if found and found <= set(numbers) and any(numbers[cell] == "0" for cell in found):
        meant = {cell: NUMBERED[numbers[cell]] for cell in found}
    else:
        kinds = {word: kind for kind, words in KINDS.items() for word in words}
        meant = {cell: split_name(cell, kinds.get(cell)) for cell in found}
    changed = [f"{cell} as {ours}" for cell, ours in sorted(meant.items()) if cell != ours]
    notes = [f"Splits of the manifest are read so: {some(changed)}."] if changed else []
    return lower.map(meant).astype("str"), notes
