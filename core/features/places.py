"""Where each of many images stands, by its id: a fraction of the memory of an index of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.storage.table_columns import as_names
from core.types import IntArray


class Places:
    """Finds places by names; of a name that stands several times, the last.

    Parameters
    ----------
    names : (n,) as of :func:`core.storage.files.as_names`.
    """

    def __init__(self, names: NDArray[Any]) -> None:
        self.order = np.argsort(names, kind="stable").astype(np.int32)
        self.names = names[self.order]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, ids: Sequence[str]) -> IntArray:
        """Place (m,) of each id, -1 where it is none of the names."""
        wanted = as_names(ids)
        if not len(self.names):
            return np.full(len(wanted), -1)
        at = np.maximum(np.searchsorted(self.names, wanted, side="right") - 1, 0)
        found = self.order[at].astype(np.int64)
        found[self.names[at] != wanted] = -1
        return found
