"""Data sets of the Hugging Face hub, exported once as the very bytes they hold."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from core.data.export import Item, export_once, folder_name, read_export
from core.data.folder import is_image_name
from core.data.table import Listing
from core.errors import DataError
from core.types import TRAIN, Reporter

OPTIONS = ("image", "label")


def read_hub(
    name: str, options: Mapping[str, str], *, workspace: Path, report: Reporter
) -> Listing:
    """List the images of a data set of the hub; they are written once to ``workspace/data``.

    Parameters
    ----------
    name : ``OWNER/NAME`` or ``NAME``.
    options : ``image`` and ``label``, the columns to use where there is more than one.
    workspace : folder of the exported images.
    report : receives the progress of the export.

    Raises
    ------
    DataError
        If the library is missing, the data set cannot be loaded, or the columns are not clear.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise DataError(
            f"hf:{name} does not know the option {', '.join(unknown)}; use image=COLUMN and "
            "label=COLUMN"
        )
    chosen = [f"{key}={options[key]}" for key in OPTIONS if key in options]
    export = workspace / "data" / folder_name("-".join(["hf", name.replace("/", "--"), *chosen]))
    notes: list[str] = []
    if not export.is_dir():
        parts = _load(name)
        total = sum(len(part) for part in parts.values())
        export_once(export, _items(name, parts, options, notes), total=total, report=report)
    listing = read_export(export, report=report)
    return replace(listing, notes=(*notes, *listing.notes))


def _load(name: str) -> dict[str, Any]:
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name) or Path(name).exists():
        raise DataError(f"hf:{name} is no data set of the hub; give hf:OWNER/NAME or hf:NAME")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"hf:{name} needs the package datasets; install it with: pip install datasets"
        ) from error
    try:
        loaded = datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"hf:{name} cannot be loaded: {error}; check the name and the connection"
        ) from error
    parts = {str(split).lower(): part for split, part in loaded.items()}
    return parts if len(parts) != 1 else {TRAIN: next(iter(parts.values()))}


def _items(
    name: str, parts: Mapping[str, Any], options: Mapping[str, str], notes: list[str]
) -> Iterator[Item]:
    for split, part in parts.items():
        image = _column(name, part, "image", "Image", options)
        label = _column(name, part, "label", "ClassLabel", options)
        raw = part.cast_column(image, type(part.features[image])(decode=False))
        without = 0
        for index, row in enumerate(raw):
            text = _label(part.features[label], row[label])
            if text is None:
                without += 1
                continue
            data = _bytes(name, row[image])
            yield Item(split, text, f"{index:06d}.{_ending(row[image], data)}", data)
        if without:
            notes.append(
                f"{without:,} images of the split {split} have no label and were left out."
            )


def _column(name: str, part: Any, role: str, kind: str, options: Mapping[str, str]) -> str:
    """Name of the image or label column: the one asked for, else the only one of its kind."""
    columns = list(part.features)
    if role in options:
        if options[role] in columns:
            return options[role]
        fitting = []
    else:
        fitting = [column for column in columns if type(part.features[column]).__name__ == kind]
        if len(fitting) == 1:
            return str(fitting[0])
    raise DataError(
        f"hf:{name}: which column holds the {role}? Its columns are {', '.join(columns)}; use "
        f"hf:{name}?{role}=COLUMN"
    )


def _label(feature: Any, value: Any) -> str | None:
    if value is None or value == -1:
        return None
    if type(feature).__name__ == "ClassLabel":
        return str(feature.int2str(value))
    return str(value)


def _bytes(name: str, cell: Mapping[str, Any]) -> bytes:
    """Bytes of an image: in the row, or in a file that the library itself fetched."""
    from datasets import config

    data: bytes | None = cell.get("bytes")
    if data is not None:
        return data
    path = Path(str(cell.get("path"))).resolve()
    if not path.is_relative_to(Path(config.HF_CACHE_HOME).resolve()):
        raise DataError(
            f"hf:{name} names a file outside of the library's own folder as an image; it is not "
            "read"
        )
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
