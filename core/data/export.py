"""Images written once into the workspace as split/class/file, for sources that are no files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from core.data.folder import read_folder
from core.data.table import Listing
from core.errors import WorkspaceError
from core.types import Progress, Reporter

EVERY = 100
"""Images between two reports of progress."""


class Item(NamedTuple):
    """One image to write."""

    split: str
    label: str
    name: str
    """File name with its ending."""
    data: bytes


def export_once(folder: Path, items: Iterable[Item], *, total: int, report: Reporter) -> None:
    """Write images to ``folder/split/class/name``; the folder appears only when complete.

    Parameters
    ----------
    folder : where the images shall be; what another process completed meanwhile is kept.
    items : the images, read one by one.
    total : how many there are, for the progress.
    report : receives the progress.

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
            _write(unfinished, item)
            if done % EVERY == 0 or done == total:
                report(Progress("Exporting images", done, total))
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_export(folder: Path, *, report: Reporter) -> Listing:
    """List an exported folder under the labels it was exported with."""
    listing = read_folder(folder, report=report)
    names = {name: unquote(name) for name in listing.frame["label"].unique()}
    frame = listing.frame.assign(label=listing.frame["label"].map(names))
    return replace(listing, frame=frame)


def folder_name(label: str) -> str:
    """Name of a folder for any label; ``unquote`` gives the label back."""
    name = label.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return "%2E" + name[1:] if name.startswith(".") else name or "%20"


def _write(folder: Path, item: Item) -> None:
    target = folder / folder_name(item.split) / folder_name(item.label) / item.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(item.data)
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
