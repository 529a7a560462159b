"""Pictures that lie inside a Parquet file, exported once as the very bytes they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.copies import Item, export_once, read_export
from core.data.folder import is_image_name
from core.data.split_names import kind_of
from core.data.table import Listing
from core.errors import DataError
from core.types import TRAIN, Reporter

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("label", "labels", "class", "y", "target", "category", "class_name")
"""Columns that hold the class, the likeliest first."""

ROWS = 256
"""Rows that are in memory at a time."""


def picture_column(file: Path) -> str | None:
    """The column of a Parquet file that holds encoded pictures; None where none does.

    Bytes, or what the library datasets writes: a struct of bytes and path.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException):
        return None  # who reads it as a table says what is wrong
    if {"path", "label"} <= set(schema.names):
        return None  # a manifest, whatever else it holds
    found = [field.name for field in schema if _holds_bytes(field.type)]
    named = [name for name in found if name.lower() in ("image", "img", "picture", "photo")]
    return next(iter(named or found), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def read_pictures(file: Path, column: str, workspace: Path, report: Reporter) -> Listing:
    """List the pictures of a Parquet file; they are written once to ``workspace/data``.

    The split is the column of that name, else what the file is called (``test-00000-of-1``).

    Raises
    ------
    DataError
        If no column holds the class.
    """
    import pyarrow.parquet as pq

    stored = pq.ParquetFile(file)
    names = [str(name) for name in stored.schema_arrow.names]
    label = next((name for name in LABELS if name in names), None)
    if label is None:
        raise DataError(
            f"{file} holds pictures, but no column called {', '.join(LABELS)}: rename the one with "
            f"the class; its columns are {', '.join(names)}"
        )
    status = file.stat()
    key = f"{file.absolute()} {status.st_size} {status.st_mtime_ns}".encode()
    export = workspace / "data" / f"{file.stem}-{blake2b(key, digest_size=4).hexdigest()}"
    if not export.is_dir():
        classes = _classes(stored.schema_arrow.metadata, label)
        split = kind_of(file.stem.partition("-")[0]) or TRAIN
        items = _items(stored, [column, label], split, classes)
        total = stored.metadata.num_rows
        export_once(export, items, total=total, report=report, order=classes)
    return read_export(export, report=report)


def _classes(metadata: Any, label: str) -> tuple[str, ...]:
    """Names of classes by number, as the library datasets writes them into a file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _items(
    stored: Any, columns: Sequence[str], split: str, classes: tuple[str, ...]
) -> Iterator[Item]:
    column, label = columns
    wanted = [*columns, *(["split"] if "split" in stored.schema_arrow.names else [])]
    number = 0
    for batch in stored.iter_batches(batch_size=ROWS, columns=wanted):
        for row in batch.to_pylist():
            cell, text = row[column], _label(row[label], classes)
            data = cell.get("bytes") if isinstance(cell, dict) else cell
            if data and text:
                own = str((cell.get("path") if isinstance(cell, dict) else "") or "")
                ending = own.rpartition(".")[2].lower() if is_image_name(own) else "png"
                yield Item(row.get("split") or split, text, f"{number:06d}.{ending}", data)
            number += 1


def _label(value: Any, classes: tuple[str, ...]) -> str:
    if value is None or value == -1:
        return ""
    known = isinstance(value, int) and 0 <= value < len(classes)
    return classes[value] if known else str(value)
