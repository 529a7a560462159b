"""Tables whose images have several labels each, read as one class against its rest.

Three ways to write it are understood: labels of one cell with a mark between them (or a list, in
Parquet), an image that has several rows, and a column per class that says 0 or 1 (or -1 and 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.data.split_names import kind_of
from core.data.table import some
from core.errors import DataError
from core.types import BoolArray, count_of

MARKS = ("|", ";", ",")
"""What stands between the labels of one cell, the most telling first."""

ABSENT, UNCERTAIN = 0, -1
"""In a column per class; -1 beside 0 and 1 says that nobody could tell (Irvin et al. 2019)."""

CLEAN = frozenset({"no finding", "no findings", "nofinding", "none", "normal", "healthy"})
"""Labels, small letters, that say that an image has none of the others."""


def rest_of(target: str) -> str:
    """What the class of all other images is called."""
    return f"not {target}"


def joined(labels: pd.Series[Any]) -> pd.Series[Any]:
    """Cells that are lists as one text each."""
    return labels.map(
        lambda cell: MARKS[0].join(map(str, cell)) if isinstance(cell, list | np.ndarray) else cell
    )


def mark_in(labels: Sequence[str]) -> str:
    """What stands between labels, where cells hold several; empty where they hold one.

    A mark counts where, in most cells that have it, every part is a cell of its own as well, or for
    the bar a part of other cells: a name with a comma has words of its own.
    """
    cells = set(map(str, labels))
    for mark in MARKS:
        parts = Counter(part for cell in cells for part in set(_parts(cell, mark)))
        several = [_parts(cell, mark) for cell in cells if mark in cell]
        met = {part for part, n in parts.items() if part in cells or (mark == "|" and n > 1)}
        known = [met.issuperset(cell) for cell in several]
        if known and sum(known) * 2 > len(known):
            return mark
    return ""


def _parts(cell: str, mark: str) -> list[str]:
    return [part for part in (text.strip() for text in str(cell).split(mark)) if part]


def indicators(frame: pd.DataFrame, known: Sequence[str]) -> list[str]:
    """Columns that say of a class whether an image has it.

    Parameters
    ----------
    known : columns with another meaning.
    """
    others = [str(n) for n in frame.columns if n not in known and kind_of(str(n)) is None]
    return [name for name in others if _says_it(frame[name])]


def _says_it(column: pd.Series[Any]) -> bool:
    found = {_number(value) for value in column.dropna().unique()}
    return 1 in found and found <= {-1, 0, 1} and len(found | {ABSENT}) > 1


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def of_one_hot(frame: pd.DataFrame, known: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A table without labels whose every row has just one 1 in its columns per class, with them.

    The second is the classes in the order of the columns; () where the table is left as it is: also
    where a column of words is there, which might be the class.
    """
    words = [n for n in frame.columns if n not in known and frame[n].dtype.kind not in "biuf"]
    if words:
        return frame, ()
    columns = () if "label" in frame.columns else tuple(indicators(frame, known))
    said = frame[list(columns)].to_numpy(np.float64) == 1
    if len(columns) < 2 or not (said.sum(axis=1) == 1).all():
        return frame, ()
    labels = np.array(columns, dtype=object)[said.argmax(axis=1)]
    return frame.drop(columns=list(columns)).assign(label=labels), columns


def refuse_several(file: Path, frame: pd.DataFrame, known: Sequence[str]) -> None:
    """Raise DataError where images have several labels and no class was chosen."""
    if "label" not in frame.columns:
        columns = indicators(frame, known)
        if len(columns) > 1:
            why = "no column is called label; columns of 0 and 1 may say which classes an image has"
            raise _choose(file, why, columns)
    elif mark := mark_in(frame["label"].dropna().astype(str).tolist()):
        cells = frame["label"].dropna().astype(str)
        classes = sorted({part for cell in cells.unique() for part in _parts(cell, mark)})
        raise _choose(file, f"cells hold several labels with {mark} between them", classes)


