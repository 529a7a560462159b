"""A gate: do an audit's figures keep to rules? For pipelines, which want one exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.measure import POINTS
from core.measures.registry import subject_in_words
from core.measures.rules import Outcome, Rule, read_rules
from core.report.gate_figures import OVER, Asked, Single, singles
from core.storage.json_values import JsonValue
from core.storage.workspace import Workspace
from core.types import Reporter, silent

BROKEN, UNTESTED = 3, 4
"""Exit codes where a rule is broken, and where none is but one could not be tested."""


@dataclass(frozen=True)
class Ruling(JsonValue):
    """A rule on one figure."""

    audit: str
    """Name."""
    rule: str
    outcome: str
    """One of :class:`core.measures.rules.Outcome`."""
    class_name: str = ""
    """Empty where the figure is of all classes."""
    subject: str = ""
    """The candidate, or what else the figure is of."""
    key: str = ""
    """Of the candidate where the figure is of one, as a text: ``van/pca-0``."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """95 % interval; None where there is none."""
    unit: str = ""
    n: int = 0
    """Images behind it."""
    said: str = ""
    """How the figure was found, or why there is none."""

    @property
    def of(self) -> str:
        """What the figure is of, in words."""
        said = (self.class_name, subject_in_words(self.subject))
        return ", ".join(filter(None, said)) or "all classes"

    @property
    def figure(self) -> str:
        """The figure with its interval; empty where there is none."""
        if self.value is None:
            return ""
        form = ",.1f" if self.unit == POINTS or abs(self.value) > 100 else ".3f"
        if self.low is None or self.high is None:
            return f"{self.value:{form}}"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"

    @property
    def line(self) -> str:
        """Everything in a line."""
        told = " ".join(filter(None, (self.figure, f"({self.said})" if self.said else "")))
        return f"{self.outcome}: {self.rule} · {self.of}: {told}"


@dataclass(frozen=True)
class Checked(JsonValue):
    """What came of some rules on some audits."""

    over: str
    rules: tuple[str, ...]
    tested: tuple[Ruling, ...]
    allow_untested: bool = False

    def those(self, outcome: Outcome) -> list[Ruling]:
        """Those with an outcome."""
        return [each for each in self.tested if each.outcome == outcome]

    def of(self, audit: str) -> tuple[Ruling, ...]:
        """Those of an audit, by its name; what is broken first."""
        order = list(Outcome)
        mine = [each for each in self.tested if each.audit == audit]
        return tuple(sorted(mine, key=lambda each: order.index(Outcome(each.outcome))))

    @property
    def passed(self) -> list[Ruling]:
        """Those that were tested and broken by nothing."""
        return self.those(Outcome.HOLDS) + self.those(Outcome.OPEN)

    @property
    def code(self) -> int:
        """Exit code: 0, BROKEN or UNTESTED."""
        if self.those(Outcome.BROKEN):
            return BROKEN
        return UNTESTED if self.those(Outcome.UNTESTED) and not self.allow_untested else 0

    @property
    def document(self) -> dict[str, object]:
        """Everything, and the exit code, for programs."""
        return {**self.to_json(), "code": self.code}

    @property
    def headline(self) -> str:
        """How many of each, in a line."""
        counts = [(outcome, len(self.those(outcome))) for outcome in Outcome]
        return ", ".join(f"{n} {outcome}" for outcome, n in counts if n)


def check(
    workspace: Workspace,
    audits: Sequence[Audit],
    fail_on: Iterable[str] = (),
    *,
    rules: Path | None = None,
    over: str = "spurious",
    threshold: int | None = None,
    quick: bool = False,
    allow_untested: bool = False,
    report: Reporter = silent,
) -> Checked:
    """Check rules on audits; what is not measured yet is measured.

    Parameters
    ----------
    fail_on : what must not be, ``lean > 0.2``; rules : a file of the same, one a line.
    over : what rules act on, one of :data:`core.report.gate_figures.OVER`. Of a corrected model
        candidates, donors and regions are those of the audit that it was made from.
    threshold : votes that decide a tag.
    quick : load no model; what would take one is not tested.
    allow_untested : whether :attr:`Checked.code` lets pass what could not be tested.

    Raises
    ------
    InputError
        If there is no rule, one cannot be read, no measure is called so, or ``over`` is unknown.
    """
    wanted = read_rules(fail_on, rules)
    if over not in OVER:
        raise InputError(f"--over {over!r}: choose {', '.join(OVER)}")
    asked = [Asked(audit, workspace, over, threshold, quick, report) for audit in audits]
    tested = [each for one in asked for each in _rulings(one, wanted)]
    names = tuple(str(rule) for rule in wanted)
    return Checked(over, names, tuple(tested), allow_untested)


def _rulings(asked: Asked, rules: Sequence[Rule]) -> Iterator[Ruling]:
    """Every figure of every rule; figures that several rules are about are found once."""
    found: dict[str, list[Single]] = {}
    for rule in rules:
        if rule.name not in found:
            found[rule.name] = singles(asked, rule.measure)
        for single in found[rule.name]:
            yield _judged(asked, rule, single)


def _judged(asked: Asked, rule: Rule, single: Single) -> Ruling:
    value, low, high = (None if end != end else float(end) for end in single.bounds)
    return Ruling(
        audit=asked.audit.name,
        rule=str(rule),
        outcome=str(rule.judged(single.bounds)),
        class_name=single.class_name,
        subject=single.subject,
        key=single.key,
        value=value,
        low=low,
        high=high,
        unit=rule.measure.unit,
        n=single.n,
        said=single.said,
    )
