"""Data sets of ``torchvision.datasets`` through one adapter that looks at their constructors."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, SupportsIndex, TypeGuard

import numpy as np
import pandas as pd
from PIL import Image

from core.data.copies import Item, export_once, read_export
from core.data.libraries import LeftOut, NoLabelError, in_our_words, package, reason
from core.data.source import Asked, Source
from core.data.table import Listing, some
from core.errors import DataError, UnreadableImageError, WorkspaceError
from core.types import TRAIN

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

SWITCHES = ("train", "split")
"""Parameters by which the classes choose a split."""

ABSENT = (RuntimeError, FileNotFoundError)
"""What the constructors raise on purpose when the data is missing or half downloaded."""

FORMATS = {"F": "TIFF", "I": "TIFF"}
"""Modes whose levels PNG would clip; all others are written as PNG."""

PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
"""Modes that PNG holds as they are; all others become RGB."""

Option = str | bool
"""What a constructor is given."""


@dataclass(frozen=True)
class _Part:
    """One split of a data set, loaded."""

    split: str
    dataset: Any
    files: list[tuple[str, Any]] | None
    """Absolute path and target of every image; None where images have no files."""
    names: list[str]
    """Distinct name of each class number."""
    note: str | None
    """What the names had to be given, if anything."""


def read_torchvision(asked: Asked) -> Listing:
    """List the images of ``torchvision.datasets.NAME``.

    Images that are files are used where they are; others are written once, as PNG or
    (levels of 32 bits) TIFF, to ``workspace/data/torchvision-NAME``. What cannot be read is left
    out and counted in a note. Labels are WordNet ids where the data set has them, class
    names otherwise, and class numbers as a last resort.

    Options: ``root`` (folder of the downloaded data; ``workspace/data/torchvision`` by default) and
    ``download`` (``1`` to fetch what is missing).

    Raises
    ------
    DataError
        If the name or an option is unknown, the data is not there, or no image can be read.
    WorkspaceError
        If the images, or the folder for a download, cannot be written.
    """
    name, options, workspace, report = asked.name, asked.options, asked.workspace, asked.report
    _check_options(name, options)
    constructor = _constructor(name)
    export = workspace / "data" / _export_name(name, options.get("root"))
    if export.is_dir():
        return read_export(export, report=report)
    root = options.get("root") or str(workspace / "data" / "torchvision")
    root = os.path.abspath(os.path.expanduser(root))
    parts, notes = _parts(name, constructor, Path(root), download=options.get("download") == "1")
    notes += list(dict.fromkeys(part.note for part in parts if part.note))
    left = LeftOut(f"torchvision:{name}")
    if all(part.files is not None for part in parts):
        return _listing(left, parts, notes)
    total = sum(len(part.dataset) for part in parts)
    if not total:
        raise DataError(f"torchvision:{name} holds no image in {root}; give another root=DIR")
    items, order = _items(left, parts, notes), parts[0].names
    export_once(export, items, total=total, report=report, notes=notes, order=order)
    return read_export(export, report=report)


def _export_name(name: str, root: str | None) -> str:
    """Folder of the images of a data set; each root has its own."""
    if root is None:
        return f"torchvision-{name}"
    place = blake2b(os.path.abspath(os.path.expanduser(root)).encode(), digest_size=4)
    return f"torchvision-{name}-{place.hexdigest()}"


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
) -> tuple[list[_Part], list[str]]:
    """Load every split that the class supports and that has labels; the first must be there."""
    known = _parameters(name, constructor)
    common: dict[str, Option] = {"root": str(root)} if "root" in known else {}
    if "download" in known:
        common["download"] = download
        if download:
            _make(root)
    parts: list[_Part] = []
    notes: list[str] = []
    for split, choices in _choices(known).items():
        try:
            part = _load(name, constructor, split, choices, common)
        except DataError as error:
            if split == TRAIN:
                raise
            notes.append(f"The split {split} was left out: {error}.")
            continue
        if part is None and split == TRAIN:
            raise DataError(f"torchvision:{name} has no split {' or '.join(SPLITS[TRAIN])}")
        if part is None:
            continue
        if split != TRAIN and not _has_labels(part):
            notes.append(f"The split {split} was left out: it has no labels.")
            continue
        parts.append(part)
    return parts, notes


def _make(root: Path) -> None:
    with in_our_words(
        WorkspaceError, lambda e: f"{root} cannot be made ({reason(e)}); give another root=DIR"
    ):
        root.mkdir(parents=True, exist_ok=True)


def _parameters(name: str, constructor: Any) -> Mapping[str, inspect.Parameter]:
    """Parameters of a constructor, all of which can be given or left out."""
    _, *rest = inspect.signature(constructor.__init__).parameters.values()
    given = (*SWITCHES, *OPTIONS)
    needed = [
        p.name
        for p in rest
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        and p.name not in given
    ]
    if needed:
        raise DataError(
            f"torchvision:{name} needs more than a root folder ({', '.join(needed)}); export its "
            "images as CLASS/IMAGE and give that folder"
        )
    return {p.name: p for p in rest}


def _choices(
    known: Mapping[str, inspect.Parameter],
) -> Mapping[str, Sequence[Mapping[str, Option]]]:
    """For each of our splits, the constructor arguments to try in turn."""
    if "train" in known:
        return {TRAIN: [{"train": True}], "test": [{"train": False}]}
    if "split" in known:
        return {ours: [{"split": value} for value in theirs] for ours, theirs in SPLITS.items()}
    return {TRAIN: [{}]}


def _load(
    name: str,
    constructor: Any,
    split: str,
    choices: Sequence[Mapping[str, Option]],
    common: Mapping[str, Option],
) -> _Part | None:
    """Return the data set for the first choice that the class knows, None if it knows none."""
    for choice in choices:
        with in_our_words(DataError, lambda error: _failure(name, common, error)):
            try:
                dataset = constructor(**common, **choice)
            except ValueError as error:
                if choice and "split" in str(error):
                    continue
                raise
            len(dataset)
            return _Part(split, dataset, _file_list(dataset), *_names(dataset))
    return None


def _failure(name: str, common: Mapping[str, Option], error: Exception) -> str:
    """Say what is wrong with the data, or with this computer, and what to do."""
    where = common.get("root", "its folder")
    if isinstance(error, ImportError):
        return f"torchvision:{name} needs {package(error)}; install it with pip and try again"
    if isinstance(error, MemoryError):
        return f"torchvision:{name} does not fit into memory; end other programs and try again"
    if isinstance(error, NotImplementedError):
        return f"torchvision:{name} is no data set ({reason(error)}); name another"
    absent = isinstance(error, ABSENT)
    state = "is not in" if absent else "cannot be read in"
    return f"torchvision:{name} {state} {where} ({reason(error)}); {_remedy(name, common, absent)}"


def _remedy(name: str, common: Mapping[str, Any], absent: bool) -> str:
    if "download" not in common:
        return "torchvision cannot download it: fetch it yourself and give root=DIR"
    if common["download"]:
        return "the download failed; try again, or fetch it yourself and give root=DIR"
    if absent:
        return (
            f"use torchvision:{name}?download=1 to fetch it, or root=DIR if you have it elsewhere"
        )
    return "delete what is damaged there and fetch it again with download=1, or give root=DIR"


def _names(dataset: Any) -> tuple[list[str], str | None]:
    """Name every class number; where several share a name, the number keeps them apart."""
    lists = (getattr(dataset, attribute, None) for attribute in ("wnids", "classes"))
    found = next((names for names in lists if isinstance(names, list | tuple) and names), ())
    names = [_name(entry) or str(index) for index, entry in enumerate(found)]
    counts = Counter(names)
    if len(counts) == len(names):
        return names, None
    apart = _numbered(names, lambda name: counts[name] > 1)
    if len(set(apart)) < len(apart):
        apart = _numbered(names, lambda name: True)
    new = [text for text, name in zip(apart, names, strict=True) if text != name]
    return apart, f"Classes that share a name are kept apart by their numbers: {some(new)}."


def _name(entry: Any) -> str:
    return ", ".join(map(str, entry)) if isinstance(entry, list | tuple) else str(entry)


def _numbered(names: Sequence[str], which: Callable[[str], bool]) -> list[str]:
    return [f"{name} ({i})" if which(name) else name for i, name in enumerate(names)]


def _file_list(dataset: Any) -> list[tuple[str, Any]] | None:
    """Absolute path and target of every image, if the data set lists all of them."""
    for name in FILE_LISTS:
        pairs = getattr(dataset, name, None)
        if _lists_all(pairs, dataset) and all(_is_pair(pair) for pair in pairs):
            return [(os.path.abspath(path), target) for path, target in pairs]
    for files, targets in PARALLEL_LISTS:
        paths = getattr(dataset, files, None)
        labels = getattr(dataset, targets, None)
        if _lists_all(paths, dataset) and labels is not None and len(labels) == len(paths):
            pairs = list(zip(paths, labels, strict=True))
            if all(map(_is_pair, pairs)):
                return [(os.path.abspath(path), label) for path, label in pairs]
    return None


def _lists_all(found: object, dataset: Any) -> TypeGuard[list[Any]]:
    return isinstance(found, list) and 0 < len(found) == len(dataset)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and _is_path(value[0])


def _is_path(value: object) -> bool:
    """Whether a value names a file, wherever this process works."""
    return isinstance(value, str | os.PathLike) and os.path.isabs(value)


def _has_labels(part: _Part) -> bool:
    if not len(part.dataset):
        return False
    if part.files:
        return part.files[0][1] is not None
    pair = LeftOut("").attempt(part.split, partial(_pair, part, 0))
    return pair is None or pair[1] is not None


def _pair(part: _Part, index: int) -> tuple[Any, Any]:
    """Image and target at a place of a data set."""
    found = part.dataset[index]
    if not isinstance(found, tuple | list) or len(found) < 2:
        raise UnreadableImageError("its data set gives no image and class for it")
    return found[0], found[1]


def _listing(left: LeftOut, parts: Sequence[_Part], notes: list[str]) -> Listing:
    rows = [
        (path, label, part.split)
        for part in parts
        for path, target in part.files or ()
        if (label := left.attempt(part.split, partial(_label, part, target))) is not None
    ]
    left.refuse_if_none()
    files = [path for path, _, _ in rows]
    # The first and last in order share exactly the folders that all of them share.
    root = os.path.commonpath([os.path.dirname(min(files)), os.path.dirname(max(files))])
    frame = pd.DataFrame(rows, columns=["path", "label", "split"], dtype="str")
    frame["path"] = [os.path.relpath(path, root).replace(os.sep, "/") for path in files]
    notes += left.notes()
    return Listing(Path(root), frame, notes=tuple(notes), order=tuple(parts[0].names))


def _items(left: LeftOut, parts: Sequence[_Part], notes: list[str]) -> Iterator[Item]:
    """Read what can be read; the notes on what cannot are added at the end."""
    for part in parts:
        for index in range(len(part.dataset)):
            if item := left.attempt(part.split, partial(_item, part, index)):
                yield item
    left.refuse_if_none()
    notes += left.notes()


def _item(part: _Part, index: int) -> Item:
    image, target = _pair(part, index)
    label = _label(part, target)
    picture = _picture(image)
    kind = FORMATS.get(picture.mode, "PNG")
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **({"compress_level": 1} if kind == "PNG" else {}))
    return Item(part.split, label, f"{index:06d}.{kind.lower()}", buffer.getvalue())


def _label(part: _Part, target: object) -> str:
    index = _class_index(target)
    if 0 <= index < len(part.names):
        return part.names[index]
    return f"class number {index}" if str(index) in part.names else str(index)


def _class_index(target: object) -> int:
    """Class number of a target: an int, or an array or tensor that holds a single one."""
    if target is None:
        raise NoLabelError("it has no label")
    single = getattr(target, "ndim", 0) == 0 and not isinstance(target, bool)
    if single and isinstance(target, SupportsIndex):
        with contextlib.suppress(TypeError):
            return int(target.__index__())
    kind = type(target).__name__
    raise UnreadableImageError(f"it does not give each image one class (its target is a {kind})")


def _picture(image: object) -> Image.Image:
    """Bring an image, or an array that is one, to a mode that its file format holds."""
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if not isinstance(image, Image.Image):
        raise UnreadableImageError(f"it is a {type(image).__name__}, not an image")
    if not image.width or not image.height:
        raise UnreadableImageError("the image has 0 pixels")
    return image if image.mode in (*PNG_MODES, *FORMATS) else image.convert("RGB")


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    shape = " x ".join(map(str, array.shape))
    said = f"an array of {shape} values of the type {array.dtype} is no image"
    single = array.ndim == 3 and array.shape[2] == 1
    with in_our_words(UnreadableImageError, lambda _: said):
        return Image.fromarray(array[:, :, 0] if single else array)


TORCHVISION = Source(
    name="torchvision",
    form="torchvision:NAME",
    text="A data set of torchvision; ?root=DIR says where it lies, &download=1 fetches it.",
    read=read_torchvision,
    paths=("root",),
    writes=lambda options: options.get("download") == "1",
)
