"""Images in a folder: one sub-folder per class, perhaps below one folder per split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from core.data.source import Asked, Source
from core.data.table import Listing, some
from core.errors import DataError
from core.storage.class_list import classes_beside
from core.types import TRAIN, Progress, Reporter, silent

SUFFIXES = frozenset({"jpg", "jpeg", "jpe", "png", "webp", "bmp", "tif", "tiff"})
"""Endings of image files, lower case, without the dot."""

HELD_OUT = frozenset({"val", "valid", "validation", "test"})
"""Names, lower case, by which folders without a ``train`` beside them are known as splits."""

Split = tuple[str, str, list[os.DirEntry[str]]]
"""Split name, prefix of its relative paths, its class folders."""


@dataclass
class _Walk:
    """State of one listing: folders already entered and what the user should know."""

    entered: set[tuple[int, int]] = field(default_factory=set)
    """(st_dev, st_ino) of every folder read so far."""
    again: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    undecodable: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Say in one sentence each what was left out."""
        texts = {
            "No image in the class": self.empty,
            "Left out, a link to a folder that was already read": self.again,
            "Left out, a broken link": self.broken,
            "Left out, may not be opened": self.closed,
            "Left out, the file name is not valid text": self.undecodable,
            "Left out, an image outside of any class folder": self.unlabelled,
        }
        return tuple(f"{text}: {some(found)}." for text, found in texts.items() if found)


def read_folder(folder: Path, *, report: Reporter = silent) -> Listing:
    """List the images of a folder.

    With a sub-folder ``train`` (any letter case) that has sub-folders, or where every sub-folder is
    named like a held-out split (:data:`HELD_OUT`), every top-level folder is a
    split and the folders in it are classes; otherwise the top-level folders are classes and all
    images are ``train``. Files lie at any depth below their class. Hidden names are left out. A
    linked folder is followed, but no real folder is read twice.

    Parameters
    ----------
    folder : the folder to list; it must exist.
    report : receives the number of class folders read.

    Raises
    ------
    DataError
        If there is no image below any class folder.
    """
    walk = _Walk()
    root = folder.absolute()
    _enter(walk, root, ".")
    splits = _splits(walk, root)
    total = sum(len(classes) for _, _, classes in splits)
    paths: list[str] = []
    labels: list[str] = []
    names: list[str] = []
    done = 0
    for split, prefix, classes in splits:
        for entry in classes:
            found = list(_files(walk, entry.path, f"{prefix}{entry.name}"))
            if not found:
                walk.empty.append(f"{prefix}{entry.name}")
            paths += found
            labels += [entry.name] * len(found)
            names += [split] * len(found)
            done += 1
            report(Progress("Listing images", done, total, "folders"))
    if not paths:
        raise DataError(_nothing_found(folder, walk))
    frame = pd.DataFrame({"path": paths, "label": labels, "split": names}, dtype="str")
    return Listing(root=root, frame=frame, notes=walk.notes(), order=classes_beside(root))


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image, in any letter case."""
    return name.rpartition(".")[2].lower() in SUFFIXES


def _nothing_found(folder: Path, walk: _Walk) -> str:
    endings = ", ".join(sorted(SUFFIXES))
    notes = " ".join(("", *walk.notes()))
    return (
        f"{folder} has no image in a class folder; expected CLASS/IMAGE or train/CLASS/IMAGE with "
        f"files ending in {endings}.{notes}"
    )


def _splits(walk: _Walk, root: Path) -> list[Split]:
    top = _folders(walk, str(root), "")
    trains = [entry for entry in top if entry.name.lower() == TRAIN]
    telling = trains or (top if {entry.name.lower() for entry in top} <= HELD_OUT else [])
    if not any(_has_folders(entry.path) for entry in telling):
        return [(TRAIN, "", top)]
    others = [entry for entry in top if entry.name.lower() != TRAIN]
    return [
        (entry.name.lower(), f"{entry.name}/", _folders(walk, entry.path, f"{entry.name}/"))
        for entry in trains + others
        if _enter(walk, entry.path, entry.name)
    ]


def _has_folders(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(not e.name.startswith(".") and _kind(e) == "folder" for e in entries)
    except OSError:
        return False


def _folders(walk: _Walk, path: str, prefix: str) -> list[os.DirEntry[str]]:
    """Class or split folders right below a folder, real ones before links; notes loose images."""
    found = []
    for entry in _entries(walk, path, prefix):
        kind = _kind(entry)
        if kind == "folder":
            found.append(entry)
        elif kind == "file" and is_image_name(entry.name):
            walk.unlabelled.append(f"{prefix}{entry.name}")
        elif kind == "broken":
            walk.broken.append(f"{prefix}{entry.name}")
    return found


def _files(walk: _Walk, path: str, relative: str) -> Iterator[str]:
    """Relative paths of the images at any depth below a class folder."""
    waiting = [(path, relative)]
    while waiting:
        folder, prefix = waiting.pop()
        if not _enter(walk, folder, prefix):
            continue
        below = []
        for entry in _entries(walk, folder, f"{prefix}/"):
            kind = _kind(entry)
            if kind == "folder":
                below.append((entry.path, f"{prefix}/{entry.name}"))
            elif kind == "broken":
                walk.broken.append(f"{prefix}/{entry.name}")
            elif kind == "file" and is_image_name(entry.name):
                yield f"{prefix}/{entry.name}"
        waiting += reversed(below)


def _enter(walk: _Walk, path: str | Path, relative: str) -> bool:
    """Remember a folder; False if it was read before or cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        walk.closed.append(relative)
        return False
    key = (status.st_dev, status.st_ino)
    if key in walk.entered:
        walk.again.append(relative)
        return False
    walk.entered.add(key)
    return True


def _entries(walk: _Walk, path: str, prefix: str) -> list[os.DirEntry[str]]:
    """Visible entries with decodable names: real ones first, then links, each by name."""
    try:
        with os.scandir(path) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        walk.closed.append(prefix.rstrip("/") or ".")
        return []
    decodable = [entry for entry in visible if _is_text(entry.name)]
    if len(decodable) < len(visible):
        bad = [entry.name for entry in visible if not _is_text(entry.name)]
        walk.undecodable += [f"{prefix}{_shown(name)}" for name in sorted(bad)]
    return sorted(decodable, key=lambda entry: (entry.is_symlink(), entry.name))


def _kind(entry: os.DirEntry[str]) -> str:
    """``folder``, ``file``, ``broken`` (a link to nothing or to itself) or ``other``."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return "broken" if entry.is_symlink() else "other"
    except OSError:
        return "broken"


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read(asked: Asked) -> Listing:
    return read_folder(asked.moved or Path(asked.name), report=asked.report)


FOLDER = Source(
    name="folder",
    form="a folder (CLASS/IMAGE or train/CLASS/IMAGE)",
    text="One folder per class, perhaps below one folder per split.",
    read=_read,
    takes=Path.is_dir,
)
