"""Data sets of ``torchvision.datasets`` through one adapter that looks at their constructors."""

from __future__ import annotations

import difflib
import inspect
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
from PIL import Image

from core.data.export import Item, export_once, read_export
from core.data.table import Listing
from core.errors import DataError
from core.types import TRAIN, Reporter

SPLITS = {
    TRAIN: ("train", "trainval", "train-standard"),
    "val": ("val", "valid"),
    "test": ("test",),
}
"""For each of our splits, the values of ``split=`` that torchvision's classes give it."""

FILE_LISTS = ("samples", "_samples", "imgs")
"""Attributes holding (path, class index) pairs."""

PARALLEL_LISTS = (("_image_files", "_labels"), ("_images", "_labels"))
"""Attributes holding paths, and class indices of the same length."""

OPTIONS = ("root", "download")

ABSENT = (
    RuntimeError, OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, pickle.UnpicklingError
)  # fmt: skip
"""What the constructors raise when the data is missing or half downloaded."""


@dataclass(frozen=True)
class _Part:
    """One split of a data set, loaded."""

    split: str
    dataset: Any
    files: list[tuple[str, Any]] | None
    """Absolute path and target of every image; None where images have no files."""


def read_torchvision(
    name: str, options: Mapping[str, str], *, workspace: Path, report: Reporter
) -> Listing:
    """List the images of ``torchvision.datasets.NAME``.

    Images that are files are used where they are; others are written once, as PNG, to
    ``workspace/data/torchvision-NAME``. Labels are WordNet ids where the data set has them, class
    names otherwise, and class numbers as a last resort.

    Parameters
    ----------
    name : name of the class.
    options : ``root`` (folder of the downloaded data; ``workspace/data/torchvision`` by default)
        and ``download`` (``1`` to fetch what is missing).
    workspace : folder for exports and downloads.
    report : receives the progress of an export.

    Raises
    ------
    DataError
        If the name or an option is unknown, the data is not there, or its targets are no classes.
    """
    _check_options(name, options)
    constructor = _constructor(name)
    export = workspace / "data" / f"torchvision-{name}"
    if export.is_dir():
        return read_export(export, report=report)
    root = Path(options.get("root") or workspace / "data" / "torchvision").expanduser().absolute()
    parts, notes = _parts(name, constructor, root, download=options.get("download") == "1")
    if all(part.files is not None for part in parts):
        listing = _listing(name, parts)
    else:
        total = sum(len(part.dataset) for part in parts)
        if not total:
            raise DataError(f"torchvision:{name} holds no image in {root}; give another root=DIR")
        export_once(export, _items(name, parts), total=total, report=report)
        listing = read_export(export, report=report)
    return replace(listing, notes=notes + listing.notes)


def _check_options(name: str, options: Mapping[str, str]) -> None:
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise DataError(
            f"torchvision:{name} does not know the option {', '.join(unknown)}; use root=DIR and "
            "download=1"
        )
    if options.get("download", "1") not in ("0", "1"):
        raise DataError(f"torchvision:{name}: download={options['download']}; give 0 or 1")


def _constructor(name: str) -> Any:
    from torchvision import datasets

    constructor = None if name.startswith("_") else getattr(datasets, name, None)
    if inspect.isclass(constructor):
        return constructor
    known = {known.lower(): known for known in datasets.__all__}
    close = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=3)]
    hint = f"did you mean {', '.join(close)}?" if close else "see torchvision's list of data sets"
    raise DataError(f"torchvision has no data set {name}; {hint}")


def _parts(
    name: str, constructor: Any, root: Path, *, download: bool
) -> tuple[list[_Part], tuple[str, ...]]:
    """Load every split that the class supports and that has labels; the first must be there."""
    known = inspect.signature(constructor.__init__).parameters
    common: dict[str, Any] = {"root": str(root)} if "root" in known else {}
    if "download" in known:
        common["download"] = download
        if download:
            root.mkdir(parents=True, exist_ok=True)
    parts: list[_Part] = []
    notes: list[str] = []
    for split, choices in _choices(known).items():
        try:
            dataset = _load(name, constructor, choices, common)
        except DataError as error:
            if split == TRAIN:
                raise
            notes.append(f"The split {split} was left out: {error}.")
            continue
        if dataset is None and split == TRAIN:
            raise DataError(f"torchvision:{name} has no split {' or '.join(SPLITS[TRAIN])}")
        if dataset is None:
            continue
        part = _Part(split, dataset, _file_list(dataset))
        if split != TRAIN and not _has_labels(part):
            notes.append(f"The split {split} was left out: it has no labels.")
            continue
        parts.append(part)
    return parts, tuple(notes)


