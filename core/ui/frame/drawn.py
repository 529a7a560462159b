"""Drawn pictures kept on disk, below a budget of bytes; those unread the longest go first."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from core.config import PICTURE_BUDGET
from core.errors import WorkspaceError
from core.storage.files import replacing

LOOK_EVERY = 16
"""The folder is measured again after this share of the budget was written."""

KEPT = 0.9
"""Share of the budget that clearing leaves, so that the next picture does not clear again."""

_drawing: dict[str, threading.Lock] = {}
_written: dict[Path, int] = {}
_guard = threading.Lock()


def drawn(folder: Path, key: str, draw: Callable[[], bytes]) -> bytes:
    """A picture from the folder, else drawn now and kept there; each is drawn by one thread.

    Where nothing can be written (a full disk, a workspace that others own) it is drawn all the
    same.
    """
    path = folder / key[:2] / key
    with _once(str(path)):
        try:
            content = path.read_bytes()
        except OSError:
            content = draw()
            with contextlib.suppress(WorkspaceError):
                _keep(folder, path, content)
        else:
            with contextlib.suppress(OSError):
                os.utime(path)  # read last now
    return content


def _once(key: str) -> threading.Lock:
    with _guard:
        if len(_drawing) > 4096:
            _drawing.clear()
        return _drawing.setdefault(key, threading.Lock())


def _keep(folder: Path, path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    with _guard:
        fresh = folder not in _written  # what earlier processes left is not known yet
        _written[folder] = _written.get(folder, 0) + len(content)
        full = fresh or _written[folder] > PICTURE_BUDGET / LOOK_EVERY
        if full:
            _written[folder] = 0
    if full:
        clear(folder, PICTURE_BUDGET)


def clear(folder: Path, budget: int) -> None:
    """Delete the pictures unread the longest if there are more bytes of them than the budget."""
    files = sorted(_files(folder), key=lambda entry: entry[1].st_mtime_ns)
    total = sum(status.st_size for _, status in files)
    if total <= budget:
        return
    for path, status in files:
        if total <= KEPT * budget:
            return
        path.unlink(missing_ok=True)
        total -= status.st_size


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process clears, too
                path = Path(parent, name)
                yield path, path.stat()
