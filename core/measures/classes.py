"""Classes x models: which model leans on the cues of which class, and whether all of them do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from core.config import CONFIDENCE
from core.measures.cells import Context
from core.statistics.intervals import share
from core.types import FloatArray, count_of

TAGGED, WIDEST, ACCURACY = "tagged", "widest", "accuracy"
KINDS = {
    TAGGED: "spurious gap of the tagged cues",
    WIDEST: "largest gap that any candidate opens",
    ACCURACY: "accuracy",
}
"""What a class can be looked at by; only the first needs tags."""

FEWEST = 4
"""Classes that a correlation with an interval needs."""

COLUMNS = ["label", "class_name", "audit", "value", "low", "high", "n", "subject"]


def class_table(context: Context, kind: str) -> pd.DataFrame:
    """One row per class and model that has a figure.

    Parameters
    ----------
    kind : a key of KINDS. Gaps are in percentage points, accuracy in percent; all over the shared
        held-out images but the widest gap, which is over all held-out images of an audit.

    Returns
    -------
    COLUMNS: ``audit`` is an id; ``low`` and ``high`` bound a 95 % interval, the widest gap's
    corrected for the class's candidates; ``subject`` names the candidate behind a widest gap.
    """
    make = {TAGGED: _tagged, WIDEST: _widest, ACCURACY: _accuracy}[kind]
    return pd.DataFrame(make(context), columns=COLUMNS)


def _names(context: Context) -> dict[str, str]:
    names: dict[str, str] = {}
    for audit in context.audits:
        names = audit.class_names | names
    return names


def _tagged(context: Context) -> list[tuple[object, ...]]:
    names = _names(context)
    return [
        (label, names[label], audit, gap.gap, gap.low, gap.high, 2 * gap.k, "")
        for (audit, label), (gap, _) in context.gaps.items()
    ]


def _widest(context: Context) -> list[tuple[object, ...]]:
    labels = set(context.shared.labels)
    return [
        (f.label, f.name, audit.id, f.top_gap, f.top_gap_low, f.top_gap_high,
         f.n_held_out, context.decisions[audit.id].names.said(f.label, f.top_candidate))
        for audit in context.audits
        for f in audit.classes
        if f.label in labels and f.top_gap is not None
    ]  # fmt: skip


def _accuracy(context: Context) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    names = _names(context)
    for audit in context.audits:
        right = context.shared.correct(audit)
        for label in context.shared.labels:
            mine = right[context.shared.rows(label)]
            low, high = share(float(mine.sum()), len(mine))
            figures = (100 * float(mine.mean()), 100 * low, 100 * high, len(mine))
            rows.append((label, names.get(label, label), audit.id, *figures, ""))
    return rows


class Correlation(NamedTuple):
    """How alike two models are over the classes."""

    first: str
    second: str
    """Ids of the audits."""
    n: int
    """Classes that both have a figure for."""
    pearson: float
    low: float
    high: float
    """Fisher's 95 % interval of Pearson's correlation; NaN with fewer than four classes."""
    spearman: float

    @property
    def reading(self) -> str:
        """What it says, or that it is not certain."""
        if self.n < FEWEST or self.low != self.low:
            return count_of(self.n, "class is too few", "classes are too few")
        if self.low > 0:
            return "the same classes in both: rather the data than the model"
        return "not certain" if self.high >= 0 else "opposite classes"


def correlations(context: Context, kind: str) -> list[Correlation]:
    """Pearson's and Spearman's correlation of a figure of the classes, for every two models.

    High: the same classes lean on cues in both models, so that the bias is likely in the data
    (Moayeri et al. 2023, section 4, compare models so). Figures of few images are noisy, which
    pulls every correlation towards zero.
    """
    wide = class_table(context, kind).pivot(index="label", columns="audit", values="value")
    ids = [audit.id for audit in context.audits if audit.id in wide.columns]
    return [_pair(a, b, wide[[a, b]].dropna()) for i, a in enumerate(ids) for b in ids[i + 1 :]]


def _pair(a: str, b: str, table: pd.DataFrame) -> Correlation:
    from scipy.stats import pearsonr, spearmanr

    n, nothing = len(table), float("nan")
    x, y = table[a].to_numpy(dtype=np.float64), table[b].to_numpy(dtype=np.float64)
    if n < 3 or _flat(x) or _flat(y):
        return Correlation(a, b, n, nothing, nothing, nothing, nothing)
    found = pearsonr(x, y)
    rank = float(spearmanr(x, y).statistic)
    if n < FEWEST:
        return Correlation(a, b, n, float(found.statistic), nothing, nothing, rank)
    low, high = found.confidence_interval(CONFIDENCE)
    return Correlation(a, b, n, float(found.statistic), float(low), float(high), rank)


def _flat(values: FloatArray) -> bool:
    return bool(np.ptp(values) < 1e-12)
