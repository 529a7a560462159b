"""Masks and boxes of a data set, looked at before an audit: read by which rule, and plausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.data.decode import upright_size
from core.data.masks import box_mask, read_mask, rule_of
from core.data.table import BOX, mask_columns
from core.errors import DataError, UnreadableImageError
from core.types import count_of

if TYPE_CHECKING:
    import pandas as pd

    from core.types import ImageTable

SAMPLE = 50
"""Masks of a column that are looked at, and boxes."""

FULL = 0.999
"""Share of an image from which on a mask or a box covers everything."""


def are_fractions(frame: pd.DataFrame) -> bool:
    """Whether boxes are given as shares of width and height: no side of any lies beyond 1."""
    if BOX[0] not in frame.columns:
        return False
    sides = frame[list(BOX)].to_numpy(np.float64)
    sides = sides[np.isfinite(sides).all(axis=1)]
    return bool(len(sides)) and bool(sides.min() >= 0) and bool(sides.max() <= 1)


def in_pixels(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of images whose boxes are pixels of the upright image.

    Parameters
    ----------
    frame : with ``width`` and ``height``.
    """
    if not are_fractions(frame):
        return frame
    sides = {"x": frame["width"], "y": frame["height"]}
    return frame.assign(**{name: frame[name] * sides[name[0]] for name in BOX})


def region_notes(table: ImageTable) -> tuple[str, ...]:
    """How masks and boxes are read, and which of a sample cover everything or nothing.

    Raises
    ------
    DataError
        If no mask of the sample can be read.
    """
    notes = [
        note for column in mask_columns(table.frame.columns) for note in _mask_notes(table, column)
    ]
    return (*notes, *_box_notes(table))


def _mask_notes(table: ImageTable, column: str) -> Iterator[str]:
    frame = table.frame
    if column not in frame.columns or not (given := frame[frame[column] != ""]).size:
        return
    rules, odd = Counter[str](), Counter[str]()
    first: DataError | None = None
    seen = given.iloc[:: max(1, len(given) // SAMPLE)]
    for path, mask in zip(seen["path"], seen[column], strict=True):
        try:
            size = upright_size(table.root / path)
            share = float(read_mask(table.root / mask, size).mean())
        except UnreadableImageError:
            continue
        except DataError as error:
            first = first or error
            odd["cannot be read"] += 1
            continue
        rules[rule_of(table.root / mask)] += 1
        odd["cover the whole image"] += share >= FULL
        odd["cover nothing of it"] += share == 0
    if first is not None and not rules:
        raise first
    if rules:
        yield f"Inside a mask ({column}) is {' or '.join(sorted(rules))}."
    said = ", ".join(f"{n} {what}" for what, n in odd.items() if n)
    if said:
        reason = f" ({first})" if first else ""
        yield f"Of {count_of(len(seen), 'mask')} looked at ({column}), {said}{reason}."


def _box_notes(table: ImageTable) -> Iterator[str]:
    frame = table.frame
    if BOX[0] not in frame.columns or not (given := frame[frame[BOX[0]].notna()]).size:
        return
    shares = are_fractions(frame)
    if shares:
        yield "Boxes are read as shares of width and height: no side of any lies beyond 1."
    odd: Counter[str] = Counter()
    seen = given.iloc[:: max(1, len(given) // SAMPLE)]
    for path, *sides in seen[["path", *BOX]].itertuples(index=False):
        if (what := _box_problem(table.root / path, sides, shares=shares)) is not None:
            odd[what] += 1
    if said := ", ".join(f"{n} {what}" for what, n in odd.items()):
        yield (
            f"Of {count_of(len(seen), 'box', 'boxes')} looked at, {said}: are they pixels of the "
            "upright image?"
        )


def _box_problem(path: Path, sides: list[float], *, shares: bool) -> str | None:
    """What is odd about a box; None where nothing is, or its image cannot be read."""
    try:
        width, height = upright_size(path)
    except UnreadableImageError:
        return None
    scale = (width, height, width, height) if shares else (1, 1, 1, 1)
    left, top, right, bottom = (side * unit for side, unit in zip(sides, scale, strict=True))
    share = float(box_mask((left, top, right, bottom), width, height).mean())
    if share == 0:
        return "lie outside of their image"
    if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
        return "reach beyond their image"
    return "cover the whole image" if share >= FULL else None
