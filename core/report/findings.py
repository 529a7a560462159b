"""What an auditor may claim, and from which numbers.

Whether a class whose tags decided a spurious candidate is harmed follows from what that candidate
does (:mod:`core.report.harm`). Gaps and flip rates are the effect beside it; all their intervals
hold together (Bonferroni over one family of statements per report, whichever classes are printed).
A class without such a candidate is never claimed anything about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.above_control import side_of_control
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey, keys_in
from core.measures.flips import CONTROL_RATE, FLIP_RATE
from core.measures.measure import Measure
from core.measures.scope import Scope
from core.report.harm import Choice, Done, done
from core.report.material import Evidence
from core.statistics.intervals import critical, newcombe, wilson
from core.tags.called import Names
from core.tags.decisions import spuriosity_of

CLAIMS = ("spurious_gap", "flip_rate")
"""Measures about which the report makes statements."""

WORTH = 20
"""Points of accuracy. Where even an observed gap of this size could not be told from zero, the
data is called too little. Chosen by this project."""

MOST_IMAGES = 5000
"""Images per side beyond which no number is recommended."""


class Verdict(StrEnum):
    """What may be said about a class with tagged cues."""

    HARMED = "harmed"
    OPEN = "not certain"
    TOO_FEW = "too little data"

    @property
    def words(self) -> str:
        """As people read it; scripts read the value, which is older."""
        return "no harm shown" if self is Verdict.OPEN else self.value


@dataclass(frozen=True)
class Number:
    """One measured number, as the table of measures has it."""

    measure: str
    subject: str
    value: float
    low: float
    high: float
    """95 % interval, corrected as ``note`` says; NaN where there is none."""
    unit: str
    """``points``, ``share`` or empty."""
    n: int
    split: str
    source: str
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """Everything that may be said about one class with tagged cues."""

    label: str
    name: str
    """Displayed name of the class."""
    class_idx: int
    cues: tuple[Candidate, ...]
    titles: tuple[str, ...]
    """The cues in words, with what people call them."""
    called: tuple[str, ...]
    """What people call them; empty of those without a name."""
    words: tuple[str, ...]
    """What annotators wrote about the cues, sorted."""
    gap: Number | None
    gap_control: Number | None
    """What random directions open that follow the logit as closely; None where it is not known."""
    accuracy_high: Number | None
    accuracy_low: Number | None
    flip: Number | None
    control: Number | None
    done: tuple[Done, ...]
    """What the cues do, those that do most first; empty where they were not tried."""
    others: tuple[Number, ...]
    """All further rows about the class."""
    notes: tuple[str, ...]
    helps: bool
    """The interval of the gap lies above zero. A core feature opens a gap, too."""
    confuses: bool
    """It lies below zero."""
    triggers: bool
    """The interval of the flip rate lies above that of the control."""
    detectable: float
    """Smallest observed gap, points, that could be told from zero; infinite where none could."""
    wanted: int
    """Images per side from which an observed gap of WORTH points could; 0: beyond MOST_IMAGES."""
    affected: tuple[str, ...]
    """Held-out images of the disadvantaged side that are predicted wrong."""

    @property
    def verdict(self) -> Verdict:
        """What may be said."""
        if self.harms:
            return Verdict.HARMED
        return Verdict.TOO_FEW if self.too_few else Verdict.OPEN

    @property
    def harms(self) -> bool:
        """Whether one of the cues harms the class (:attr:`core.report.harm.Done.harms`)."""
        return any(each.harms for each in self.done)

    @property
    def by(self) -> Done | None:
        """The cue that it is harmed by, or would be; None where none was tried."""
        return self.done[0] if self.done else None

    @property
    def too_few(self) -> bool:
        """Whether a gap of WORTH points would have gone unnoticed; one that was told did not."""
        return self.detectable > WORTH and not self.told

    @property
    def told(self) -> bool:
        """Whether the gap is told from zero, in either direction."""
        return self.helps or self.confuses

    @property
    def lost(self) -> float:
        """Points of the class's right images that are lost at least without a cue; 0: none."""
        return max((each.takes for each in self.done), default=0.0)

    @property
    def turned(self) -> float:
        """Points of other classes' images that a cue turns at least beyond its control; 0: none."""
        return max((each.turns for each in self.done), default=0.0)

    @property
    def cost(self) -> float:
        """What the cue costs at least, points: the larger of both."""
        return max(self.lost, self.turned)


@dataclass(frozen=True)
class Question:
    """A class about which nothing is claimed, and what there is to look at."""

    label: str
    name: str
    candidates: int
    """Candidates whose gap is above or below its control and that nobody has judged."""
    title: str
    """The one whose gap is farthest from its control; empty where there is none."""
    gap: float
    low: float
    high: float
    """Points; corrected for the class's candidates of its kind only."""
    key: CandidateKey | None = None
    """Of that candidate."""
    control: float = float("nan")
    """Points that random directions open which follow the logit as closely."""

    @property
    def away(self) -> float:
        """Points between the gap and its control; 0 where there is no such candidate."""
        return abs(self.gap - self.control) if self.candidates else 0.0


