"""Files of ours: arrays, tables and JSON documents, each complete or not there at all.

Arrays are ``.npy``, tables ``.parquet``, everything else ``.json``; nothing is pickled. A file or
folder appears under its final name only when it is complete and on the disk, so a process may be
killed at any moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from core.errors import WorkspaceError
from core.storage import digests, disk, leases, mirror
from core.storage.bucket import in_parallel
from core.storage.disk import (
    ELSEWHERE,
    disk_errors,
    is_temporary,
    make_folder,
    remove_unfinished,
    replacing,
    sync,
    temporary_beside,
)
from core.storage.documents import Shape, mismatch
from core.storage.json_values import JsonValue, Mismatch

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from core.storage.ranged import Ranged

__all__ = [
    "ELSEWHERE",
    "MEND",
    "as_bytes",
    "as_npz",
    "as_parquet",
    "damaged",
    "disk_errors",
    "dumps",
    "here",
    "is_locked",
    "link",
    "link_tree",
    "is_sealed",
    "locked",
    "make_folder",
    "plain",
    "read_array",
    "read_bytes",
    "read_frame",
    "read_frames",
    "read_json",
    "read_rows",
    "read_value",
    "remove",
    "remove_unfinished",
    "replacing",
    "replacing_folder",
    "seal_folder",
    "seen",
    "set_aside",
    "sync",
    "temporary_beside",
    "there",
    "write_array",
    "write_bytes",
    "write_frame",
    "write_json",
]

Value = TypeVar("Value", bound=JsonValue)

MEND = "run the same audit or mitigate command again to mend it"


@contextlib.contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Hold ``path`` for this process alone, whatever machines there are.

    Raises
    ------
    WorkspaceError
        With ``message`` if another process holds it.
    """
    with disk.locked(path, message), leases.alone(path, message):
        yield


def is_locked(path: Path) -> bool:
    """Whether a living process holds ``path``; asking takes it from nobody."""
    return disk.is_locked(path) or leases.is_held_elsewhere(path)


@contextlib.contextmanager
def replacing_folder(
    path: Path, *, sealed: bool = False, found: Mapping[str, digests.Digest] | None = None
) -> Iterator[Path]:
    """Yield a temporary folder; on success it becomes ``path`` in one step, complete on disk.

    Parameters
    ----------
    sealed : digests of its files go with it, written last (:func:`is_sealed`), wherever it lies;
        by default where it is one of an audit.
    found : digests of some of them by name, known before.
    """
    with disk_errors(path):
        make_folder(path.parent)
        temporary = temporary_beside(path)
        temporary.mkdir()
        try:
            yield temporary
            if sealed or digests.audit_of(path):
                digests.seal(temporary, found or {})
            if not (sealed and is_sealed(path)):  # another process wrote the same meanwhile
                seal_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def is_sealed(folder: Path) -> bool:
    """Whether a folder holds digests of its files, which are written after all of them."""
    return (folder / digests.NAME).exists() or mirror.is_sealed(folder)


def here(path: Path) -> Path:
    """A file that another library opens by its path, where it is only in a bucket so far, too."""
    mirror.bring([path])
    return path


def seen(path: Path) -> bool:
    """Whether a file is there at this moment, where another machine may write or delete it."""
    mirror.look(path)
    return path.exists()


def seal_folder(temporary: Path, path: Path) -> None:
    """Put a complete temporary folder on the disk and give it its final name."""
    for file in temporary.iterdir():
        sync(file)
    sync(temporary)
    if not mirror.publish_folder(temporary, path):
        shutil.rmtree(temporary)
        mirror.refresh(path)
        return
    if path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, NaN as null."""
    write_bytes(path, as_bytes(value))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as it came."""
    with _complete(path) as unfinished:
        unfinished.write_bytes(content)


def _complete(path: Path) -> AbstractContextManager[Path]:
    """Where to write a file; in a folder that nobody sees yet (:func:`replacing_folder`) itself."""
    if is_temporary(path.parent):
        return contextlib.nullcontext(path)
    return replacing(path, put=digests.put)


def as_bytes(value: Any) -> bytes:
    """What :func:`write_json` writes."""
    return f"{dumps(value)}\n".encode("utf-8", "backslashreplace")


