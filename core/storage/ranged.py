"""Rows of an array in a bucket, of which only those are fetched that are asked for."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.storage import digests
from core.storage.bucket import in_parallel
from core.storage.mirror import Mirror

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGE = 2**26
"""Bytes from which an array is read by ranges where few of its rows are wanted."""

FEW = 0.25
"""Share of the rows above which the whole array is fetched."""


class Ranged:
    """The rows of one array.

    Its first block is compared with its digest, and its size; rows are what the server says.

    Parameters
    ----------
    path : a file that is only in the bucket so far.

    Raises
    ------
    ValueError
        If it is no array, or another one than was written.
    """

    def __init__(self, path: Path, mirror: Mirror) -> None:
        self.path, self.mirror = path, mirror
        start = self._read(0, digests.BLOCK)
        if not digests.begins_with(path, start):
            raise ValueError(path)
        file = BytesIO(start)
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(path)
        self.shape, columns_first, self.dtype = np.lib.format.read_array_header_1_0(file)
        self._offset = file.tell()
        self._row = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        size = self._offset + len(self) * self._row
        if columns_first or self.dtype.hasobject or size != path.stat().st_size:
            raise ValueError(path)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, which: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Some rows, in the order in which they are asked for."""
        rows = np.arange(len(self))[which]
        unique, places = np.unique(rows, return_inverse=True)
        runs = np.split(unique, np.flatnonzero(np.diff(unique) > 1) + 1)
        found = b"".join(in_parallel(self._run, [run for run in runs if len(run)]))
        array = np.frombuffer(found, self.dtype).reshape(len(unique), *self.shape[1:])
        return np.asarray(array[places])

    def wants_all(self, rows: int) -> bool:
        """Whether so many rows are better read from a copy of the whole array."""
        return rows > FEW * len(self)

    def _run(self, run: NDArray[np.int64]) -> bytes:
        start = self._offset + int(run[0]) * self._row
        return self._read(start, start + len(run) * self._row)

    def _read(self, start: int, stop: int) -> bytes:
        found = self.mirror.bucket.read(self.mirror.name(self.path), start, stop)
        if found is None:
            raise FileNotFoundError(self.path)
        return found
