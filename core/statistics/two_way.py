"""The mean of a table whose rows share something and whose columns share something, too.

Every donor is put into every target: cells of one donor are alike, and so are those of one target,
so that the number of cells says little about how sure their mean is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.config import CONFIDENCE
from core.types import FloatArray


class TwoWay(NamedTuple):
    """A mean over rows and columns."""

    value: float
    error: float
    """Standard error, above 0."""
    freedom: int
    """Degrees of freedom: rows - 1."""

    def interval(self, level: float = CONFIDENCE) -> tuple[float, float]:
        """Student's interval at a confidence level in (0, 1)."""
        from scipy.stats import t

        half = float(t.isf((1 - level) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided p-value that the mean is zero."""
        from scipy.stats import t

        return float(2 * t.sf(abs(self.value) / self.error, self.freedom))


def two_way(cells: FloatArray) -> TwoWay:
    """Mean of cells (rows, columns) with its variance over rows and columns.

    V = V_rows + V_columns - V_cells (Cameron, Gelbach & Miller 2011), each the variance of the
    mean if only rows, only columns or single cells were drawn. Two departures: V is at least
    either of the first two, without which intervals of four rows cover 90 % where neither rows nor
    columns matter; and at least as if one more column had another value by 1, so that an interval
    has a width even where all cells are equal.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or no column.
    """
    cells = np.asarray(cells, np.float64)
    rows, columns = cells.shape
    if rows < 2 or not columns:
        raise ValueError(f"a table of {rows} x {columns} cells: give two rows or more, and columns")
    of_rows = cells.mean(axis=1).var(ddof=1) / rows
    of_columns = cells.mean(axis=0).var(ddof=1) / columns if columns > 1 else 0.0
    of_cells = cells.var(ddof=1) / cells.size
    variance = max(of_rows + of_columns - of_cells, of_rows, of_columns, 1 / (columns + 1) ** 2)
    return TwoWay(float(cells.mean()), float(np.sqrt(variance)), rows - 1)
