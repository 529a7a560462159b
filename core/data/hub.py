"""Data sets of the Hugging Face hub, exported once as the very bytes they hold."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from core.data.copies import Item, export_once, folder_name, read_export
from core.data.folder import is_image_name
from core.data.libraries import LeftOut, NoLabelError, in_our_words, package, reason
from core.data.source import Asked, Source
from core.data.table import Listing, some
from core.errors import DataError, UnreadableImageError
from core.types import TRAIN

OPTIONS = ("image", "label")


def read_hub(asked: Asked) -> Listing:
    """List the images of a data set of the hub; they are written once to ``workspace/data``.

    What cannot be read or has no label is left out and counted in a note.

    Options: ``image`` and ``label``, the columns to use where there is more than one.

    Raises
    ------
    DataError
        If the library is missing, the data set cannot be loaded, the columns are not clear, or no
        image can be read.
    """
    name, options = asked.name, asked.options
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise DataError(
            f"hf:{name} does not know the option {', '.join(unknown)}; use image=COLUMN and "
            "label=COLUMN"
        )
    chosen = [f"{key}={options[key]}" for key in OPTIONS if key in options]
    folder = folder_name("-".join(["hf", name.replace("/", "--"), *chosen]))
    export = asked.workspace / "data" / folder
    notes: list[str] = []
    if not os.path.isdir(export):
        parts = _load(name)
        total = sum(len(part) for part in parts.values())
        items = _items(name, parts, options, notes)
        order = _order(parts, options)
        export_once(export, items, total=total, report=asked.report, notes=notes, order=order)
    return read_export(export, report=asked.report)


def _load(name: str) -> dict[str, Any]:
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) or os.path.exists(name):
        raise DataError(f"hf:{name} is no data set of the hub; give hf:OWNER/NAME or hf:NAME")
    with in_our_words(DataError, lambda error: _failure(name, error)):
        import datasets

        loaded = datasets.load_dataset(name)
        if not isinstance(loaded, Mapping):
            return {TRAIN: loaded}
    return _splits(name, loaded)


def _failure(name: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        missing = (error.name or "datasets").partition(".")[0]
        return f"hf:{name} needs {package(error)}; install it with: pip install {missing}"
    return f"hf:{name} cannot be loaded ({reason(error)}); check the name and the connection"


def _splits(name: str, loaded: Mapping[Any, Any]) -> dict[str, Any]:
    """Data sets by the name of their split in lower case; a single one is what is trained on."""
    if len(loaded) == 1:
        return {TRAIN: next(iter(loaded.values()))}
    counts = Counter(str(split).lower() for split in loaded)
    same = [str(split) for split in loaded if counts[str(split).lower()] > 1]
    if same:
        raise DataError(
            f"hf:{name} has splits that differ in letter case alone ({some(same)}); export its "
            "images as SPLIT/CLASS/IMAGE and give that folder"
        )
    return {str(split).lower(): part for split, part in loaded.items()}


def _order(parts: Mapping[str, Any], options: Mapping[str, str]) -> tuple[str, ...]:
    """Classes in the order of the only column of classes; empty where there is no such one."""
    features = next(iter(parts.values())).features
    columns = [column for column, kind in features.items() if hasattr(kind, "names")]
    chosen = options.get("label") or (columns[0] if len(columns) == 1 else "")
    return tuple(map(str, getattr(features.get(chosen), "names", None) or ()))


def _items(
    name: str, parts: Mapping[str, Any], options: Mapping[str, str], notes: list[str]
) -> Iterator[Item]:
    left = LeftOut(f"hf:{name}")
    for split, part in parts.items():
        with in_our_words(DataError, lambda error: _failure(name, error)):
            image = _column(name, part, "image", "Image", options)
            label = _column(name, part, "label", "ClassLabel", options)
            raw = part.cast_column(image, type(part.features[image])(decode=False))
        for index in range(len(raw)):
            read = partial(_item, split, raw, index, image, label)
            if item := left.attempt(split, read):
                yield item
    left.refuse_if_none()
    notes += left.notes()


def _item(split: str, raw: Any, index: int, image: str, label: str) -> Item:
    row = raw[index]
    text = _label(raw.features[label], row[label])
    data = _bytes(row[image])
    return Item(split, text, f"{index:06d}.{_ending(row[image], data)}", data)


def _column(name: str, part: Any, role: str, kind: str, options: Mapping[str, str]) -> str:
    """Name of the image or label column: the one asked for, else the only one of its kind."""
    columns = list(part.features)
    kinds = {column: type(part.features[column]).__name__ for column in columns}
    fitting = [column for column in columns if kinds[column] == kind]
    asked = options.get(role)
    if asked in columns and (role == "label" or asked in fitting):
        return str(asked)
    if asked is None and len(fitting) == 1:
        return str(fitting[0])
    if asked in columns:
        raise DataError(
            f"hf:{name}: the column {asked} holds no images; those that do: "
            f"{some(fitting) or 'none'}; use hf:{name}?image=COLUMN"
        )
    raise DataError(
        f"hf:{name}: which column holds the {role}? Its columns are {', '.join(columns)}; use "
        f"hf:{name}?{role}=COLUMN"
    )


def _label(feature: Any, value: Any) -> str:
    if value is None or value == -1 or value == "" or value != value:  # the last: not a number
        raise NoLabelError("it has no label")
    if not isinstance(value, str | int | float | date | Decimal):
        raise UnreadableImageError(f"its label is a {type(value).__name__}, not one class")
    if type(feature).__name__ == "ClassLabel":
        with in_our_words(UnreadableImageError, lambda _: f"no class has its number {value}"):
            return str(feature.int2str(value))
    return str(value)


def _bytes(cell: Any) -> bytes:
    """Bytes of an image: in the row, or in a file that the library itself fetched."""
    from datasets import config

    if not isinstance(cell, Mapping):
        raise UnreadableImageError("its cell holds no image")
    data = cell.get("bytes")
    if isinstance(data, bytes):
        return data
    own = cell.get("path")
    if not own or "\0" in str(own):
        raise UnreadableImageError("its cell holds neither an image nor the path of one")
    path = Path(str(own)).resolve()
    if not path.is_relative_to(Path(config.HF_CACHE_HOME).resolve()):
        raise UnreadableImageError("it is a file outside of the library's own folder")
    return path.read_bytes()


def _ending(cell: Mapping[str, Any], data: bytes) -> str:
    """File ending of an image: that of its own name, else of its contents, else ``jpg``."""
    own = str(cell.get("path") or "")
    if is_image_name(own):
        return own.rpartition(".")[2].lower()
    try:
        with Image.open(io.BytesIO(data)) as image:
            ending = (image.format or "").lower()
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        ending = ""
    return ending if is_image_name(f".{ending}") else "jpg"


HUB = Source(
    name="hf",
    form="hf:NAME",
    text="A data set of the Hugging Face hub; ?image=COLUMN&label=COLUMN where it is not clear.",
    read=read_hub,
)
