"""Where each of many images stands, by its id: a fraction of the memory of an index of texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.storage.memory import hand_back
from core.storage.table_columns import as_names
from core.types import IntArray


class Places:
    """Finds places by names; of a name that stands several times, the last.

    The names are looked at where they lie: sorted ones would be a copy of all of them.

    Parameters
    ----------
    names : (n,) as of :func:`core.storage.table_columns.as_names`; kept, not copied.
    """

    def __init__(self, names: NDArray[Any]) -> None:
        self.names = names
        self.order = np.argsort(names, kind="stable").astype(np.int32)
        hand_back()  # sorting a million names takes more than it keeps

    def __len__(self) -> int:
        return len(self.names)

    def of(self, ids: Sequence[str]) -> IntArray:
        """Place (m,) of each id, -1 where it is none of the names."""
        wanted = as_names(ids)
        if not len(self.names):
            return np.full(len(wanted), -1)
        if np.array_equal(wanted, self.names) and self._distinct:  # audits of the same images
            return np.arange(len(wanted))
        found = self.order[np.maximum(self._beyond(wanted) - 1, 0)].astype(np.int64)
        found[self.names[found] != wanted] = -1
        return found

    @cached_property
    def _distinct(self) -> bool:
        """Whether no name stands several times."""
        ordered = self.names[self.order]
        return bool((ordered[1:] != ordered[:-1]).all())

    def _beyond(self, wanted: NDArray[Any]) -> IntArray:
        """Names (m,) that do not stand after each wanted one, as ``searchsorted`` counts them.

        NumPy's own would copy ``order`` as 64-bit integers at every call.
        """
        low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(self.names))
        for _ in range(len(self.names).bit_length()):
            middle = np.minimum((low + high) // 2, len(self.names) - 1)
            before = (low < high) & (self.names[self.order[middle]] <= wanted)
            low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
        return low
