"""The report as one HTML file that refers to nothing outside itself; the same input, same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from core import __version__
from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.audits.integrity import require_sound
from core.errors import InputError
from core.explain.overlays import Style
from core.report import charts as figures
from core.report import facts as cards
from core.report import prints as pictures
from core.report import sentences as words
from core.report.beside import Beside, beside
from core.report.findings import (
    Finding,
    Question,
    Verdict,
    choice,
    family,
    find,
    labels,
    questions,
)
from core.report.gate import Checked, Ruling
from core.report.harm import SPARED, Choice
from core.report.material import Evidence, key
from core.report.passed import passed
from core.report.shift import under_shift
from core.storage.workspace import fingerprint
from core.tags.decisions import spuriosity_of
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

TITLE = "Which cues the model uses, and what they cost"
BRIEF = 5
"""Findings that the one-page summary lists, of all audits together."""

DETAILED = 40
"""Findings of all audits together that are told at length; a table holds the rest."""

QUESTIONS = 12
LISTED = 8
"""Affected images that a finding lists by path; the appendix has all."""


@dataclass(frozen=True)
class Section:
    """One audit of a report."""

    evidence: Evidence
    findings: tuple[Finding, ...]
    questions: tuple[Question, ...]
    chosen: bool = False
    """Whether only some classes were asked for."""
    passed: tuple[words.Sentence, ...] = ()
    """What was tested and showed nothing."""
    shift: tuple[words.Sentence, ...] = ()
    """What is known of the model beyond its test images."""

    @property
    def headline(self) -> words.Sentence:
        """What the audit found, in one sentence."""
        return words.headline(self.findings, chosen=self.chosen)


@dataclass(frozen=True)
class Report:
    """Everything that a report says, before it is written down."""

    title: str
    author: str
    sections: tuple[Section, ...]
    tests: int
    """Statements that the intervals of gaps and flip rates are corrected for."""
    choice: Choice
    """What the intervals of verdicts are adjusted for."""
    compared: Beside | None = None
    """The audits beside each other, where there are several."""
    checked: Checked | None = None
    """What came of rules, where there were some."""
    style: Style = "spotlight"
    """How it is shown on photos where a cue is."""

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that the report says."""
        return fingerprint(
            {
                **{"title": self.title, "author": self.author, "tests": self.tests},
                **({} if self.style == "spotlight" else {"style": self.style}),
                "audits": [
                    [s.evidence.audit.name, key(s.evidence.audit, s.evidence.decisions)]
                    for s in self.sections
                ],
                "tables": [s.evidence.table.to_csv(index=False) for s in self.sections],
                "answers": [_answers(s.evidence) for s in self.sections],
                "compared": repr(self.compared),
                "missing": [s.evidence.missing for s in self.sections],
                "choice": [self.choice.tagged, self.choice.among],
                "tried": [_tried(s.evidence) for s in self.sections],
                "findings": [[f.label for f in s.findings] for s in self.sections],
                "questions": [[q.label for q in s.questions] for s in self.sections],
                "passed": [[said.text for said in s.passed] for s in self.sections],
                **_under_shift(self.sections),
                "checked": self.checked.to_json() if self.checked else None,
            }
        )


def _under_shift(sections: Sequence[Section]) -> dict[str, list[list[str]]]:
    """What is said under shift; nothing where nothing was measured, as in reports before."""
    said = [[each.text for each in s.shift] for s in sections]
    return {"shift": said} if any(said) else {}


def _tried(evidence: Evidence) -> dict[str, str]:
    return {label: str(table.to_csv(index=False)) for label, table in evidence.tried.items()}


def _answers(evidence: Evidence) -> str:
    return str(evidence.answers.drop(columns=["at"]).to_csv(index=False))


def compose(
    evidence: Sequence[Evidence],
    *,
    classes: Sequence[str] = (),
    title: str = "",
    author: str = "",
    checked: Checked | None = None,
    style: Style = "spotlight",
) -> Report:
    """Decide what a report says.

    Parameters
    ----------
    classes : labels, names or ``#index``; all by default. Those that an audit lacks are left out
        there, as long as one of the audits has them.
    checked : what came of rules on these audits.
    style : how it is shown on photos where a cue is.

    Raises
    ------
    InputError
        If there is no audit, or no audit has one of the classes.
    """
    if not evidence:
        raise InputError("a report needs at least one audit; python -m core list names them")
    chosen = [_known(e, classes) for e in evidence]
    for name in classes:
        if not any(name in known for known in chosen):
            evidence[0].audit.class_facts(name)
    tests, picked = family(evidence), choice(evidence)
    sections = tuple(
        _composed(e, tests, picked, known, classes)
        for e, known in zip(evidence, chosen, strict=True)
    )
    compared = beside(evidence)
    return Report(title or TITLE, author, sections, tests, picked, compared, checked, style)


