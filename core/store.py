"""Artefacts on disk: atomic writes, fingerprints, and the workspace that holds the audits.

Arrays are ``.npy``, tables ``.parquet``, everything else ``.json``; nothing is pickled. A file or
folder appears under its final name only when it is complete and on the disk, so a process may be
killed at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from core.config import FORMAT
from core.errors import WorkspaceError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

NAME = re.compile(r"[^\x00-\x1f/\\]{1,120}")

ELSEWHERE = "choose another folder with --workspace DIR"

REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}
"""What the system says where nothing can be written."""

PATIENCE = 0.5
"""Seconds a lock is tried for: somebody asking whether it is held holds it for a moment."""


@contextlib.contextmanager
def disk_errors(path: Path, remedy: str = ELSEWHERE) -> Iterator[None]:
    """Turn a full disk and missing permission into sentences that name the place and the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing(path)).free / 2**20
            raise WorkspaceError(
                f"the disk of {path} is full ({free:.0f} MiB free); everything finished so far is "
                "kept: free some space or choose another --workspace, then run the same command"
            ) from error
        if error.errno in REFUSED:
            raise WorkspaceError(
                f"cannot write to {path} ({os.strerror(error.errno).lower()}); {remedy}"
            ) from error
        raise


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_beside(path: Path) -> Path:
    """A name in the folder of ``path`` that :func:`remove_unfinished` knows; nothing is made.

    Unlike those of :mod:`tempfile`, files made under it have the usual permissions.
    """
    return path.parent / f".{path.name[:40]}-{secrets.token_hex(6)}"


@contextlib.contextmanager
def replacing(path: Path, remedy: str = ELSEWHERE) -> Iterator[Path]:
    """Yield a temporary path; on success it takes the place of the file ``path`` in one step."""
    with disk_errors(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success it becomes ``path`` in one step, complete on disk."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        temporary.mkdir()
        try:
            yield temporary
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


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed run left under temporary names."""
    for left in folder.glob(".*-*") if folder.is_dir() else ():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


ROLES = ("view", "tag", "run")
"""What visitors may do; each includes those before it."""


def role() -> str:
    """What this process lets people do (:data:`ROLES`): ``$SPURIOSCOPE_ROLE``, by default run.

    ``SPURIOSCOPE_READONLY=1`` means view, and so does a role that does not exist.
    """
    named = os.environ.get("SPURIOSCOPE_ROLE", "") or "run"
    shows = os.environ.get("SPURIOSCOPE_READONLY") == "1" or named not in ROLES
    return "view" if shows else named


def read_only() -> bool:
    """Whether this process only shows what there is."""
    return role() == "view"


def may_run() -> bool:
    """Whether work may be started, and audits be renamed and deleted."""
    return role() == "run"


def refuse_unless_may_run() -> None:
    """Raise WorkspaceError in a process that starts no work; called before it is started."""
    refuse_if_read_only()
    if not may_run():
        raise WorkspaceError(
            "no work can be started here (SPURIOSCOPE_ROLE=tag); ask whoever runs this app to "
            "start it"
        )


def refuse_if_read_only() -> None:
    """Raise WorkspaceError in a process that only shows; called before what people change."""
    if read_only():
        raise WorkspaceError(
            "nothing can be changed in a presentation (SPURIOSCOPE_READONLY=1 or "
            "SPURIOSCOPE_ROLE=view); start again without that variable to change something"
        )


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, NaN as null."""
    with replacing(path) as temporary:
        temporary.write_bytes(f"{dumps(value)}\n".encode("utf-8", "backslashreplace"))


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


def read_json(path: Path) -> Any:
    """Read a JSON document of ours.

    Raises
    ------
    WorkspaceError
        If the file is missing or damaged; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            f"{path} cannot be read ({error}); delete the audit and run it again"
        ) from error


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array as ``.npy``."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read one array; ``mapped`` leaves it on disk and reads what is touched."""
    import numpy as np

    array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    return array


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write one table as Parquet; the same table gives the same bytes."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")


def read_frame(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read one Parquet table of ours.

    Raises
    ------
    WorkspaceError
        If the file is missing or damaged; the message names it.
    """
    import pandas as pd
    from pyarrow import ArrowException

    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError, ArrowException) as error:
        raise _damaged(path, error) from error


def read_frames(paths: Sequence[Path]) -> tuple[pd.DataFrame, list[int]]:
    """Read many small Parquet tables of ours as one, several times as fast as one by one.

    Returns
    -------
    The rows of all, in order, and how many each table has.

    Raises
    ------
    WorkspaceError
        If a file is missing or damaged; the message names it.
    """
    import pyarrow
    from pyarrow import parquet

    tables = []
    for path in paths:
        try:
            tables.append(parquet.ParquetFile(path).read(use_threads=False))
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise _damaged(path, error) from error
    whole = pyarrow.concat_tables(tables, promote_options="permissive")
    return whole.to_pandas(ignore_metadata=True), [len(table) for table in tables]


def _damaged(path: Path, error: Exception) -> WorkspaceError:
    return WorkspaceError(
        f"{path} cannot be read ({type(error).__name__}); delete the audit and run it again"
    )


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


@contextlib.contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Hold ``path`` for this process alone; released by any end of the process.

    Raises
    ------
    WorkspaceError
        With ``message`` if another process holds it.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        ends = time.monotonic() + PATIENCE
        while not _take(handle, fcntl.LOCK_EX):
            if time.monotonic() > ends:
                raise WorkspaceError(message)
            time.sleep(0.02)
        yield


def _take(handle: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a living process holds ``path``."""
    if not path.exists():
        return False
    with path.open() as handle:
        return not _take(handle, fcntl.LOCK_SH)


REQUIRED = {"name", "created", "format"}
"""Entries without which a manifest says nothing."""


class Workspace:
    """The folder that holds every audit, tag and job.

    ``audits/<id>/manifest.json`` says what an audit is; its other files are described where they
    are written (:mod:`core.features.shards`, :mod:`core.analysis`).
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
        found = []
        with disk_errors(self.audits):
            paths = list(self.audits.glob("[!.]*/manifest.json"))
        for path in paths:
            with contextlib.suppress(WorkspaceError):
                manifest = read_json(path)
                if isinstance(manifest, dict) and manifest.keys() >= REQUIRED:
                    found.append({**manifest, "id": path.parent.name})
        return sorted(found, key=lambda m: (str(m["created"]), str(m["id"])), reverse=True)

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
            raise WorkspaceError(f"{audit!r} {what} in {self.root}; audits there: {names}")
        return matches[0]

    def named(self, name: str) -> dict[str, Any] | None:
        """The manifest of the audit with exactly this name, if there is one."""
        return next((m for m in self.manifests() if m["name"] == name), None)

    def new_id(self, name: str, parts: Mapping[str, Any]) -> str:
        """An id for a new audit: the same name and fingerprint give the same id.

        A folder without a manifest is one that was killed before it began, and is used again.
        """
        for attempt in range(1000):
            audit_id = fingerprint({"name": name, "parts": parts, "attempt": attempt})[:12]
            if not (self.folder(audit_id) / "manifest.json").exists():
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
        manifest = {**read_json(path), **changes}
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
