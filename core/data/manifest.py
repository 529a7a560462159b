"""Images named by a table: a CSV or Parquet file with one row per image."""

from __future__ import annotations

import csv
import os
import posixpath
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from core.data.column_names import ALIASES, split_cells, with_our_names
from core.data.far_images import address_of, is_there, require_all_allowed
from core.data.parquet_pictures import picture_column, read_pictures
from core.data.several_labels import (
    against_rest,
    joined,
    of_one_hot,
    refuse_several,
    several_rows,
)
from core.data.source import NAME, Asked, Source
from core.data.table import BOX, MASKS, Listing, mask_columns, part_masks, some
from core.errors import DataError
from core.storage.bucket import is_address
from core.storage.class_list import classes_beside
from core.storage.spreadsheet import Form, form_of
from core.types import TRAIN, count_of

SUFFIXES = (".csv", ".tsv", ".parquet")
TEXT = ("path", "label", "split", *MASKS)
"""Columns read as text whatever they look like, so that the label 007 stays 007."""

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
"""Cells of an attribute that hold no value. A label NA is a label."""

PROBED = 100
"""Rows whose file is looked for before the whole manifest is believed."""


def read_manifest(file: Path, *, root: Path | None = None, target: str = "") -> Listing:
    """List the images of a manifest.

    Columns ``path`` and ``label`` are needed; ``split``, ``object_mask``, ``cue_mask`` and the box
    ``x_min, y_min, x_max, y_max`` (pixels of the upright image, or shares of its sides) are
    optional, and so are masks of annotated object parts, a column ``part_mask_NAME`` for each;
    names that people use for them are understood (:mod:`core.data.column_names`), and said. Every
    other column is an attribute and keeps its type. Without a split column all images are
    ``train``. The order of the classes is that of the categories of the label, in Parquet, else
    what a file beside the manifest says (:data:`core.storage.class_list.OWN`). Rows are
    counted from 1 below the header.

    Parameters
    ----------
    file : the manifest, ``.csv`` or ``.tsv`` (UTF-8, or UTF-16 with its mark; comma, semicolon or
        tab) or ``.parquet``.
    root : folder the relative paths start from; the manifest's own folder if None.
    target : where images have several labels, the class that is audited against its rest.

    Raises
    ------
    DataError
        If the file cannot be parsed, a needed column or value is missing, a box is no box, or
        none of the files exists below the root. The message names rows and remedy.
    """
    frame, notes = with_our_names(_load(file))
    notes += () if _is_parquet(file) else form_of(file).notes
    frame, order, said = _one_label(file, frame, target)
    notes += said
    _need_columns(file, frame)
    frame, said = _without_reserved(frame)
    notes += said
    frame, said = _without_empty_rows(frame)
    notes += said
    for name in (*TEXT, *part_masks(frame.columns)):
        if name in frame.columns:
            frame[name] = _text(frame[name])
    base = (root or file.parent).absolute()
    for name in ("path", "label", "split"):
        _need_values(file, frame, name)
    if "split" in frame.columns:
        frame["split"], said = split_cells(frame["split"])
        notes += said
    else:
        frame["split"] = TRAIN
    notes += _relative_paths(frame, base)
    _check_boxes(file, frame)
    notes += _probe(file, frame, base)
    order = order or classes_beside(file.parent)
    return Listing(root=base, frame=frame, notes=tuple(notes), order=order, target=target)