def _composed(
    evidence: Evidence, tests: int, picked: Choice, known: Sequence[str], classes: Sequence[str]
) -> Section:
    if classes and not known:
        return Section(evidence, (), (), True)
    findings = tuple(find(evidence, tests, picked, known))
    said = passed(evidence.audit, findings, sorted(labels(evidence.audit, known)))
    return Section(
        evidence,
        findings,
        tuple(questions(evidence, known)),
        bool(classes),
        tuple(said),
        tuple(under_shift(evidence)),
    )


def _known(evidence: Evidence, classes: Sequence[str]) -> list[str]:
    found = []
    for name in classes:
        try:
            evidence.audit.class_facts(name)
        except InputError:
            continue
        found.append(name)
    return found


def render(report: Report, *, checked: bool = False, progress: Reporter = silent) -> str:
    """The report as HTML.

    Parameters
    ----------
    checked : whether the caller asks :func:`core.audits.integrity.require_sound` itself, before it
        hands the report out.

    Raises
    ------
    WorkspaceError
        If something that an audit stores is damaged.
    """
    for section in () if checked else report.sections:
        require_sound(section.evidence.audit.folder, progress)
    environment = Environment(
        loader=PackageLoader("core.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"words": words, "figures": figures, "verdict": Verdict, "len": len}
    environment.globals["spared"] = SPARED
    template = environment.get_template("report.html.jinja")
    return template.render(
        report=report,
        version=__version__,
        sections=[_section(section, report, progress) for section in report.sections],
        terms=cards.terms(),
        definitions=cards.definitions([s.evidence for s in report.sections]),
        brief=max(1, BRIEF // len(report.sections)),
    )


@dataclass(frozen=True)
class ToldFinding:
    """What the template shows of a finding."""

    finding: Finding
    cue: str
    sentences: tuple[words.Sentence, ...]
    advice: tuple[str, ...]
    rows: tuple[pictures.Row, ...]
    missing: str
    """Why there are no pictures."""
    along: Markup
    """Accuracy along spuriosity."""
    flips: Markup
    affected: tuple[str, ...]
    """Paths of the first images."""
    more_affected: int


@dataclass(frozen=True)
class ToldSection:
    """What the template shows of an audit."""

    audit: Audit
    headline: words.Sentence
    all: tuple[Finding, ...]
    findings: tuple[ToldFinding, ...]
    """Those told at length."""
    rest: tuple[Finding, ...]
    """Those of the table."""
    questions: tuple[str, ...]
    more_questions: int
    passed: tuple[words.Sentence, ...]
    shift: tuple[words.Sentence, ...]
    rulings: tuple[Ruling, ...]
    """Of the rules, those of this audit."""
    gaps: Markup
    model: cards.Facts
    data: cards.Facts
    people: cards.Facts
    limits: list[str]
    classes: Sequence[AuditedClass]
    more_classes: int


def _section(section: Section, report: Report, progress: Reporter) -> ToldSection:
    """What is told of an audit; the audits share the room there is."""
    evidence, audits = section.evidence, len(report.sections)
    told = section.findings[: max(1, DETAILED // audits)]
    drawn = []
    load = cache(evidence.audit.load_model)  # once, and only where maps are not stored
    for place, finding in enumerate(told):
        progress(Progress("Drawing findings", place, len(told), "findings"))
        pictured = place < max(1, pictures.PICTURED // audits)
        drawn.append(_finding(evidence, finding, load if pictured else None, report.style))
    listed, more = cards.classes(evidence)
    return ToldSection(
        audit=evidence.audit,
        headline=section.headline,
        all=section.findings,
        findings=tuple(drawn),
        rest=section.findings[len(told) :],
        questions=tuple(map(words.of_question, section.questions[:QUESTIONS])),
        more_questions=max(len(section.questions) - QUESTIONS, 0),
        passed=section.passed,
        shift=section.shift,
        rulings=report.checked.of(evidence.audit.name) if report.checked else (),
        gaps=figures.gaps(section.findings),
        model=cards.model_card(evidence),
        data=cards.data_card(evidence),
        people=cards.people(evidence),
        limits=cards.limits(evidence, report.tests),
        classes=listed,
        more_classes=more,
    )


def _finding(
    evidence: Evidence, finding: Finding, load: Callable[[], Model] | None, style: Style
) -> ToldFinding:
    """What is told of a finding; without ``load`` it has no pictures."""
    rows: tuple[pictures.Row, ...] = ()
    missing = "Only the first findings of a report have pictures."
    along = Markup("")
    if load:
        rows, missing = pictures.rows(evidence, finding, load, style)
        table = spuriosity_of(evidence.audit, finding.label, finding.cues)
        along = figures.along(finding, table)
    paths = evidence.audit.images_of(finding.affected[:LISTED])["path"]
    return ToldFinding(
        finding=finding,
        cue=words.cue(finding),
        sentences=tuple(words.of_finding(finding)),
        advice=tuple(words.advice(finding)),
        rows=rows,
        missing=missing,
        along=along,
        flips=figures.flips(finding),
        affected=tuple(paths),
        more_affected=max(len(finding.affected) - LISTED, 0),
    )