def plain(value: Any) -> Any:
    """Make values, numbers and containers JSON can hold; NaN and infinities become null."""
    if isinstance(value, JsonValue):
        value = value.to_json()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if getattr(value, "ndim", 0):  # an array, which is what a stored table holds of a list
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def dumps(value: Any) -> str:
    """One JSON document as text, NaN as null."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=1)


def there(path: Path) -> bool:
    """Whether a file of ours exists, or its digest says that it should."""
    return path.exists() or digests.is_known(path)


def remove(path: Path) -> None:
    """Delete a file or a folder of an audit on purpose: nobody misses it afterwards."""
    with disk_errors(path):
        mirror.withdraw(path)
        if path.is_dir():
            shutil.rmtree(path)
            return
        digests.forget(path)
        path.unlink(missing_ok=True)


def link_tree(source: Path, target: Path) -> None:
    """Hard links to every finished file below a folder; digests, which are believed, come last."""
    paths = [path for path in sorted(source.rglob("*")) if _is_finished(path, source)]
    last = [path for path in paths if path.name == digests.NAME]
    for some in ([path for path in paths if path not in last], last):
        in_parallel(lambda path: link(path, target / path.relative_to(source)), some)


def _is_finished(path: Path, below: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(below).parts)
    return path.is_file() and not hidden


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none; the file is never changed in place."""
    with disk_errors(target):
        make_folder(target.parent)
        if mirror.copied(source, target):
            return
        temporary = temporary_beside(target)
        try:
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)  # also where both names were one file already


def set_aside(path: Path, name: str) -> None:
    """Give a file of an audit a name that nothing reads, and keep it."""
    aside = path.with_name(name)
    digests.forget(path)
    mirror.publish(path, aside)
    mirror.withdraw(path)
    os.replace(path, aside)


def read_json(path: Path, shape: Shape = object) -> Any:
    """Read a JSON document of ours.

    Parameters
    ----------
    shape : what it holds at least (:mod:`core.storage.documents`); anything by default.

    Raises
    ------
    WorkspaceError
        If the file is missing, damaged or of another shape; the message names it.
    """
    with sound(path, "is no JSON document"):
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    if found := mismatch(value, shape):
        raise damaged(path, f"holds something else than expected ({found})")
    return value


def read_value(path: Path, kind: type[Value]) -> Value:
    """Read a JSON document of ours as a value.

    Raises
    ------
    WorkspaceError
        If the file is missing, damaged or of another kind; the message names it.
    """
    found = read_json(path)
    try:
        return kind.from_json(found)
    except Mismatch as odd:
        raise damaged(path, f"holds something else than expected ({odd})") from odd


def read_bytes(path: Path) -> bytes:
    """Read a file as it was written.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged.
    """
    with sound(path, "cannot be read"):
        return path.read_bytes()


def _refused(constant: str) -> None:
    raise ValueError(constant)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array as ``.npy``."""
    import numpy as np

    with _complete(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def as_npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays by name as a ``.npz`` archive, for other tools."""
    import numpy as np

    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_array(
    path: Path, *, mapped: bool = False, ndim: int | None = None, kinds: str = ""
) -> NDArray[Any]:
    """Read one array.

    Parameters
    ----------
    mapped : leave it on disk and read what is touched.
    ndim, kinds : dimensions and kinds of numbers (``dtype.kind``) that it has to have.

    Raises
    ------
    WorkspaceError
        If the file is missing, damaged or of another form; the message names it.
    """
    import numpy as np

    array: NDArray[Any]
    with sound(path, "is no array, or only a part of one"):
        if mapped:
            array = np.lib.format.open_memmap(path, mode="r")
        else:
            with path.open("rb") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
    if ndim not in (None, array.ndim) or array.dtype.kind not in (kinds or array.dtype.kind):
        raise damaged(path, "holds an array of another form than expected")
    return array


