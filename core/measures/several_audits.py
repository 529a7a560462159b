"""The table of the comparison: models x measures, with differences to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.availability import COST, make_trials, missing
from core.measures.cells import Context, Figure, Figures, figures_of
from core.measures.decimals import figure, interval, p_value
from core.measures.measure import (
    BOOTSTRAP,
    BOTH,
    EXACT,
    MCNEMAR,
    POINTS,
    SEVERAL,
    SHARE,
    TIMED,
    Measure,
)
from core.measures.registry import MEASURES
from core.measures.shared_images import Shared, shared_images
from core.statistics.intervals import interval_p
from core.statistics.multiplicity import corrected
from core.statistics.paired import (
    bootstrap_interval,
    bootstrap_p,
    difference,
    mcnemar,
    paired_interval,
    shared_difference,
)
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.types import Reporter, silent


def compared() -> list[Measure]:
    """The rows of the table."""
    return MEASURES.seen_in(SEVERAL)


def text_of(measure: Measure) -> str:
    """What a row is, for people."""
    mean = "" if measure.figure else " Mean over the tagged classes."
    return f"{measure.meaning}{mean}"


@dataclass(frozen=True)
class Cell:
    """One figure of one model, and its difference to the baseline."""

    audit: str
    """Id."""
    measure: str
    missing: str = ""
    """Why there is no figure; empty where there is one."""
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    """95 % interval; equal to the value where it is exact."""
    n: int = 0
    difference: float = float("nan")
    """To the baseline, in the measure's unit (shares in percentage points); NaN for the baseline
    itself."""
    difference_low: float = float("nan")
    difference_high: float = float("nan")
    p: float = float("nan")
    """Two-sided, of no difference; NaN where nothing was tested."""
    p_holm: float = float("nan")
    """The same after Holm's correction over every test of the table."""
    note: str = ""

    @property
    def certain(self) -> bool:
        """Whether the difference holds after the correction."""
        return self.p_holm < 0.05


@dataclass(frozen=True)
class Table:
    """Models x measures."""

    context: Context
    baseline: str
    """Id of the audit that differences are to."""
    rows: dict[tuple[str, str], Cell]
    """By measure and audit id."""
    tests: int
    """Differences that Holm's correction is over."""

    @property
    def shared(self) -> Shared:
        """The images behind it."""
        return self.context.shared


def open_context(audits: Sequence[Audit], workspace: Workspace) -> Context:
    """What the figures are made of, as it is stored now.

    Raises
    ------
    InputError
        See :func:`core.measures.shared_images.shared_images`.
    """
    store = TagStore.open(workspace)
    decisions = {audit.id: decided(audit, store) for audit in audits}
    return Context(shared_images(audits), decisions)


def measure_missing(
    context: Context,
    cue_images: Mapping[str, Path] | None = None,
    *,
    report: Reporter = silent,
) -> None:
    """Make every trial that is not stored yet; ``cue_images`` by label, name or ``#index``."""
    for audit in context.audits:  # timed one after the other, before anything else is done
        decisions = context.decisions[audit.id]
        if COST in missing(audit, decisions):
            make_trials(audit, decisions, [COST], report=report)
    for audit in context.audits:
        folders = {audit.class_facts(k).label: v for k, v in (cue_images or {}).items()}
        decisions = context.decisions[audit.id]
        make_trials(audit, decisions, missing(audit, decisions), folders, report=report)


def compare(context: Context, baseline: str | None = None) -> Table:
    """The table, from what is stored; no model is loaded.

    Parameters
    ----------
    baseline : id or name of one of the audits; by default the first.

    Raises
    ------
    InputError
        If the baseline is none of the audits.
    """
    base = _baseline(context, baseline)
    rows: dict[tuple[str, str], Cell] = {}
    for measure in compared():
        figures = figures_of(context, measure)
        for audit in context.audits:
            rows[measure.name, audit.id] = _cell(context, measure, audit, base, figures)
    adjusted = corrected([cell.p for cell in rows.values()], "holm")
    tests = int(np.isfinite(adjusted).sum())
    context.hand_back()
    for key, p in zip(rows, adjusted, strict=True):
        rows[key] = replace(rows[key], p_holm=float(p))
    return Table(context, base.id, rows, tests)


def _baseline(context: Context, wanted: str | None) -> Audit:
    for audit in context.audits:
        if wanted in (None, audit.name) or (wanted and audit.id.startswith(wanted)):
            return audit
    names = ", ".join(audit.name for audit in context.audits)
    raise InputError(f"baseline {wanted!r} is not compared; choose one of {names}")


def _cell(context: Context, measure: Measure, audit: Audit, base: Audit, figures: Figures) -> Cell:
    figure, other = figures[audit.id], figures[base.id]
    if isinstance(figure, str):
        return Cell(audit.id, measure.name, missing=figure)
    low, high = figure.interval
    value, n = figure.sampled.value, figure.n
    cell = Cell(audit.id, measure.name, value=value, low=low, high=high, n=n, note=figure.note)
    if audit.id == base.id or isinstance(other, str):
        return cell
    change, below, above, p = _change(context, measure, audit, base, figure, other)
    return replace(cell, difference=change, difference_low=below, difference_high=above, p=p)


def _change(
    context: Context, measure: Measure, audit: Audit, base: Audit, figure: Figure, other: Figure
) -> tuple[float, float, float, float]:
    """Difference to the baseline, its interval, and the p-value of none."""
    scale = 100.0 if measure.unit == SHARE else 1.0
    change = difference(figure.sampled, other.sampled)
    value = scale * change.value
    if measure.test == EXACT:
        return value, value, value, float("nan")
    still = not any(np.ptp(each.sampled.samples) for each in (figure, other))
    if measure.test == BOTH or (measure.test == BOOTSTRAP and still):
        bounds = shared_difference(other.sampled, other.interval, figure.sampled, figure.interval)
        return value, scale * bounds[1], scale * bounds[2], interval_p(*bounds)
    if measure.test == MCNEMAR:
        mine, theirs = context.shared.correct(audit), context.shared.correct(base)
        lost, won = int((theirs & ~mine).sum()), int((mine & ~theirs).sum())
        low, high = paired_interval(lost, won, len(mine))
        return value, scale * low, scale * high, mcnemar(lost, won)
    low, high = bootstrap_interval(change)
    p = float("nan") if measure.test == TIMED else bootstrap_p(change)
    return value, scale * low, scale * high, p


def value_text(cell: Cell, unit: str) -> str:
    """A figure with its interval."""
    if cell.low == cell.high:
        return figure(cell.value, unit)
    return f"{figure(cell.value, unit, cell.low, cell.high)} {interval(cell.low, cell.high, unit)}"


def change_text(cell: Cell, unit: str) -> str:
    """A difference with its interval and corrected p-value; empty for the baseline."""
    if cell.difference != cell.difference:
        return ""
    unit, words = (POINTS, " points") if unit in (SHARE, POINTS) else (unit, "")
    low, high = cell.difference_low, cell.difference_high
    shown = figure(cell.difference, unit, low, high, sign="+") + words
    if low == high:
        return shown if cell.p_holm != cell.p_holm else f"{shown} (the same in every resample)"
    shown = f"{shown} {interval(low, high, unit, sign='+')}"
    if cell.p_holm != cell.p_holm:
        return shown
    return f"{shown} {p_value(cell.p_holm)}{' *' if cell.certain else ''}"
