"""Arrays out of a pickle of somebody else's, of which nothing is run.

A pickle is a program. The one here may name three things, those that NumPy rebuilds an array from,
and no other; a file that names anything else is refused before that thing is even looked up.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CheckpointError

GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""Module and name, as NumPy before version 2 writes them, to what they mean."""

LARGEST = 2**26
"""Bytes of a file that is read at all: what is in it is held twice for a moment."""

BROKEN = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError),
    *(MemoryError, OverflowError, RecursionError, TypeError, ValueError),
)
"""What a damaged pickle raises."""


class _Arrays(pickle.Unpickler):
    """Looks nothing up but GLOBALS."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in GLOBALS:
            raise CheckpointError(
                f"it names {module}.{name}, and only arrays of NumPy are read from it"
            )
        return GLOBALS[module, name]


def read_arrays(path: Path) -> dict[str, tuple[np.ndarray, ...]]:
    """Arrays of floats by name, of a pickled dictionary of sequences of arrays.

    Raises
    ------
    CheckpointError
        If the file names anything but arrays, is damaged, too large, or holds another thing.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise CheckpointError(f"it has more than {LARGEST:,} bytes")
        found = _Arrays(io.BytesIO(path.read_bytes())).load()
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not read: {error}.") from error
    except (OSError, *BROKEN) as error:
        raise CheckpointError(f"{path} is damaged: install its package again.") from error
    if not isinstance(found, dict) or not all(map(_is_layer, found.items())):
        raise CheckpointError(f"{path} holds something else than arrays of floats by name.")
    return {name: tuple(arrays) for name, arrays in found.items()}


def _is_layer(entry: tuple[Any, Any]) -> bool:
    name, arrays = entry
    return (
        isinstance(name, str)
        and isinstance(arrays, (list, tuple))
        and all(type(a) is np.ndarray and a.dtype.kind == "f" for a in arrays)
    )