def family(evidence: Sequence[Evidence]) -> int:
    """Number of statements that the intervals of a report are corrected for."""
    return sum(int(e.table["measure"].isin(CLAIMS).sum()) for e in evidence)


def choice(evidence: Sequence[Evidence]) -> Choice:
    """Of how many candidates those of a report were chosen."""
    cues = [sum(map(len, e.decisions.spurious.keys_of.values())) for e in evidence]
    return Choice(sum(cues), sum(e.among for e in evidence))


def find(
    evidence: Evidence, tests: int, chosen: Choice, classes: Sequence[str] = ()
) -> list[Finding]:
    """Findings of one audit, those that are harmed most first.

    Parameters
    ----------
    tests : :func:`family` of all audits of the report.
    chosen : :func:`choice` of them.
    classes : labels, names or ``#index`` of the classes to print; all by default.

    Raises
    ------
    core.errors.InputError
        If a class does not exist.
    """
    wanted = labels(evidence.audit, classes)
    z = critical(tests)
    table, answers = by_label(evidence.table), by_label(evidence.answers)
    scope = Scope(evidence.audit, evidence.decisions)
    found = [
        replace(
            _find_class(
                evidence, scope, label, table.get(label, []), answers.get(label, []), z, tests
            ),
            done=done(evidence.tried[label], label, chosen) if label in evidence.tried else (),
        )
        for label in evidence.decisions.spurious
        if label in wanted
    ]
    order = list(Verdict)
    return sorted(found, key=lambda f: (order.index(f.verdict), -f.cost, -_size(f), f.label))


Row = dict[Any, Any]
"""One row of a table."""


def by_label(table: pd.DataFrame) -> dict[str, list[Row]]:
    """The rows of every class, in their order: one pass over a table of thousands of classes."""
    found: dict[str, list[Row]] = {}
    for row in table.to_dict("records"):
        found.setdefault(row["label"], []).append(row)
    return found


def labels(audit: Audit, classes: Sequence[str]) -> set[str]:
    """Raw labels of the wanted classes; of all where none is named."""
    if classes:
        return {audit.class_facts(name).label for name in classes}
    return {facts.label for facts in audit.classes}


def _size(finding: Finding) -> float:
    return abs(finding.gap.value) if finding.gap else 0.0


def _find_class(
    evidence: Evidence,
    scope: Scope,
    label: str,
    mine: list[Row],
    said: list[Row],
    z: float,
    tests: int,
) -> Finding:
    """``mine`` are the rows of the class in the table of measures, ``said`` those of the tags."""
    audit = evidence.audit
    facts = audit.class_facts(label)
    cues = tuple(evidence.decisions.spurious[label])
    rows = {row["measure"]: row for row in reversed(mine)}
    holds = f"interval holds for all {tests} statements of this report (Bonferroni)"
    gap, high, low = _gap(rows, z, holds)
    flips = ((m, rows.get(m.name)) for m in (FLIP_RATE, CONTROL_RATE))
    flip, control = (_flips(scope, label, m, row, tests, holds) for m, row in flips)
    helps, confuses = gap is not None and gap.low > 0, gap is not None and gap.high < 0
    detectable_gap, wanted = _power(high, low, z)
    return Finding(
        label=label,
        name=facts.name,
        class_idx=facts.class_idx,
        cues=cues,
        called=tuple(evidence.decisions.names.of(cue.key) for cue in cues),
        titles=tuple(evidence.decisions.names.written(cue.key) for cue in cues),
        words=_words(said, cues),
        gap=gap,
        gap_control=number(rows["spurious_gap_control"])
        if "spurious_gap_control" in rows
        else None,
        accuracy_high=high,
        accuracy_low=low,
        flip=flip,
        control=control,
        done=(),
        others=_others(mine),
        notes=tuple(row["note"] for row in mine if row["measure"] == "note"),
        helps=helps,
        confuses=confuses,
        triggers=flip is not None and control is not None and flip.low > control.high,
        detectable=detectable_gap,
        wanted=wanted,
        affected=_affected(audit, label, evidence, high, at_low=helps) if helps or confuses else (),
    )


def number(row: Row, **changes: Any) -> Number:
    """A row of the table of measures as a number."""
    names = ("measure", "subject", "value", "low", "high", "unit", "n", "split", "source", "note")
    return Number(**{**{name: row[name] for name in names}, **changes})


def _gap(rows: dict[str, Row], z: float, said: str) -> tuple[Number | None, ...]:
    """The gap and both accuracies, with the intervals of this report."""
    if "spurious_gap" not in rows:
        return None, None, None
    sides = [_share(rows[f"accuracy_{side}_spuriosity"], z, said) for side in ("high", "low")]
    high, low = sides
    bounds = newcombe(np.array(_hits(high)), np.array(_hits(low)), high.n, z=z)
    points = [100 * float(bound) for bound in bounds]
    gap = number(
        rows["spurious_gap"], low=points[0], high=points[1], note=f"k = {high.n} a side; {said}"
    )
    return gap, high, low


def _hits(accuracy: Number) -> float:
    return float(round(accuracy.value * accuracy.n))


