"""Files that appear complete or not at all, and what the disk says in words of ours."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import WorkspaceError

ELSEWHERE = "choose another folder with --workspace DIR"

REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}
"""What the system says where nothing can be written."""

FULL = {
    errno.ENOSPC: "the disk of {path} is full",
    errno.EDQUOT: "your share of the disk of {path} is used up",
    errno.EFBIG: "{path} would be larger than a file may be here (ulimit -f)",
}
"""What the system says where no more can be written, in words of ours."""


PATIENCE = 0.5
"""Seconds a lock is tried for: somebody asking whether it is held holds it for a moment."""


@contextlib.contextmanager
def disk_errors(path: Path, remedy: str = ELSEWHERE) -> Iterator[None]:
    """Turn a full disk and missing permission into sentences that name the place and the remedy."""
    try:
        yield
    except OSError as error:
        number = error.errno or _cut_short(error)
        if number in FULL:
            free = shutil.disk_usage(_existing(path)).free / 2**20
            raise WorkspaceError(
                f"{FULL[number].format(path=path)} ({free:.0f} MiB free); everything finished so "
                "far is kept: free some space or choose another --workspace, then run the same "
                "command"
            ) from error
        if number in REFUSED:
            raise WorkspaceError(
                f"cannot write to {path} ({os.strerror(number).lower()}); {remedy}"
            ) from error
        raise


def _cut_short(error: OSError) -> int | None:
    """Why NumPy wrote less than it was asked to, which it says without a number."""
    if " requested and " not in str(error):
        return None
    try:
        import resource
    except ImportError:  # no system but those of Unix bounds a file
        return errno.ENOSPC
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    return errno.ENOSPC if unlimited else errno.EFBIG


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


def is_temporary(path: Path) -> bool:
    """Whether a name is one of :func:`temporary_beside`."""
    return bool(re.fullmatch(r"\..*-[0-9a-f]{12}", path.name))


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    WorkspaceError
        If the system keeps its own files there (``/proc``).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise WorkspaceError(f"cannot make the folder {path}; {ELSEWHERE}") from error


@contextlib.contextmanager
def replacing(
    path: Path, remedy: str = ELSEWHERE, *, put: Callable[[Path, Path], object] = os.replace
) -> Iterator[Path]:
    """Yield a temporary path; on success it takes the place of the file ``path`` in one step.

    Parameters
    ----------
    put : gives the complete temporary file its final name.
    """
    with disk_errors(path, remedy):
        make_folder(path.parent)
        temporary = temporary_beside(path)
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            sync(temporary)
            put(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, begins: str = "") -> None:
    """Delete what a killed run left under temporary names.

    Parameters
    ----------
    begins : only of files whose names begin so.
    """
    for left in folder.glob(f".{begins}*-*") if folder.is_dir() else ():
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, message: str) -> Iterator[None]:
    """Hold ``path`` for this process alone; released by any end of the process.

    Raises
    ------
    WorkspaceError
        With ``message`` if another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, PATIENCE, poll_interval=0.02, fallback_to_soft=False)
    with disk_errors(path):
        make_folder(path.parent)
        try:
            lock.acquire()
        except Timeout as error:
            raise WorkspaceError(message) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a living process holds ``path``; asking neither writes nor takes it from others."""
    if not path.exists():
        return False
    try:
        import fcntl
    except ImportError:
        return _is_refused(path)
    with path.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is_refused(path: Path) -> bool:
    """Whether the lock cannot be had, for systems whose locks cannot be shared by those who ask."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, 0, fallback_to_soft=False):
            return False
    except Timeout:
        return True
