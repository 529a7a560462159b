"""The section "Under shift": what is known of the model beyond its test images, against the cue.

A paragraph is a function of the evidence, and appears where its figures were computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from core.measures.calibrated import BRIER, CALIBRATED, NLL, OVERCONFIDENCE
from core.measures.conditions import ALL, CUE, CUES
from core.measures.measure import Measure
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.report.findings import Number
from core.report.material import Evidence
from core.report.sentences import Sentence, percent, points


def stored(evidence: Evidence, table: OnDemand) -> pd.DataFrame | None:
    """A table as it is measured without further options; None where it was not."""
    audit = evidence.audit
    return table.known(audit, evidence.decisions, MeasureRequest(audit.id, table.name))


def number(table: pd.DataFrame, measure: Measure | str, subject: str) -> Number | None:
    """A row of such a table; None where it has none."""
    name = measure if isinstance(measure, str) else measure.name
    rows = table[(table["measure"] == name) & (table["subject"] == subject)]
    if rows.empty:
        return None
    row = rows.iloc[0]
    split, source, note = (str(row[of]) for of in ("split", "source", "note"))
    value, low, high = (float(row[of]) for of in ("value", "low", "high"))
    unit, n = str(row["unit"]), int(row["n"])
    return Number(name, subject, value, low, high, unit, n, split, source, note)


def calibration(evidence: Evidence) -> Sentence | None:
    """How sure the model is, and how often right."""
    table = stored(evidence, CALIBRATED)
    if table is None:
        return None
    asked = ("accuracy", "confidence", OVERCONFIDENCE, "calibration_error", NLL, BRIER)
    found = [number(table, each, ALL) for each in asked]
    numbers = tuple(each for each in found if each is not None)
    right, sure, away = numbers[:3]
    said = "as sure as it is right, as far as these images can tell"
    if away.low > 0:
        said = f"{points(away.value)} surer than it is right"
    if away.high < 0:
        said = f"{points(away.value)} less sure than it is right"
    return Sentence(
        f"On all held-out images the model is right on {percent(right.value)} and gives what it "
        f"says {percent(sure.value)} on average: {said}.",
        numbers,
    )


def calibration_by_cue(evidence: Evidence) -> Sentence | None:
    """The same where images show least and most of the tagged cues."""
    table = stored(evidence, CALIBRATED)
    if table is None:
        return None
    told, numbers = [], []
    for place, where in ((CUES[0], "least"), (CUES[-1], "most")):
        subject = f"{CUE} {place}"
        found = [number(table, m, subject) for m in ("accuracy", "confidence", OVERCONFIDENCE)]
        there = [each for each in found if each is not None]
        if len(there) < len(found):
            return None
        right, sure, _ = there
        told.append(
            f"where images show {where} of the tagged cues (a tenth of each class) it is right on "
            f"{percent(right.value)} and says {percent(sure.value)}"
        )
        numbers += there
    text = f"{told[0]}; {told[1]}."
    return Sentence(text[0].upper() + text[1:], tuple(numbers))


PARAGRAPHS: Sequence[Callable[[Evidence], Sentence | None]] = (calibration, calibration_by_cue)
"""In their order."""


def under_shift(evidence: Evidence) -> list[Sentence]:
    """Every paragraph whose figures were computed."""
    found = (paragraph(evidence) for paragraph in PARAGRAPHS)
    return [each for each in found if each is not None]
