"""Several audits of one report beside each other: what the comparison of models knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import InputError
from core.measures.cells import Context
from core.measures.several_audits import Cell, change_text, compare, compared, text_of, value_text
from core.measures.shared_images import shared_images
from core.report.material import Evidence


@dataclass(frozen=True)
class Line:
    """One measure of every audit."""

    title: str
    text: str
    cells: tuple[tuple[str, str], ...]
    """Value with its interval, and difference to the first audit with its own; in the audits'
    order, empty where there is none."""


@dataclass(frozen=True)
class Beside:
    """Figures of several audits on the images that they share."""

    lines: tuple[Line, ...]
    absent: tuple[tuple[str, tuple[str, ...]], ...]
    """Why some measures are known of no audit, and which."""
    notes: tuple[str, ...]
    images: int
    """Held-out images that all audits share; 0 where they cannot be compared."""
    tests: int
    """Differences that Holm's correction is over."""


def beside(evidence: Sequence[Evidence]) -> Beside | None:
    """Compare the audits of a report, from what is stored; None of a single one.

    Audits that share no held-out image are not compared, and the notes say so.
    """
    if len(evidence) < 2:
        return None
    try:
        shared = shared_images([e.audit for e in evidence])
    except InputError as error:
        return Beside((), (), (str(error),), 0, 0)
    decisions = {e.audit.id: e.decisions for e in evidence}
    table = compare(Context(shared, decisions))
    lines: list[Line] = []
    absent: dict[str, list[str]] = {}
    for measure in compared():
        cells = [table.rows[measure.name, e.audit.id] for e in evidence]
        if all(cell.missing for cell in cells):
            absent.setdefault(cells[0].missing, []).append(measure.title)
        else:
            shown = tuple(_texts(cell, measure.unit) for cell in cells)
            lines.append(Line(measure.title, text_of(measure), shown))
    reasons = tuple((why, tuple(titles)) for why, titles in absent.items())
    return Beside(tuple(lines), reasons, shared.notes, len(shared.held), table.tests)


def _texts(cell: Cell, unit: str) -> tuple[str, str]:
    if cell.missing:
        return "", ""
    return value_text(cell, unit), change_text(cell, unit)
