"""Single columns and outlines of large tables of ours, without a text of Python for every entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.storage.files import NO_TABLE, read_frame, require_columns, sound

if TYPE_CHECKING:
    import pandas as pd


def as_names(texts: Any) -> NDArray[Any]:
    """Texts (n,) as bytes of one width, without making an object of each.

    Of texts of one length that Arrow holds in one piece, nothing is copied.

    Parameters
    ----------
    texts : a sequence, or an array or a column of Arrow or pandas.
    """
    import pyarrow
    from pyarrow import compute

    found = pyarrow.array(texts, pyarrow.large_string())
    if isinstance(found, pyarrow.ChunkedArray):  # as pandas holds what it read of a large table
        found = found.combine_chunks()
    widths = compute.unique(compute.binary_length(found)).to_pylist()
    if len(widths) == 1 and (width := widths[0]):
        _, starts, letters = found.buffers()
        start = int(np.frombuffer(starts, np.int64)[found.offset])
        return np.frombuffer(letters, f"S{width}", count=len(found), offset=start)
    return np.array([text.encode() for text in found.to_pylist()], "S")


def read_names(path: Path, column: str) -> NDArray[Any]:
    """One column of texts of a Parquet table of ours, (n,), as of :func:`as_names`.

    Raises
    ------
    WorkspaceError
        If the file is missing or damaged, or lacks the column; the message names it.
    """
    import pyarrow
    from pyarrow import parquet

    with sound(path, NO_TABLE, pyarrow.ArrowException):
        file = parquet.ParquetFile(path)
        require_columns(path, file.schema_arrow.names, [column])
        found = file.read([column], use_threads=False).column(0)
        return as_names(found.cast(pyarrow.large_string()).combine_chunks())


def read_with_lists(path: Path, lists: str, needed: Sequence[str]) -> pd.DataFrame:
    """A Parquet table of ours whose column of lists stays in Arrow: a list where one is asked for.

    As Python's objects, ten names of each of a hundred thousand rows are hundreds of megabytes.

    Raises
    ------
    WorkspaceError
        If the file is missing or damaged, or lacks a column; the message names it.
    """
    import pandas as pd
    import pyarrow
    from pyarrow import parquet

    _, names = outline_of_frame(path)
    require_columns(path, names, needed)
    found = read_frame(path, [name for name in names if name != lists])
    with sound(path, NO_TABLE, pyarrow.ArrowException):
        column = parquet.ParquetFile(path).read([lists], use_threads=False).column(0)
    values = pd.arrays.ArrowExtensionArray(column)
    return found.assign(**{lists: pd.Series(values, index=found.index)})[names]


def in_one_piece(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose columns of texts are one piece each: rows are taken several times as fast.

    A large table is read in pieces, which Arrow puts together anew for every take. One column at a
    time, so that only one stands twice.
    """
    import pandas as pd

    pieces = dict[str, pd.Series]()
    for name, column in frame.items():
        if isinstance(held := column.array, pd.arrays.ArrowStringArray):
            whole = held.__arrow_array__().combine_chunks()
            pieces[str(name)] = pd.Series(type(held)(whole, dtype=held.dtype), index=frame.index)
    return frame.assign(**pieces)


def outline_of_frame(path: Path) -> tuple[int, list[str]]:
    """Rows and columns of a Parquet table of ours, from its last bytes.

    Raises
    ------
    WorkspaceError
        If the file is missing or damaged; the message names it.
    """
    import pyarrow
    from pyarrow import parquet

    with sound(path, NO_TABLE, pyarrow.ArrowException):
        file = parquet.ParquetFile(path)
        return int(file.metadata.num_rows), list(file.schema_arrow.names)