def read_rows(path: Path, rows: int) -> NDArray[Any] | Ranged:
    """An array of which so many rows are going to be read, :func:`read_array` where it is mapped.

    Of a large one that is only in a bucket few rows are read without the others.

    Raises
    ------
    WorkspaceError
        If the file is missing, damaged or of another form; the message names it.
    """
    from core.storage.ranged import LARGE, Ranged

    there = mirror.mirror_of(path) if mirror.is_far(path) else None
    if there is not None and path.stat().st_size >= LARGE:
        with contextlib.suppress(FileNotFoundError, ValueError):  # said when the whole is read
            found = Ranged(path, there)
            if not found.wants_all(rows):
                return found
    return read_array(path, mapped=True)


def write_frame(
    path: Path, frame: pd.DataFrame, compression: Literal["snappy", "zstd"] = "zstd"
) -> None:
    """Write one table as Parquet; the same table gives the same bytes."""
    with _complete(path) as unfinished:
        _storable(frame).to_parquet(unfinished, index=False, compression=compression)


def as_parquet(frame: pd.DataFrame) -> bytes:
    """What :func:`write_frame` writes."""
    buffer = BytesIO()
    _storable(frame).to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _storable(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without Arrow's lists, whose type pandas names in the file and cannot read."""
    lists = [name for name, kind in frame.dtypes.items() if str(kind).startswith("list<")]
    return frame.assign(**{str(name): frame[name].to_numpy(object) for name in lists})


def read_frame(
    path: Path, columns: list[str] | None = None, *, needed: Sequence[str] = ()
) -> pd.DataFrame:
    """Read one Parquet table of ours.

    Parameters
    ----------
    columns : the only ones to read; all by default.
    needed : columns that it has to have.

    Raises
    ------
    WorkspaceError
        If the file is missing or damaged, or lacks a column; the message names it.
    """
    import pandas as pd
    from pyarrow import ArrowException

    with sound(path, NO_TABLE, ArrowException):
        frame = pd.read_parquet(path, columns=columns)
    require_columns(path, frame.columns, [*(columns or ()), *needed])
    return frame


def read_frames(
    paths: Sequence[Path], needed: Sequence[str] = ()
) -> tuple[pd.DataFrame, list[int]]:
    """Read many small Parquet tables of ours as one, several times as fast as one by one.

    Parameters
    ----------
    needed : columns that each has to have.

    Returns
    -------
    The rows of all, in order, and how many each table has.

    Raises
    ------
    WorkspaceError
        If a file is missing or damaged, or lacks a column; the message names it.
    """
    import pyarrow
    from pyarrow import parquet

    tables = []
    mirror.bring(paths)
    for path in paths:
        with sound(path, NO_TABLE, pyarrow.ArrowException):
            tables.append(parquet.ParquetFile(path).read(use_threads=False))
        require_columns(path, tables[-1].column_names, needed)
    other = "holds a table that does not go with the others"
    with sound(paths[0].parent, other, pyarrow.ArrowException):
        whole = pyarrow.concat_tables(tables, promote_options="permissive")
        frame = whole.to_pandas(ignore_metadata=True)
    return frame, [len(table) for table in tables]


NO_TABLE = "is no table, or only a part of one"


def require_columns(path: Path, columns: Iterable[str], needed: Sequence[str]) -> None:
    """Raise WorkspaceError where a table lacks a column that it has to have."""
    if lacking := [name for name in needed if name not in set(columns)]:
        raise damaged(path, f"lacks the column {lacking[0]!r}")


@contextlib.contextmanager
def sound(path: Path, otherwise: str, *also: type[Exception]) -> Iterator[None]:
    """Compare a file with its digest, and say in words of ours what its reader stumbles over.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged; where its digest is right or unknown, with ``otherwise``.
    """
    if found := digests.fault(path):
        raise damaged(path, found)
    try:
        yield
    except FileNotFoundError as error:
        raise damaged(path, "is missing") from error
    except OSError as error:
        words = os.strerror(error.errno).lower() if error.errno else ""
        raise damaged(path, f"cannot be read ({words})" if words else otherwise) from error
    except (*_STUMBLES, *also) as error:
        raise damaged(path, otherwise) from error


_STUMBLES: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, tokenize.TokenError),
)
"""What NumPy, Arrow, pandas and JSON raise for a file that is not what its name says."""


def damaged(path: Path, words: str) -> WorkspaceError:
    """The error for a file of an audit that cannot be used as it is."""
    return WorkspaceError(f"{path} {words}; {MEND}")