def _share(row: Row, z: float, said: str) -> Number:
    found = number(row)
    low, high = wilson(np.array(_hits(found)), found.n, z=z)
    note = "; ".join(part for part in (_plain_note(found.note), said) if part)
    return number(row, low=float(low), high=float(high), note=note)


def _flips(
    scope: Scope, label: str, measure: Measure, row: Row | None, tests: int, said: str
) -> Number | None:
    """A flip rate with the interval of this report; with its own where the trials are gone."""
    if row is None:
        return None
    there = scope.outcomes.pasted(label, measure.needs) is not None
    samples = measure.samples(scope, label) if there else []
    for sample in samples if isinstance(samples, list) else []:
        value, low, high = measure.estimate.of(sample.values, tests)
        if abs(value - row["value"]) < 1e-9:
            note = "; ".join(part for part in (_plain_note(row["note"]), said) if part)
            return number(row, low=low, high=high, note=note)
    return number(row)


def _plain_note(note: str) -> str:
    """A note without the correction that the table itself used."""
    return "; ".join(part for part in note.split("; ") if "(Bonferroni)" not in part)


def _others(mine: list[Row]) -> tuple[Number, ...]:
    told = {
        "note",
        "spurious_gap",
        "spurious_gap_control",
        "accuracy_high_spuriosity",
        "accuracy_low_spuriosity",
    }
    told |= {"flip_rate", "flip_rate_control"}
    return tuple(number(row) for row in mine if row["measure"] not in told)


def _words(said: list[Row], cues: Sequence[Candidate]) -> tuple[str, ...]:
    """What people wrote about the cues of a class, and of which kind they are."""
    keys = {(c.key.kind, c.key.number) for c in cues}
    words = {
        " ".join(row["reason"].split())[:120]
        for row in said
        if row["tag"] == "spurious"
        and (row["kind"], row["component"]) in keys
        and isinstance(row["reason"], str)
    }
    return tuple(sorted(words - {""}))


def _power(high: Number | None, low: Number | None, z: float) -> tuple[float, int]:
    """The detectable gap and the images per side wanted, at the class's own accuracy."""
    accuracy = 0.5 if high is None or low is None else (high.value + low.value) / 2
    now = detectable(high.n, accuracy, z) if high else float("inf")
    sizes = range(5, MOST_IMAGES, 5)
    wanted = next((k for k in sizes if detectable(k, accuracy, z) <= WORTH), 0)
    return now, wanted


@lru_cache(maxsize=1 << 16)
def detectable(k: int, accuracy: float, z: float) -> float:
    """Smallest observed gap, points, whose interval lies above zero with k images per side.

    Both sides lie around ``accuracy`` as far as it allows. Infinite where there is none.
    """
    difference = np.arange(1, k + 1)
    second = np.clip(np.round(k * accuracy - difference / 2), 0, k - difference)
    low, _ = newcombe(second + difference, second, k, z=z) if k else (np.zeros(0), None)
    told = difference[low > 0]
    return 100 * float(told[0]) / k if len(told) else float("inf")


def _affected(
    audit: Audit, label: str, evidence: Evidence, side: Number | None, *, at_low: bool
) -> tuple[str, ...]:
    """Wrong images among those with least (or most) of the cue, the most extreme first."""
    if side is None:
        return ()
    table = spuriosity_of(audit, label, evidence.decisions.spurious[label])
    table = table[table["held_out"] & table["spuriosity"].notna()]
    rows = table.iloc[::-1].head(side.n) if at_low else table.head(side.n)
    wrong = rows.loc[~rows["correct"].to_numpy(dtype=bool), "image_id"]
    return tuple(wrong)


def questions(evidence: Evidence, classes: Sequence[str] = ()) -> list[Question]:
    """Classes without a decided spurious cue, those with something to look at first."""
    wanted = labels(evidence.audit, classes)
    judged = {key for keys in evidence.decisions.core.keys_of.values() for key in keys}
    table = evidence.audit.controlled
    table = table[side_of_control(table) != 0]
    of_class = dict(iter(table.groupby("class_idx")))
    found = [
        _question(of_class.get(facts.class_idx, table[:0]), facts, judged, evidence.decisions.names)
        for facts in evidence.audit.classes
        if facts.label in wanted and facts.label not in evidence.decisions.spurious
    ]
    return sorted(found, key=lambda q: (-q.away, q.label))


def _question(
    table: pd.DataFrame, facts: AuditedClass, judged: set[CandidateKey], names: Names
) -> Question:
    """``table``: the class's candidates whose gap is above or below their control."""
    table = table[[key not in judged for key in keys_in(table, facts.label)]]
    if table.empty:
        nan = float("nan")
        return Question(facts.label, facts.name, 0, "", nan, nan, nan)
    row = table.iloc[int((table["gap"] - table["gap_control"]).abs().argmax())]
    key = CandidateKey(facts.label, str(row["kind"]), int(row["component"]))
    gap, low, high, control = (
        float(row[name]) for name in ("gap", "gap_low", "gap_high", "gap_control")
    )
    title = names.written(key)
    return Question(facts.label, facts.name, len(table), title, gap, low, high, key, control)
