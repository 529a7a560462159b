"""The rows of the table of measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.audits.audited import AuditedClass
from core.measures.measure import PLAIN, Measure, Sample
from core.types import count_of

if TYPE_CHECKING:
    from core.measures.scope import Scope

COLUMNS = [
    *("class_idx", "label", "class_name", "measure", "subject", "value", "low", "high", "unit"),
    *("n", "split", "reading", "source", "note"),
]
"""``class_idx`` is -1 and ``label`` empty where a row is about all classes; ``value`` is NaN in
the rows ``note``. ``low`` and ``high`` bound a 95 % interval, NaN where there is none."""

EVERYWHERE = AuditedClass(-1, "", "", 0)
"""Stands for a class in rows about all of them."""

NOTE = Measure("note", "Note", "Something that is missing, and why.", unit=PLAIN, source="")
"""Stands for a measure in rows that say what is missing; it is in no registry."""


def row(
    facts: AuditedClass,
    measure: Measure,
    value: float,
    *,
    interval: tuple[float, float] = (float("nan"), float("nan")),
    n: int = 0,
    subject: str = "",
    split: str = "",
    reading: str = "",
    note: str = "",
) -> dict[str, Any]:
    """One row (COLUMNS); name, unit and source are the measure's."""
    numbers = (float(value), float(interval[0]), float(interval[1]), measure.unit, int(n))
    told = (measure.name, subject, *numbers, split, reading, measure.source, note)
    return dict(zip(COLUMNS, (facts.class_idx, facts.label, facts.name, *told), strict=True))


def of_classes(n: int) -> str:
    """What a mean over classes was taken of."""
    return f"mean of {count_of(n, 'class', 'classes')}, n counts their images"


def corrected(tests: int, what: str) -> str:
    """Says that an interval was corrected; empty for one comparison."""
    return f"interval corrected for {tests} {what} (Bonferroni)" if tests > 1 else ""


def row_of(measure: Measure, scope: Scope, label: str, sample: Sample) -> dict[str, Any]:
    """The row of a sample of a class."""
    value, low, high = bounds = measure.estimate.of(sample.values, sample.tests)
    there = int(measure.estimate.known(sample.values).sum())
    said = (sample.note, corrected(sample.tests, sample.over))
    return row(
        scope.owner.class_facts(label),
        measure,
        value,
        interval=(low, high),
        n=there if sample.size is None else sample.size,
        subject=sample.subject,
        split=sample.split or scope.split,
        reading=measure.reading(scope, label, bounds) if measure.reading else "",
        note="; ".join(part for part in said if part),
    )


def note(text: str, *, n: int = 0, facts: AuditedClass | None = None) -> dict[str, Any]:
    """A row that says what is missing."""
    return row(facts or EVERYWHERE, NOTE, float("nan"), n=n, note=text)


def as_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as the table of measures."""
    return pd.DataFrame(rows, columns=COLUMNS)
