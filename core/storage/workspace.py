"""Artefacts on disk: atomic writes, fingerprints, and the workspace that holds the audits.

Arrays are ``.npy``, tables ``.parquet``, everything else ``.json``; nothing is pickled. A file or
folder appears under its final name only when it is complete and on the disk, so a process may be
killed at any moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.config import FORMAT
from core.errors import WorkspaceError
from core.storage import digests
from core.storage.disk import (
    ELSEWHERE,
    disk_errors,
    is_locked,
    locked,
    make_folder,
    remove_unfinished,
    replacing,
    sync,
    temporary_beside,
)
from core.storage.documents import ANY_MANIFEST, MANIFEST, Shape, mismatch
from core.storage.roles import (
    ROLES,
    may_run,
    read_only,
    refuse_if_read_only,
    refuse_unless_may_run,
    role,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "ELSEWHERE", "MEND", "NAME", "Workspace", "as_bytes", "check_name", "damaged", "differences",
    "disk_errors", "dumps", "fingerprint", "is_locked", "locked", "make_folder", "read_array",
    "read_frame", "read_frames", "read_json", "read_manifest", "read_only", "refuse_if_read_only",
    "refuse_unless_may_run", "role", "may_run", "ROLES",
    "remove", "remove_unfinished", "replacing", "replacing_folder", "seal_folder", "sync",
    "temporary_beside", "there", "write_array", "write_frame", "write_json",
]  # fmt: skip

MEND = "run the same audit or mitigate command again to mend it"

NAME = re.compile(r"[^\x00-\x1f/\\]{1,120}")


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success it becomes ``path`` in one step, complete on disk."""
    with disk_errors(path):
        make_folder(path.parent)
        temporary = temporary_beside(path)
        temporary.mkdir()
        try:
            yield temporary
            if digests.audit_of(path):
                digests.seal(temporary)
            seal_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def seal_folder(temporary: Path, path: Path) -> None:
    """Put a complete temporary folder on the disk and give it its final name."""
    for file in temporary.iterdir():
        sync(file)
    sync(temporary)
    if path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, NaN as null."""
    with replacing(path, put=digests.put) as temporary:
        temporary.write_bytes(as_bytes(value))


def as_bytes(value: Any) -> bytes:
    """What :func:`write_json` writes."""
    return f"{dumps(value)}\n".encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """Make numbers and containers JSON can hold; NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def dumps(value: Any) -> str:
    """One JSON document as text, NaN as null."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=1)


def there(path: Path) -> bool:
    """Whether a file of ours exists, or its digest says that it should."""
    return path.exists() or digests.is_known(path)


def remove(path: Path) -> None:
    """Delete a file or a folder of an audit on purpose: nobody misses it afterwards."""
    with disk_errors(path):
        if path.is_dir():
            shutil.rmtree(path)
            return
        digests.forget(path)
        path.unlink(missing_ok=True)


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
    with _sound(path, "is no JSON document"):
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    if found := mismatch(value, shape):
        raise damaged(path, f"holds something else than expected ({found})")
    return value


def _refused(constant: str) -> None:
    raise ValueError(constant)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array as ``.npy``."""
    import numpy as np

    with replacing(path, put=digests.put) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


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
    with _sound(path, "is no array, or only a part of one"):
        if mapped:
            array = np.lib.format.open_memmap(path, mode="r")
        else:
            with path.open("rb") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
    if ndim not in (None, array.ndim) or array.dtype.kind not in (kinds or array.dtype.kind):
        raise damaged(path, "holds an array of another form than expected")
    return array


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write one table as Parquet; the same table gives the same bytes."""
    with replacing(path, put=digests.put) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")


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

    with _sound(path, _NO_TABLE, ArrowException):
        frame = pd.read_parquet(path, columns=columns)
    _require(path, frame.columns, [*(columns or ()), *needed])
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
    for path in paths:
        with _sound(path, _NO_TABLE, pyarrow.ArrowException):
            tables.append(parquet.ParquetFile(path).read(use_threads=False))
        _require(path, tables[-1].column_names, needed)
    other = "holds a table that does not go with the others"
    with _sound(paths[0].parent, other, pyarrow.ArrowException):
        whole = pyarrow.concat_tables(tables, promote_options="permissive")
        frame = whole.to_pandas(ignore_metadata=True)
    return frame, [len(table) for table in tables]


_NO_TABLE = "is no table, or only a part of one"


def _require(path: Path, columns: Iterable[str], needed: Sequence[str]) -> None:
    if lacking := [name for name in needed if name not in set(columns)]:
        raise damaged(path, f"lacks the column {lacking[0]!r}")


@contextlib.contextmanager
def _sound(path: Path, otherwise: str, *also: type[Exception]) -> Iterator[None]:
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


def fingerprint(parts: Mapping[str, Any]) -> str:
    """16 hex digits that change whenever a part does."""
    text = json.dumps(_plain(parts), sort_keys=True, ensure_ascii=False)
    encoded = text.encode("utf-8", "backslashreplace")
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Which parts of two fingerprints differ, as ``part: old, now new``."""
    old, new = _plain(old), _plain(new)
    return [
        f"{part} was {old.get(part)!s}, now {new.get(part)!s}"
        for part in sorted({*old, *new})
        if old.get(part) != new.get(part)
    ]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an audit by its folder, whose name is its id.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged.
    """
    path = folder / "manifest.json"
    found: dict[str, Any] = read_json(path, ANY_MANIFEST)
    if found["format"] == FORMAT and (odd := mismatch(found, MANIFEST)):
        raise damaged(path, f"is no manifest of an audit ({odd})")
    return {**found, "id": folder.name}


class Workspace:
    """The folder that holds every audit, tag and job.

    ``audits/<id>/manifest.json`` says what an audit is; its other files are described where they
    are written (:mod:`core.features.shards`, :mod:`core.audits.analysis`).
    """

    def __init__(self, root: Path, database: str | None = None) -> None:
        self.root = root.expanduser().absolute()
        self.database = database
        """URL of the database that holds the tags; None: a file of the workspace."""

    @classmethod
    def default(cls, root: str | Path | None = None, database: str | None = None) -> Workspace:
        """The given folder and database, else those that the environment names.

        ``$SPURIOSCOPE_WORKSPACE``, else ``./workspace``; ``$SPURIOSCOPE_DATABASE``, else a file of
        the workspace.
        """
        return cls(
            Path(root or os.environ.get("SPURIOSCOPE_WORKSPACE") or "workspace"),
            database or os.environ.get("SPURIOSCOPE_DATABASE") or None,
        )

    @property
    def audits(self) -> Path:
        """Folder of the audits."""
        return self.root / "audits"

    def folder(self, audit_id: str) -> Path:
        """Folder of one audit."""
        return self.audits / audit_id

    def require_writable(self) -> None:
        """Raise WorkspaceError unless files can be made here."""
        probe = temporary_beside(self.root / "probe")
        try:
            with disk_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
                probe.touch()
                probe.unlink()
        except FileNotFoundError as error:  # places like /proc
            raise WorkspaceError(f"cannot make the folder {self.root}; {ELSEWHERE}") from error

    def manifests(self) -> list[dict[str, Any]]:
        """Every audit's manifest, newest first; a damaged one is left out.

        The id is the folder's name, so that a copied audit is one of its own.
        """
        found, _ = self._read_manifests()
        return sorted(found, key=lambda m: (m["created"], m["id"]), reverse=True)

    def unreadable(self) -> dict[str, str]:
        """Why, by id, for every audit whose manifest is damaged."""
        return self._read_manifests()[1]

    def _read_manifests(self) -> tuple[list[dict[str, Any]], dict[str, str]]:
        found, damaged = [], {}
        with disk_errors(self.audits):
            paths = sorted(self.audits.glob("[!.]*/manifest.json"))
        for path in paths:
            try:
                found.append(read_manifest(path.parent))
            except WorkspaceError as error:
                damaged[path.parent.name] = str(error)
        return found, damaged

    def find(self, audit: str) -> dict[str, Any]:
        """The manifest of an audit by its name or by a prefix of its id.

        Raises
        ------
        WorkspaceError
            If none or several match, or its format is another version's.
        """
        manifest = self._matching(audit)
        if manifest["format"] != FORMAT:
            raise WorkspaceError(
                f"audit {audit!r} was written in format {manifest['format']}, this version "
                f"reads format {FORMAT}; delete it, or run the audit again under another name"
            )
        return manifest

    def _matching(self, audit: str) -> dict[str, Any]:
        """The manifest that :meth:`find` means, of any format."""
        manifests = self.manifests()
        matches = [m for m in manifests if m["name"] == audit] or [
            m for m in manifests if audit and m["id"].startswith(audit)
        ]
        if len(matches) != 1:
            names = ", ".join(m["name"] for m in manifests[:8]) or "none yet"
            what = "matches several audits" if matches else "names no audit"
            hidden = len(self.unreadable())
            more = f"; {hidden} more cannot be read: {MEND}" if hidden else ""
            raise WorkspaceError(f"{audit!r} {what} in {self.root}; audits there: {names}{more}")
        return matches[0]

    def named(self, name: str) -> dict[str, Any] | None:
        """The manifest of the audit with exactly this name, if there is one."""
        return next((m for m in self.manifests() if m["name"] == name), None)

    def new_id(self, name: str, parts: Mapping[str, Any]) -> str:
        """An id for a new audit: the same name and fingerprint give the same id.

        A folder without a manifest, or with a damaged one, is this very audit, killed before it
        began or damaged since, and is used again.
        """
        for attempt in range(1000):
            audit_id = fingerprint({"name": name, "parts": parts, "attempt": attempt})[:12]
            try:
                read_manifest(self.folder(audit_id))
            except WorkspaceError:
                return audit_id
        raise WorkspaceError(f"no free id for audit {name!r} in {self.root}")

    def rename(self, audit: str, name: str) -> dict[str, Any]:
        """Give an audit another name; its id stays."""
        refuse_unless_may_run()
        manifest = self.find(audit)
        check_name(name)
        if (other := self.named(name)) and other["id"] != manifest["id"]:
            raise WorkspaceError(f"an audit named {name!r} exists already; choose another name")
        return self.update(manifest["id"], name=name)

    def update(self, audit_id: str, **changes: Any) -> dict[str, Any]:
        """Change entries of an audit's manifest; returns the new manifest."""
        path = self.folder(audit_id) / "manifest.json"
        manifest = {**read_manifest(path.parent), **changes}
        write_json(path, manifest)
        return manifest

    def delete(self, audit: str) -> dict[str, Any]:
        """Delete an audit's files; its tags stay in the database.

        Raises
        ------
        WorkspaceError
            If the audit is being computed right now.
        """
        refuse_unless_may_run()
        manifest = self._matching(audit)
        folder = self.folder(manifest["id"])
        busy = f"audit {manifest['name']!r} is being computed; cancel it first"
        with locked(folder / "lock", busy), disk_errors(folder):
            os.replace(folder, temporary_beside(folder))
        remove_unfinished(self.audits)
        return manifest


def check_name(name: str) -> str:
    """Return ``name`` if an audit may be called so.

    Raises
    ------
    WorkspaceError
        If it is empty, longer than 120 characters, or holds a slash or control character.
    """
    if not NAME.fullmatch(name) or name != name.strip() or name.startswith((".", "-")):
        raise WorkspaceError(
            f"{name!r} cannot be the name of an audit: use 1 to 120 characters without slashes, "
            "not starting with a dot or dash"
        )
    return name
