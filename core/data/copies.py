"""Images written once into the workspace as split/class/file, for sources that are no files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pandas as pd

from core.data.folder import read_folder
from core.data.table import Listing
from core.errors import WorkspaceError
from core.storage.class_list import read_classes
from core.types import Progress, Reporter

EVERY = 100
"""Images between two reports of progress."""

NOTES = ".notes.txt"
"""File in an export that holds its notes, one a line."""

ORDER = ".classes.json"
"""File in an export that lists the classes in the data set's own order."""


class Item(NamedTuple):
    """One image to write."""

    split: str
    label: str
    name: str
    """File name with its ending."""
    data: bytes


def export_once(
    folder: Path,
    items: Iterable[Item],
    *,
    total: int,
    report: Reporter,
    notes: Sequence[str] = (),
    order: Sequence[str] = (),
) -> None:
    """Write images to ``folder/split/class/name``; the folder appears only when complete.

    Parameters
    ----------
    folder : where the images shall be; what another process completed meanwhile is kept.
    items : the images, read one by one.
    total : how many there are, for the progress.
    report : receives the progress.
    notes : what every reader of the export shall know; looked at when all images are written.
    order : labels in the data set's own order, likewise.

    Raises
    ------
    WorkspaceError
        If the workspace cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    except OSError as error:
        raise WorkspaceError(
            f"{folder.parent} cannot be written: {error.strerror}; choose another workspace"
        ) from error
    try:
        for done, item in enumerate(items, start=1):
            _write(_target(unfinished, item), item.data)
            if done % EVERY == 0:
                report(Progress("Exporting images", done, total))
        report(Progress("Exporting images", total, total))
        lines = "\n".join(" ".join(note.split()) for note in notes)
        _write(unfinished / NOTES, lines.encode("utf-8", "backslashreplace"))
        if order:
            _write(unfinished / ORDER, json.dumps(list(order)).encode())
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_export(folder: Path, *, report: Reporter) -> Listing:
    """List an exported folder under the splits and labels it was exported with."""
    listing = read_folder(folder, report=report)
    # Its own layout, whatever a folder of that look would mean: split/class/file.
    places = listing.frame["path"].str.split("/", n=2, expand=True)
    frame = listing.frame.assign(split=_unquoted(places[0]), label=_unquoted(places[1]))
    order = read_classes(folder / ORDER) if (folder / ORDER).exists() else ()
    return replace(listing, frame=frame, notes=(*_notes(folder), *listing.notes), order=order)


def _unquoted(names: pd.Series[str]) -> pd.Series[str]:
    return names.map({name: unquote(name) for name in names.unique()}).astype("str")


def _notes(folder: Path) -> list[str]:
    try:
        return (folder / NOTES).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:  # an export of an earlier version
        return []


def folder_name(label: str) -> str:
    """Name of a folder for any label; ``unquote`` gives the label back."""
    name = label.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return "%2E" + name[1:] if name.startswith(".") else name or "%20"


def _target(folder: Path, item: Item) -> Path:
    return folder / folder_name(item.split) / folder_name(item.label) / item.name


def _write(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    except OSError as error:
        raise WorkspaceError(
            f"{target} cannot be written: {error.strerror}; free some space or choose another "
            "workspace"
        ) from error


def _publish(unfinished: Path, folder: Path) -> None:
    unfinished.chmod(0o755)
    try:
        os.rename(unfinished, folder)
    except OSError as error:
        if not folder.is_dir():
            raise WorkspaceError(
                f"{folder} cannot be created: {error.strerror}; choose another workspace"
            ) from error
