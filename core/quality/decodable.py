"""Whether an attribute can be read off the features: over all images, and within classes.

What a linear probe reads off is there for the head to use; it is no proof that the head uses it.
Within classes, features lose the mean of their class, so that an attribute that goes with the class
is not read off the class.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.feature_rows import feature_rows
from core.audits.kept import Kept
from core.models.out_of_fold import out_of_fold
from core.statistics.intervals import auroc
from core.statistics.separation import auroc_interval
from core.types import BoolArray, FloatArray, IntArray, MadeRows, Progress, Reporter, Rows, blocks

COLUMNS = (
    *("attribute", "value", "auroc", "low", "high"),
    *("within", "within_low", "within_high", "n"),
)
"""Of the table: AUROC of a probe out of fold for the value against all others, with its interval
(95 %), then within the classes that have both; NaN where there are too few; images with the
value."""

VALUES = 10
"""Values of an attribute that are asked for; one of more is no few words."""

LEAST = 10
"""Images with and without the value."""


def _decodable(audit: Audit, report: Reporter) -> pd.DataFrame:
    features = feature_rows(audit, audit.images.index)
    classes = np.unique(audit.images["label"].to_numpy(str), return_inverse=True)[1]
    asked = [(name, value) for name in audit.summary.attributes for value in _values(audit, name)]
    rows = []
    for done, (name, value) in enumerate(asked):
        report(Progress("Reading attributes", done, len(asked), "values"))
        rows.append((name, value, *_read(features, classes, _holds(audit, name, value))))
    return pd.DataFrame(rows, columns=list(COLUMNS))


decodable = Kept("decodable", COLUMNS, _decodable, grouped=True)
"""Every value of an attribute with how well features tell it (:data:`COLUMNS`)."""


def _values(audit: Audit, name: str) -> Iterator[str]:
    """Values with enough images; of two only the last, which says the same as the first."""
    counts = audit.images[name].dropna().astype(str).value_counts().sort_index()
    if 2 <= len(counts) <= VALUES:
        some = counts if len(counts) > 2 else counts.iloc[-1:]
        total = int(counts.sum())
        yield from some.index[(some >= LEAST) & (total - some >= LEAST)]


def _holds(audit: Audit, name: str, value: str) -> FloatArray:
    """(N,) 1 with the value, 0 without it, NaN unknown."""
    column = audit.images[name]
    found = (column.astype(str) == value).to_numpy(np.float64)
    return np.where(column.notna(), found, np.nan)


def _read(features: Rows, classes: IntArray, holds: FloatArray) -> tuple[float, ...]:
    """AUROC with its interval over all, likewise within classes, and images with the value."""
    known = np.flatnonzero(np.isfinite(holds))
    positive = holds == 1
    both = known[_with_both(classes[known], positive[known])]
    within = _area(_centred(features, both, classes[both]), positive[both], classes[both])
    return (*_area(_some(features, known), positive[known], None), *within, int(positive.sum()))


def _with_both(classes: IntArray, positive: BoolArray) -> BoolArray:
    """(n,) images of the classes in which the value is both there and not, twice at least."""
    size = int(classes.max(initial=0)) + 1
    shown = np.bincount(classes[positive], minlength=size)
    lacking = np.bincount(classes[~positive], minlength=size)
    found: BoolArray = ((shown >= 2) & (lacking >= 2))[classes]
    return found


def _some(features: Rows, which: IntArray) -> MadeRows:
    """Some of the rows (N, D)."""
    return MadeRows((len(which), features.shape[1]), lambda rows: features[which[rows]])


def _centred(values: Rows, which: IntArray, classes: IntArray) -> MadeRows:
    """Some of the rows (N, D), of classes (n,), less the mean of their class."""
    some, numbers = _some(values, which), np.unique(classes, return_inverse=True)[1]
    means = np.zeros((int(numbers.max(initial=-1)) + 1, values.shape[1]))
    for rows in blocks(len(which)):
        np.add.at(means, numbers[rows], some[rows])
    means /= np.bincount(numbers, minlength=len(means))[:, None]
    lower = means.astype(np.float32)
    return MadeRows(some.shape, lambda rows: some[rows] - lower[numbers[rows]])


def _area(x: Rows, positive: BoolArray, classes: IntArray | None) -> tuple[float, ...]:
    """AUROC and its interval of a probe out of fold; NaN of too few images."""
    n_with, n_without = int(positive.sum()), int((~positive).sum())
    if min(n_with, n_without) < LEAST:
        return (float("nan"),) * 3
    logits, every = out_of_fold(x, positive.astype(np.int64), 2), np.arange(len(positive))
    both = np.concatenate([np.asarray(logits[rows]) for rows in blocks(len(positive))])
    said = np.asarray(both[:, 1] - both[:, 0], np.float64)[:, None]
    said = said if classes is None else _centred(said, every, classes)[every]
    area = auroc(said[:, 0], positive)
    return (area, *auroc_interval(area, n_with, n_without))
