"""A line of effective robustness through models that others measured, from the user's own table.

The table has a row per model and a column per set of images, as that of the ImageNet testbed (Taori
et al. 2020) has; none is shipped here. Its rows decide the line: give those of standard models
alone, without the ones trained on more data or against the shift.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import InputError
from core.statistics.robustness import FEWEST, Line, fit_line

MANY = 10**6
"""Images that stand for the unknown number behind a published accuracy."""


def published_table(given: Path | bytes) -> pd.DataFrame:
    """The columns of accuracies of a CSV, as shares in [0, 1].

    Raises
    ------
    InputError
        If it is no table with two columns of accuracies.
    """
    try:
        table = pd.read_csv(BytesIO(given) if isinstance(given, bytes) else given)
    except (OSError, ValueError, UnicodeError) as error:
        raise InputError(f"the table of published accuracies cannot be read: {error}") from error
    numbers = table.select_dtypes("number")
    numbers = numbers.loc[:, (numbers.min() >= 0) & (numbers.max() <= 100)]
    if numbers.shape[1] < 2:
        raise InputError(
            "the table of published accuracies needs two columns of accuracies, in percent or as "
            "shares, and a row per model"
        )
    return numbers / (100 if float(numbers.max().max()) > 1 else 1)


def published_line(table: pd.DataFrame, x: str, y: str) -> Line:
    """The line through the models that have both accuracies, neither of them 0 or 1.

    Parameters
    ----------
    table : of :func:`published_table`; x, y : two of its columns.

    Raises
    ------
    InputError
        If a column is unknown, or fewer than three models have both.
    """
    for column in (x, y):
        if column not in table.columns:
            known = ", ".join(map(str, table.columns[:8]))
            raise InputError(f"the published table has no column {column!r}; it has: {known} …")
    pairs = table[[x, y]].dropna().to_numpy(np.float64)
    pairs = pairs[((pairs > 0) & (pairs < 1)).all(axis=1)]
    n = np.full(len(pairs), MANY)
    line = fit_line(pairs[:, 0], pairs[:, 1], n, n)
    if line is None:
        raise InputError(
            f"{len(pairs)} published models have both {x!r} and {y!r}; a line needs {FEWEST} of "
            "different accuracy"
        )
    return line