def _choose(file: Path, why: str, classes: Sequence[str]) -> DataError:
    return DataError(
        f"{file}: {why} ({some(classes)}): audit one class against its rest, "
        f"manifest:{file}?class={classes[0]}"
    )


def several_rows(frame: pd.DataFrame, file: Path) -> Iterator[str]:
    """Says of a table without a chosen class that images have several rows with other labels."""
    if (frame.groupby("path")["label"].nunique() > 1).any():
        yield (
            "Where several labels of an image count, audit one class against its rest: "
            f"manifest:{file}?class=NAME."
        )


def against_rest(
    file: Path, frame: pd.DataFrame, target: str, known: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """A table of one class against its rest, all classes in their order, and what was understood.

    Every image has one row. Other classes become attributes where the table has no such column.

    Raises
    ------
    DataError
        If no image, or every image, has the class.
    """
    if "label" in frame.columns and not _says_it(frame.get(target, pd.Series(dtype=float))):
        frame, has, classes = _of_cells(file, frame, target)
        notes = list[str]()
    else:
        frame, has, classes, notes = _of_column(file, frame, target, known)
    positive = int(has.sum())
    if positive == len(has):
        raise DataError(f"{file}: every image is {target!r}; a class is audited against its rest")
    notes.append(
        f"One class against its rest: {positive:,} of {len(has):,} images have {target!r}."
    )
    return frame.assign(label=np.where(has, target, rest_of(target))), classes, notes


def _of_cells(
    file: Path, frame: pd.DataFrame, target: str
) -> tuple[pd.DataFrame, BoolArray, tuple[str, ...]]:
    """From labels in cells, of one row or of several rows an image."""
    cells = frame["label"].fillna("").astype(str)
    inside = (m for m in MARKS if any(target in _parts(c, m) for c in cells.unique() if m in c))
    mark = mark_in(cells.tolist()) or next(inside, "")
    labels = cells.map(lambda cell: set(_parts(cell, mark)) if mark else {cell.strip()} - {""})
    of_image = labels.groupby(frame["path"]).agg(lambda sets: set().union(*sets))
    frame = frame.drop_duplicates("path").reset_index(drop=True)
    sets = [of_image[path] for path in frame["path"]]
    classes = tuple(sorted(set().union(*sets)))
    if target not in classes:
        raise _unknown(file, target, classes)
    others = {c: [c in found for found in sets] for c in classes if c not in (target, *frame)}
    return (
        frame.assign(**others) if len(classes) > 2 else frame,
        np.array([target in found for found in sets]),
        classes,
    )


def _of_column(
    file: Path, frame: pd.DataFrame, target: str, known: Sequence[str]
) -> tuple[pd.DataFrame, BoolArray, tuple[str, ...], list[str]]:
    """From a column per class."""
    classes = tuple(indicators(frame, known))
    if target not in classes:
        raise _unknown(file, target, classes)
    said = pd.to_numeric(frame[target]).fillna(ABSENT).to_numpy(np.float64)
    blank = int(frame[target].isna().sum())
    notes = [f"{count_of(blank, 'empty cell')} of {target!r} read as 0."] if blank else []
    if (said == UNCERTAIN).any() and (said == ABSENT).any():
        sure = said != UNCERTAIN
        left = count_of(int((~sure).sum()), "image is", "images are")
        notes.append(f"{left} left out: -1 is read as uncertain.")
        frame, said = frame[sure].reset_index(drop=True), said[sure]
    return frame.drop(columns=target), said == 1, classes, notes


def _unknown(file: Path, target: str, classes: Sequence[str]) -> DataError:
    return DataError(f"{file} has no class {target!r}; its classes are {some(classes) or 'none'}")


def without_clean(classes: Sequence[str]) -> tuple[str, ...]:
    """Classes without those that say that there is none of the others."""
    return tuple(name for name in classes if name.strip().lower().replace("_", " ") not in CLEAN)
