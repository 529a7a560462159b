"""An array of ours that is written as it comes: memory holds a part of it, and it is digested once.

Its file has no name before it is whole, so that whoever is killed leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import WorkspaceError
from core.storage.digests import Digest, Running
from core.storage.disk import disk_errors, make_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFTEN = 2**24
"""Bytes after which what was written is brought to the disk, beside what is computed: little is
left to wait for at the end."""


class GrowingArray:
    """A ``.npy`` file, the same bytes as :func:`core.storage.files.write_array` writes.

    Parameters
    ----------
    folder : of the disk that it will lie on.
    rows : how many it will have.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        self._running = Running()
        self._handle: int | None = None
        self._unsynced = self._written = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Write the next rows; the first say the shape and the type of all.

        Raises
        ------
        WorkspaceError
            If the disk is full or not writable.
        """
        import numpy as np

        with disk_errors(self.folder):
            if self._handle is None:
                make_folder(self.folder)
                self._handle = _unnamed(self.folder)
                weakref.finalize(self, os.close, self._handle)
                self._write(self._handle, memoryview(_header(rows, self.rows)))
            plain = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
            self._write(self._handle, plain.data)
            if self._unsynced >= OFTEN:
                os.fsync(self._handle)
                self._unsynced = 0
        self._written += len(rows)

    def _write(self, handle: int, content: memoryview) -> None:
        self._running.add(content)
        self._unsynced += len(content)
        while content:
            content = content[os.write(handle, content) :]

    @property
    def digest(self) -> Digest:
        """Of the file."""
        return self._running.digest

    def put(self, path: Path) -> None:
        """Give the file a name in a folder that nobody sees yet.

        Raises
        ------
        WorkspaceError
            If rows of it could not be written, or the disk refuses it.
        """
        if self._handle is None or self._written != self.rows:
            raise WorkspaceError(
                f"{path} has {self._written} of its {self.rows} rows; run the same command again"
            )
        with disk_errors(path):
            if not _linked(self._handle, path):
                os.lseek(self._handle, 0, os.SEEK_SET)
                with open(self._handle, "rb", closefd=False) as file, path.open("xb") as named:
                    shutil.copyfileobj(file, named)


def _header(rows: NDArray[Any], count: int) -> bytes:
    """The first bytes of the file of an array of so many rows like these."""
    import numpy as np

    whole = np.broadcast_to(rows[:1], (count, *rows.shape[1:]))
    described = {**np.lib.format.header_data_from_array_1_0(whole), "fortran_order": False}
    buffer = BytesIO()
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()


def _unnamed(folder: Path) -> int:
    """An empty file without a name; where the system has them, one that can be given a name."""
    if flag := getattr(os, "O_TMPFILE", 0):
        with contextlib.suppress(OSError):  # a file system without them
            return os.open(folder, flag | os.O_RDWR, 0o666)
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


def _linked(handle: int, path: Path) -> bool:
    """Whether an open file could be given a name."""
    try:
        above = os.open(path.parent, os.O_RDONLY)
    except OSError:  # a system that opens no folders
        return False
    try:
        os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=above, follow_symlinks=True)
    except (OSError, NotImplementedError):
        return False
    finally:
        os.close(above)
    return True
