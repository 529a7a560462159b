"""Pictures that lie inside Parquet files, exported once as the very bytes they are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.data.copies import Item, export_once, read_export
from core.data.folder import is_image_name
from core.data.source import Asked, Source
from core.data.split_names import kind_of
from core.data.table import Listing
from core.errors import DataError
from core.types import TRAIN, Reporter, count_of

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

LABELS = ("label", "labels", "class", "y", "target", "category", "class_name")
"""Columns that hold the class, the likeliest first."""

PART = re.compile(r"(?P<split>.+)-\d+-of-(?P<of>\d+)(-[0-9a-f]+)?")
"""Names of the files of one split, as the library datasets writes them."""

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


def read_pictures(
    source: Path, files: Sequence[Path], workspace: Path, report: Reporter
) -> Listing:
    """List the pictures of one or more Parquet files; they are written once to ``workspace/data``.

    The split is the column of that name, else what the file (``test-00000-of-00004``), or the
    folder that it lies in, is called.

    Parameters
    ----------
    source : what the export is named after: the file itself, or the folder of all of them.

    Raises
    ------
    DataError
        If a file cannot be read, has no pictures, or no column that holds the class.
    """
    stats = [(str(file.absolute()), file.stat()) for file in files]
    key = " ".join(f"{path} {s.st_size} {s.st_mtime_ns}" for path, s in stats).encode()
    export = workspace / "data" / f"{source.stem}-{blake2b(key, digest_size=4).hexdigest()}"
    if not export.is_dir():
        shards = [_opened(file) for file in files]
        notes = _missing(files)
        if len({shard.classes for shard in shards}) > 1:
            raise DataError(f"{source}: its files have different names of classes; split them up")
        items = (item for n, shard in enumerate(shards) for item in _items(shard, n, shards, notes))
        total = sum(shard.stored.metadata.num_rows for shard in shards)
        order = shards[0].classes
        export_once(export, items, total=total, report=report, notes=notes, order=order)
    return read_export(export, report=report)


class Shard(NamedTuple):
    """One opened file of pictures."""

    stored: pq.ParquetFile
    picture: str
    """Column of the pictures."""
    label: str
    """Column of the class."""
    split: str
    classes: tuple[str, ...]
    """Names of the classes by number; empty where cells say the class itself."""


def _opened(file: Path) -> Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stored = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} is no Parquet file, or damaged; fetch it again") from error
    names = [str(name) for name in stored.schema_arrow.names]
    features = _features(stored.schema_arrow.metadata)
    listed = [name for name in names if _classes(features, name)]
    label = next((name for name in LABELS if name in names), None)
    label = label or (listed[0] if len(listed) == 1 else None)
    picture = picture_column(file)
    if label is None or picture is None:
        what = f"pictures, but no column called {', '.join(LABELS)}" if picture else "no pictures"
        raise DataError(
            f"{file} holds {what}: rename the one with the {'class' if picture else 'pictures'}; "
            f"its columns are {', '.join(names)}"
        )
    return Shard(stored, picture, label, _split_of(file), _classes(features, label))


def _split_of(file: Path) -> str:
    """Split of a file by its own name, else by that of its folder."""
    part = PART.fullmatch(file.stem)
    word = part["split"] if part else file.stem.partition("-")[0]
    return kind_of(word) or (part and word.lower()) or kind_of(file.parent.name) or TRAIN


def _missing(files: Sequence[Path]) -> list[str]:
    """Which files of ``train-00000-of-00004`` are not there, a sentence each split."""
    there, of = Counter[str](), dict[str, int]()
    for part in filter(None, (PART.fullmatch(file.stem) for file in files)):
        there[part["split"]] += 1
        of[part["split"]] = int(part["of"])
    return [
        f"{of[split] - there[split]} of {of[split]} Parquet files of {split} are not there."
        for split in of
        if there[split] < of[split]
    ]


def _features(metadata: Any) -> Mapping[str, Any]:
    """What the library datasets writes of the columns into a file."""
    try:
        found = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _classes(features: Mapping[str, Any], label: str) -> tuple[str, ...]:
    """Names of classes by number; empty where the column has none."""
    said = features.get(label)
    names = said.get("names") if isinstance(said, Mapping) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _items(shard: Shard, number: int, shards: Sequence[Shard], notes: list[str]) -> Iterator[Item]:
    """Pictures of one file, named by its number, where there are several, and their row."""
    picture, label = shard.picture, shard.label
    own = "split" in shard.stored.schema_arrow.names
    wanted = [picture, label, *(["split"] if own else [])]
    before = f"{number:05d}-" if len(shards) > 1 else ""
    row, left = 0, 0
    for batch in shard.stored.iter_batches(batch_size=ROWS, columns=wanted):
        for cells in batch.to_pylist():
            cell, text = cells[picture], _label(cells[label], shard.classes)
            data = cell.get("bytes") if isinstance(cell, dict) else cell
            if data and text:
                name = str((cell.get("path") if isinstance(cell, dict) else "") or "")
                ending = name.rpartition(".")[2].lower() if is_image_name(name) else "png"
                split = cells.get("split") or shard.split
                yield Item(split, text, f"{before}{row:06d}.{ending}", data)
            else:
                left += 1
            row += 1
    if left:
        rows = count_of(left, "row")
        notes.append(f"{rows} of {shard.split} without a picture or a class: left out.")


def _label(value: Any, classes: tuple[str, ...]) -> str:
    if value is None or value == -1:
        return ""
    if isinstance(value, list):
        raise DataError(
            "pictures inside a Parquet file have several labels each: write them as files with a "
            "manifest, of which manifest:FILE?class=NAME audits one class against its rest"
        )
    known = isinstance(value, int) and 0 <= value < len(classes)
    return classes[value] if known else str(value)


def shards_in(folder: Path) -> list[Path]:
    """Files of pictures in a folder of Parquet files, as the Hugging Face hub lays them out.

    They lie in the folder itself, in its ``data``, or in a folder per split. Empty where there are
    none, or they hold no pictures.
    """
    try:
        found = [*folder.glob("*.parquet"), *folder.glob("data/*.parquet")]
        splits = [each for each in folder.iterdir() if kind_of(each.name) and each.is_dir()]
    except OSError:
        return []
    found += [file for each in splits for file in each.glob("*.parquet")]
    return sorted(found) if found and picture_column(min(found)) else []


def _read(asked: Asked) -> Listing:
    folder = Path(asked.name)
    return read_pictures(folder, shards_in(folder), asked.workspace, asked.report)


SHARDS = Source(
    name="parquet",
    form="a folder of Parquet files",
    text="Pictures inside, as the Hugging Face hub has them: data/train-00000-of-00004.parquet.",
    read=_read,
    takes=lambda path: path.is_dir() and bool(shards_in(path)),
)