def _one_label(
    file: Path, frame: pd.DataFrame, target: str
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """One label an image, the data set's own order of all classes, and what was understood."""
    known, own = (*TEXT, *BOX, *part_masks(frame.columns)), tuple[str, ...]()
    if "label" in frame.columns:
        own = _own_order(frame["label"])
        frame = frame.assign(label=joined(frame["label"]))
    if "path" not in frame.columns:
        return frame, own, []
    if not target:
        frame, columns = of_one_hot(frame, known)
        if columns:
            return frame, columns, [f"Columns of 0 and 1 are the classes: {some(list(columns))}."]
        refuse_several(file, frame, known)
        said = several_rows(frame, file) if "label" in frame.columns else ()
        return frame, own, list(said)
    frame, classes, notes = against_rest(file, frame, target, known)
    beside = classes_beside(file.parent)
    return frame, beside if set(beside) >= set(classes) else classes, notes


def _own_order(labels: pd.Series[Any]) -> tuple[str, ...]:
    """The order of the categories that a column of Parquet has; () of any other column."""
    if not isinstance(labels.dtype, pd.CategoricalDtype):
        return ()
    return tuple(map(str, labels.dtype.categories))


def _is_parquet(file: Path) -> bool:
    return file.suffix.lower() == ".parquet"


def _load(file: Path) -> pd.DataFrame:
    parquet = _is_parquet(file)
    reader: Callable[[Path], Any] = pd.read_parquet if parquet else _load_csv
    try:
        frame: pd.DataFrame = reader(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except (OSError, ValueError, ImportError) as error:
        why = "it is no Parquet file, or damaged" if parquet else str(error)
        raise DataError(
            f"{file} cannot be read as a table: {why}; a manifest is a comma-separated .csv or a "
            ".parquet file with the columns path and label"
        ) from error
    return frame.reset_index(drop=True)


def _load_csv(file: Path) -> pd.DataFrame:
    form = form_of(file)
    how: dict[str, Any] = {"encoding": form.encoding, "sep": form.separator}
    header = pd.read_csv(file, nrows=0, **how).columns
    known = {*TEXT, *(name for ours in TEXT for name in ALIASES.get(ours, ()))}
    text = {name: str for name in header if name.strip().lower() in known}
    missing = {name: [""] if name in text else list(MISSING) for name in header}
    _refuse_long_rows(file, form, len(header))
    return pd.read_csv(
        file,
        **how,
        decimal=form.decimal,
        dtype=text,
        keep_default_na=False,
        na_values=missing,
        index_col=False,
        low_memory=False,
    )


def _refuse_long_rows(file: Path, form: Form, width: int) -> None:
    """Raise DataError where a row says something behind the last column: it would be lost."""
    long = []
    with file.open(encoding=form.encoding, newline="") as stream, suppress(csv.Error):
        rows = (row for row in csv.reader(stream, delimiter=form.separator) if row)
        long = [number for number, row in enumerate(rows) if any(row[width:])]
    if long:
        raise DataError(
            f"{file}: rows {some([str(number) for number in long])} have more cells than the "
            "header; put quotes around cells that hold the mark between cells (row 1 is the first "
            "below the header)"
        )


def _need_columns(file: Path, frame: pd.DataFrame) -> None:
    missing = [name for name in ("path", "label") if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns)) or "none"
        raise DataError(
            f"{file} has no column {' and '.join(missing)}; its columns are: {found}. "
            "Rename the right ones; a .csv is separated by commas, semicolons or tabs"
        )
    box = [name for name in BOX if name in frame.columns]
    if box and len(box) < len(BOX):
        raise DataError(
            f"{file} has only {', '.join(box)} of a box; give all of {', '.join(BOX)} or none"
        )


def _without_empty_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out rows without any cell, as spreadsheets write them below a table."""
    empty = (frame.isna() | (frame.astype("object") == "")).all(axis="columns")
    if not empty.any():
        return frame, []
    kept = frame[~empty].reset_index(drop=True)
    return kept, [
        f"{count_of(int(empty.sum()), 'empty row is', 'empty rows are')} left out of the manifest."
    ]


def _without_reserved(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out columns that are no attributes: our ids and saved row numbers."""
    columns = [str(name) for name in frame.columns]
    dropped = [name for name in columns if name == "image_id" or name.startswith("Unnamed: ")]
    frame = frame.set_axis(columns, axis="columns").drop(columns=dropped)
    notes = [f"Columns of the manifest left out: {some(dropped)}."] if dropped else []
    return frame, notes


def _text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text of every value, empty where there is none."""
    return column.astype("object").where(column.notna(), "").map(_cell).astype("str")


def _cell(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _need_values(file: Path, frame: pd.DataFrame, name: str) -> None:
    if name not in frame.columns:
        return
    _refuse(
        file,
        (frame[name].str.strip() == "").to_numpy(dtype=bool),
        f"have no {name}",
        "fill them in or remove the rows",
    )


def _refuse(file: Path, wrong: np.ndarray[Any, np.dtype[np.bool_]], what: str, fix: str) -> None:
    if wrong.any():
        rows = [str(row) for row in np.flatnonzero(wrong) + 1]
        raise DataError(
            f"{file}: rows {some(rows)} {what}; {fix} (row 1 is the first below the header)"
        )


def _relative_paths(frame: pd.DataFrame, base: Path) -> list[str]:
    """Make ``path`` and the mask columns tidy POSIX paths relative to the root, in place."""
    turned = 0

    def tidy(text: str) -> str:
        nonlocal turned
        if is_address(text):
            return text
        if "\\" in text and os.sep == "/" and not os.path.exists(base / text):
            text = text.replace("\\", "/")
            turned += 1
        if os.path.isabs(text):
            text = Path(os.path.relpath(text, base)).as_posix()
        return posixpath.normpath(text) if text.strip() else ""

    for name in ("path", *mask_columns(frame.columns)):
        frame[name] = frame[name].map(tidy)
    return [f"Backslashes of {count_of(turned, 'path')} are read as slashes."] if turned else []


def _check_boxes(file: Path, frame: pd.DataFrame) -> None:
    """Turn the box columns into float64, in place; every row has a whole box or none."""
    if BOX[0] not in frame.columns:
        return
    for name in BOX:
        numbers = pd.to_numeric(frame[name], errors="coerce").astype("float64")
        wrong = (frame[name].notna() & ~np.isfinite(numbers)).to_numpy(dtype=bool)
        _refuse(file, wrong, f"have no number as {name}", "give pixels or leave all four empty")
        frame[name] = numbers
    box = frame[list(BOX)].to_numpy(dtype=np.float64)
    missing = np.isnan(box).sum(axis=1)
    half = (missing > 0) & (missing < len(BOX))
    _refuse(file, half, "have a part of a box", f"give all of {', '.join(BOX)} or none")
    flat = (box[:, 2] <= box[:, 0]) | (box[:, 3] <= box[:, 1])
    _refuse(file, flat, "have an empty box", "x_max must exceed x_min and y_max exceed y_min")


def _probe(file: Path, frame: pd.DataFrame, base: Path) -> list[str]:
    """Refuse a manifest none of whose files is there; says it of some."""
    if frame.empty:
        raise DataError(f"{file} has a header but no rows; add one row per image")
    step = max(1, len(frame) // PROBED)
    paths = frame["path"].iloc[::step]
    require_all_allowed(frame["path"])
    lacking = [path for path in paths if not _exists(base / path)]
    if len(lacking) == len(paths):
        raise DataError(
            f"{file}: no file such as {paths.iloc[0]} exists below {base}; paths start from the "
            "manifest's folder, or give the folder the data was moved to as data root"
        )
    if not lacking:
        return []
    return [
        f"Of {len(paths)} files looked at, {count_of(len(lacking), 'is', 'are')} not there: "
        f"{some(lacking)}."
    ]


def _exists(path: Path) -> bool:
    return is_there(path) if address_of(path) else os.path.exists(path)


def save_manifest(frame: pd.DataFrame, file: Path) -> Path:
    """Write a table of images as a manifest, so that an audit can be asked for with its path.

    Parameters
    ----------
    frame : with ``path`` and ``label``; relative paths start from the folder of the file.
    file : ends in ``.parquet``.
    """
    if file.suffix.lower() != ".parquet":
        raise DataError(f"{file}: the name of a saved manifest must end in .parquet")
    frame.reset_index(drop=True).to_parquet(file, index=False)
    return file


def _read(asked: Asked) -> Listing:
    file = Path(asked.name)
    if set(asked.options) - {"class"}:
        raise DataError(f"manifest:{file} takes the option class=NAME")
    if asked.moved and not file.is_file():
        file = asked.moved / file.name
    if target := unquote(asked.options.get("class", "")):
        return read_manifest(file, root=asked.moved, target=target)
    column = picture_column(file) if file.suffix.lower() == ".parquet" else None
    if column is not None:
        return read_pictures(file, [file], asked.workspace, asked.report)
    return read_manifest(file, root=asked.moved)


MANIFEST = Source(
    name="manifest",
    form="a manifest (.csv, .tsv or .parquet with path and label)",
    text="One row per image; split, object_mask, cue_mask, part_mask_NAME and a box are known "
    "columns, every other one is an attribute. Where images have several labels, "
    "manifest:FILE?class=NAME for one class against its rest.",
    read=_read,
    takes=lambda path: path.suffix.lower() in SUFFIXES and path.is_file(),
    paths=(NAME,),
)
