"""What databases say when they fail, in our words: the thing, why, and the remedy.

Neither SQLite's nor a server's own words are repeated: they name columns and statements that nobody
here wrote, and may hold a password.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.errors import WorkspaceError
from core.tags.address import SQLITE, place

RESTORE = "restore the file from a backup"

REASONS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_ERROR: ("its tables are damaged or not those of this program", RESTORE),
    sqlite3.SQLITE_PERM: ("it may not be opened", "change its permissions"),
    sqlite3.SQLITE_BUSY: (
        "another program holds it",
        "close that program or wait for it, then try again",
    ),
    sqlite3.SQLITE_LOCKED: (
        "another program holds it",
        "close that program or wait for it, then try again",
    ),
    sqlite3.SQLITE_NOMEM: ("the memory does not suffice", "close other programs"),
    sqlite3.SQLITE_READONLY: (
        "it may not be written",
        "make the file and its folder writable, or choose a writable --workspace; if they are, "
        + RESTORE,
    ),
    sqlite3.SQLITE_CORRUPT: ("the file is damaged", RESTORE),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened as a file",
        "choose a writable --workspace, or " + RESTORE,
    ),
    sqlite3.SQLITE_CONSTRAINT: ("its tables are damaged or not those of this program", RESTORE),
    sqlite3.SQLITE_MISMATCH: ("its tables are damaged or not those of this program", RESTORE),
    sqlite3.SQLITE_NOTADB: ("the file is no database, or is damaged", RESTORE),
}
"""By SQLite's result codes: why, and the remedy."""

OTHERWISE = ("the file is damaged or of another kind", RESTORE)

SERVER: tuple[tuple[str, str, str], ...] = (
    ("password", "the server refuses the name or password", "check both in the URL"),
    ("authentication", "the server refuses the name or password", "check both in the URL"),
    ("pg_hba", "the server does not let this machine in", "ask who runs it"),
    ("translate host", "there is no such host", "check the host in the URL"),
    ("resolve host", "there is no such host", "check the host in the URL"),
    ("name or service", "there is no such host", "check the host in the URL"),
    ("does not exist", "the database or what belongs in it does not exist", "check the URL's end"),
    ("refused", "no server answers there", "check that it runs, and the host and port"),
    ("timeout", "no server answers there", "check that it runs, and the host and port"),
    ("too many", "too many programs are connected", "close some and try again"),
    ("no space left", "its disk is full", "free some space there"),
    ("disk full", "its disk is full", "free some space there"),
    ("permission denied", "this user may not do that", "ask who runs it for the rights"),
    ("read-only", "it takes nothing new now", "give the URL of the server that is written to"),
    ("connection option", "the URL has an option that is unknown", "check what follows its ?"),
)
"""By a word that servers and their drivers say: why, and the remedy."""


@contextlib.contextmanager
def told(url: URL, what: str, saved: str = "") -> Iterator[None]:
    """Turn whatever a database and its driver raise into one sentence.

    Parameters
    ----------
    what : how the sentence begins; the place follows: "the tags cannot be read from".
    saved : what is said of a full disk beside it: "this tag was not saved".

    Raises
    ------
    WorkspaceError
        Instead of anything that the database raises.
    """
    try:
        yield
    except DBAPIError as error:
        why, remedy = reason(error.orig, url, saved)
    except (SQLAlchemyError, sqlite3.Error):
        why, remedy = OTHERWISE
    except (OverflowError, UnicodeError):
        why, remedy = "it holds, or was given, a value that it cannot keep", "correct that value"
    else:
        return
    raise WorkspaceError(f"{what} {place(url)}: {why}; {remedy}") from None


def reason(error: BaseException | None, url: URL, saved: str = "") -> tuple[str, str]:
    """Why a database failed, and the remedy."""
    if url.get_backend_name() != SQLITE:
        return _of_server(str(error).lower())
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return _of_disk(Path(str(url.database)), code == sqlite3.SQLITE_FULL, saved)
    return REASONS.get(code, OTHERWISE)


def _of_server(said: str) -> tuple[str, str]:
    found = (entry[1:] for entry in SERVER if entry[0] in said)
    return next(found, ("the server failed", "check that it runs and lets you in"))


NEARLY = 2**20
"""Bytes; where fewer are free, a disk that refuses to be written is full."""


def _of_disk(path: Path, full: bool, saved: str) -> tuple[str, str]:
    """A full disk, or one that fails; a quota that is used up looks like the latter."""
    free = shutil.disk_usage(next(p for p in path.absolute().parents if p.exists())).free
    words = "the disk is full"
    if not full and free >= NEARLY:
        words = "the disk cannot be read or written, or a quota is used up"
    words += f" ({free / 2**20:.0f} MiB free)"
    kept = ", ".join(part for part in (saved, "everything saved before is kept") if part)
    return f"{words}; {kept}", "free some space or choose another --workspace, then try again"
