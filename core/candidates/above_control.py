"""Whether a gap is more than what random directions open, after looking at all candidates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.candidates.search import CONTROL
from core.config import CONFIDENCE
from core.statistics.multiplicity import corrected
from core.types import IntArray

CORRECTED = "gap_p_corrected"
"""Column of the p-values after the correction."""

COLUMNS = [*CONTROL, CORRECTED]
"""What a table of candidates says of their control; empty in audits of earlier versions."""


def with_corrected(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its p-values corrected over all its rows, of every class and kind at once.

    Benjamini & Hochberg 1995: of the candidates that are above or below their control, 5 % at most
    are expected to be so by chance, however many there are.
    """
    given = table.reindex(columns=[*table.columns.union(CONTROL, sort=False)])
    p = corrected(given["gap_p"].to_numpy(np.float64), "fdr_bh")
    return given.assign(**{CORRECTED: p})


def side_of_control(table: pd.DataFrame) -> IntArray:
    """Where the gap of every row is: 1 above its control, -1 below it, 0 not to be told from it.

    A core feature can be above its control as well: errors go along with it, too. Rows of audits of
    earlier versions, which have no control, are 0.

    Parameters
    ----------
    table : with ``gap`` and COLUMNS, or without the latter.
    """
    told = table.reindex(columns=["gap", "gap_control", CORRECTED]).astype(np.float64)
    sure = (told[CORRECTED] <= 1 - CONFIDENCE).to_numpy(bool)
    side = np.sign((told["gap"] - told["gap_control"]).fillna(0).to_numpy())
    return np.where(sure, side, 0).astype(np.int64)