def _choices(known: Mapping[str, inspect.Parameter]) -> dict[str, list[dict[str, Any]]]:
    """For each of our splits, the constructor arguments to try in turn."""
    if "train" in known:
        return {TRAIN: [{"train": True}], "test": [{"train": False}]}
    if "split" in known:
        return {ours: [{"split": value} for value in theirs] for ours, theirs in SPLITS.items()}
    return {TRAIN: [{}]}


def _load(
    name: str, constructor: Any, choices: Sequence[dict[str, Any]], common: Mapping[str, Any]
) -> Any:
    """Return the data set for the first choice that the class knows, None if it knows none."""
    for choice in choices:
        try:
            return constructor(**common, **choice)
        except ValueError as error:
            if not choice or "split" not in str(error):
                raise DataError(f"torchvision:{name} cannot be loaded: {error}") from error
        except TypeError as error:
            raise DataError(
                f"torchvision:{name} needs more than a root folder ({error}); export its images "
                "as CLASS/IMAGE and give that folder"
            ) from error
        except ImportError as error:
            raise DataError(f"torchvision:{name} needs another package: {error}") from error
        except ABSENT as error:
            raise DataError(_absent(name, common, error)) from error
    return None


def _absent(name: str, common: Mapping[str, Any], error: Exception) -> str:
    where = common.get("root", "its folder")
    reason = str(error).strip().split("\n", maxsplit=1)[0].rstrip(".")
    if "download" not in common:
        fix = "torchvision cannot download it: fetch it yourself and give root=DIR"
    elif common["download"]:
        fix = "the download failed; try again, or fetch it yourself and give root=DIR"
    else:
        fix = f"use torchvision:{name}?download=1 to fetch it, or root=DIR if you have it elsewhere"
    return f"torchvision:{name} is not in {where} ({reason}); {fix}"


def _file_list(dataset: Any) -> list[tuple[str, Any]] | None:
    for name in FILE_LISTS:
        pairs = getattr(dataset, name, None)
        if isinstance(pairs, list) and pairs and _is_path(pairs[0][0]):
            return [(os.path.abspath(path), target) for path, target in pairs]
    for files, targets in PARALLEL_LISTS:
        paths = getattr(dataset, files, None)
        labels = getattr(dataset, targets, None)
        if isinstance(paths, list) and labels is not None and paths and _is_path(paths[0]):
            return [
                (os.path.abspath(path), label) for path, label in zip(paths, labels, strict=True)
            ]
    return None


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _has_labels(part: _Part) -> bool:
    if not len(part.dataset):
        return False
    target = part.files[0][1] if part.files else part.dataset[0][1]
    return target is not None


def _listing(name: str, parts: Sequence[_Part]) -> Listing:
    rows = [
        (path, _label(name, part.dataset, target), part.split)
        for part in parts
        for path, target in part.files or ()
    ]
    files = [path for path, _, _ in rows]
    # The first and last in order share exactly the folders that all of them share.
    root = os.path.commonpath([os.path.dirname(min(files)), os.path.dirname(max(files))])
    frame = pd.DataFrame(rows, columns=["path", "label", "split"], dtype="str")
    frame["path"] = [os.path.relpath(path, root).replace(os.sep, "/") for path in files]
    return Listing(root=Path(root), frame=frame)


def _items(name: str, parts: Sequence[_Part]) -> Iterator[Item]:
    for part in parts:
        for index in range(len(part.dataset)):
            image, target, *_ = part.dataset[index]
            label = _label(name, part.dataset, target)
            yield Item(part.split, label, f"{index:06d}.png", _png(name, image))


def _label(name: str, dataset: Any, target: object) -> str:
    index = _class_index(name, target)
    names = getattr(dataset, "wnids", None) or getattr(dataset, "classes", None) or ()
    if not 0 <= index < len(names):
        return str(index)
    label = names[index]
    return label if isinstance(label, str) else ", ".join(map(str, label))


def _class_index(name: str, target: object) -> int:
    """Class number of a target: an int, or an array or tensor that holds a single one."""
    single = getattr(target, "ndim", 0) == 0 and not isinstance(target, bool)
    if single and isinstance(target, SupportsIndex):
        try:
            return int(target.__index__())
        except TypeError:
            pass
    raise DataError(
        f"torchvision:{name} does not give each image one class (its target is a "
        f"{type(target).__name__}); only data sets with one class per image can be audited"
    )


def _png(name: str, image: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise DataError(
            f"torchvision:{name} gives a {type(image).__name__}, not an image; export its images "
            "as CLASS/IMAGE and give that folder"
        )
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
