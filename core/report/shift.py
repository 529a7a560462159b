"""The section "Under shift": what is known of the model beyond its test images, against the cue.

A paragraph is a function of the evidence, and appears where its figures were computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from core.data.table import some
from core.measures.calibrated import BRIER, CALIBRATED, NLL, OVERCONFIDENCE
from core.measures.conditions import ALL, CUE, CUES
from core.measures.measure import Measure
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import OnDemand
from core.measures.set_figures import CUE_SHIFT, DROP, SETS
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


def evaluation_sets(evidence: Evidence) -> Sentence | None:
    """Named evaluation sets, and how far accuracy drops from the audit's own images to each."""
    table = stored(evidence, SETS)
    if table is None:
        return None
    told, numbers = [], []
    for name in table.loc[table["measure"] == "accuracy", "subject"]:
        found = [number(table, each, name) for each in ("accuracy", DROP)]
        there = [each for each in found if each is not None]
        drop = f", {_drop(there[1])}" if len(there) > 1 else ""
        told.append(f"{name} {percent(there[0].value)}{drop}")
        numbers += there
    return (
        Sentence(f"On other sets of images: {'; '.join(told)}.", tuple(numbers)) if told else None
    )


def _drop(found: Number) -> str:
    if found.low <= 0 <= found.high:
        return "not certainly another than on the audit's own images of these classes"
    word = "fewer" if found.value > 0 else "more"
    return f"{points(abs(found.value))} {word} than on the audit's own images of these classes"


def cues_of_sets(evidence: Evidence) -> Sentence | None:
    """Which sets show more or less of the tagged cues: what a drop may come from."""
    table = stored(evidence, SETS)
    if table is None:
        return None
    rows = table[table["measure"] == CUE_SHIFT.name]
    told, numbers = [], []
    for name, of in rows.groupby("subject", sort=False):
        for direction in ("less", "more"):
            mine = of.loc[of["reading"] == f"{direction} of the cue", "class_name"].tolist()
            if mine:
                told.append(f"{name} shows {direction} of the tagged cues in {some(mine)}")
        numbers += [found for found in (number(of, CUE_SHIFT, str(name)),) if found]
    return Sentence(f"{'; '.join(told)}.", tuple(numbers)) if told else None


PARAGRAPHS: Sequence[Callable[[Evidence], Sentence | None]] = (
    calibration,
    calibration_by_cue,
    evaluation_sets,
    cues_of_sets,
)
"""In their order."""


def under_shift(evidence: Evidence) -> list[Sentence]:
    """Every paragraph whose figures were computed."""
    found = (paragraph(evidence) for paragraph in PARAGRAPHS)
    return [each for each in found if each is not None]
