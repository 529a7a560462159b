"""What stands behind a report as tables in one zip file; the same input gives the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from core import __version__
from core.report import sentences as words
from core.report.document import Report, Section
from core.report.findings import Finding, Question
from core.report.material import Evidence
from core.statistics.estimates import NOTHING
from core.storage.files import dumps
from core.storage.spreadsheet import csv_bytes
from core.tags.decisions import spuriosity_of
from core.tags.exchange import OURS

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that every member of the zip file carries: the earliest that the format knows."""

README = """Appendix of the report {fingerprint}, written by Spurioscope {version}.

One folder per audit, every table as CSV and as Parquet (in CSV a text that a spreadsheet would run
as a formula begins with an apostrophe):
findings   one row per class with tagged cues: verdict, harm and the numbers behind it
measures   the whole table of measures
ranking    images of those classes by spuriosity, highest first; side is "high" or "low" where an
           image belongs to the gap; affected images are those of the disadvantaged side that are
           predicted wrong
classes    images and accuracy of every class
tags       standing tags; people are called person 1, person 2, …

statements.json holds every sentence of the report with its numbers.
"""


def statements(report: Report) -> Mapping[str, object]:
    """Everything that the report says, for programs."""
    return {
        "title": report.title,
        "author": report.author,
        "version": __version__,
        "fingerprint": report.fingerprint,
        "statements": report.tests,
        "compared": asdict(report.compared) if report.compared else None,
        "checked": report.checked.document if report.checked else None,
        "audits": [_section(section) for section in report.sections],
    }


def _section(section: Section) -> Mapping[str, object]:
    audit = section.evidence.audit
    return {
        "id": audit.id,
        "name": audit.name,
        "fingerprint": audit.manifest.fingerprint,
        "headline": section.headline.text,
        "missing": section.evidence.missing,
        "findings": [_finding(finding) for finding in section.findings],
        "questions": [_question(question) for question in section.questions],
        "passed": _said(section.passed),
        **({"under_shift": _said(section.shift)} if section.shift else {}),
    }


def _said(sentences: Sequence[words.Sentence]) -> list[Mapping[str, object]]:
    return [{"text": said.text, "numbers": list(map(asdict, said.numbers))} for said in sentences]


def _finding(finding: Finding) -> Mapping[str, object]:
    said = words.of_finding(finding)
    return {
        **_row(finding),
        "cues": [
            {"kind": c.key.kind, "component": c.key.number, "called": called or None}
            for c, called in zip(finding.cues, finding.called, strict=True)
        ],
        "sentences": [{"text": s.text, "numbers": [asdict(n) for n in s.numbers]} for s in said],
        "advice": words.advice(finding),
        "affected": list(finding.affected),
    }


def _question(question: Question) -> Mapping[str, object]:
    """What is open, for programs; its candidate stands in the title."""
    return {name: value for name, value in asdict(question).items() if name != "key"}


def _row(finding: Finding) -> Mapping[str, object]:
    """A finding as a row of a table; NaN where something was not measured."""
    found: dict[str, object] = {
        **{"label": finding.label, "class_name": finding.name, "verdict": finding.verdict.value},
        **{"harm": finding.cost, "cost": finding.cost},  # the first is what it was called once
        **{"cue": words.cue(finding), "helps": finding.helps},
        **{"confuses": finding.confuses, "triggers": finding.triggers},
        **{"detectable_gap": finding.detectable, "wanted_per_side": finding.wanted},
        "n_affected": len(finding.affected),
    }
    found |= _of_cue(finding)
    for name in ("gap", "gap_control", "accuracy_high", "accuracy_low", "flip", "control"):
        number = getattr(finding, name)
        for part in ("value", "low", "high", "n"):
            found[f"{name}_{part}"] = float("nan") if number is None else getattr(number, part)
    return found


def _of_cue(finding: Finding) -> dict[str, object]:
    """What the cue does that the class is harmed by, or would be."""
    by, nan = finding.by, float("nan")
    lean, loss = (by.lean, by.loss) if by else (NOTHING, NOTHING)
    return {
        "put_in": by.put_in if by else nan,
        "put_in_control": by.control if by else nan,
        **dict(zip(("lean", "lean_low", "lean_high"), lean, strict=True)),
        **dict(zip(("loss", "loss_low", "loss_high"), loss, strict=True)),
    }


def ranking(section: Section) -> pd.DataFrame:
    """Images of the classes with findings, by class and descending spuriosity."""
    parts = []
    for finding in section.findings:
        table = spuriosity_of(section.evidence.audit, finding.label, finding.cues)
        table.insert(1, "path", section.evidence.audit.images_of(table["image_id"])["path"].array)
        table.insert(0, "label", finding.label)
        k = finding.accuracy_high.n if finding.accuracy_high else 0
        held = table.index[table["held_out"] & table["spuriosity"].notna()]
        table["side"] = ""
        table.loc[held[:k], "side"] = "high"
        table.loc[held[len(held) - k :], "side"] = "low"
        table["affected"] = table["image_id"].isin(finding.affected)
        parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"label": [""][:0]})


def tags(evidence: Evidence) -> pd.DataFrame:
    """Standing tags without the names of people."""
    table = evidence.answers[OURS].copy()
    people = sorted(table["annotator"].unique())
    names = {name: f"person {place}" for place, name in enumerate(people, 1)}
    table["annotator"] = table["annotator"].map(names)
    return table


def tables(section: Section) -> dict[str, pd.DataFrame]:
    """Every table of one audit."""
    facts = ["class_idx", "label", "name", "n_images", "n_fitted", "n_held_out", "accuracy"]
    return {
        "findings": pd.DataFrame([_row(finding) for finding in section.findings]),
        "measures": section.evidence.table,
        "ranking": ranking(section),
        "classes": pd.DataFrame(section.evidence.audit.classes).reindex(columns=facts),
        "tags": tags(section.evidence),
    }


def appendix(report: Report) -> bytes:
    """The zip file."""
    readme = README.format(fingerprint=report.fingerprint, version=__version__)
    members = [
        ("README.txt", readme.encode()),
        ("statements.json", f"{dumps(statements(report))}\n".encode("utf-8", "backslashreplace")),
    ]
    for section in report.sections:
        for name, table in tables(section).items():
            members += _both(f"{section.evidence.audit.id}/{name}", table)
    return archive(members)


def _both(name: str, table: pd.DataFrame) -> Sequence[tuple[str, bytes]]:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return [(f"{name}.csv", csv_bytes(table)), (f"{name}.parquet", buffer.getvalue())]


def archive(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip file whose bytes depend on its members alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3
            file.writestr(info, content)
    return buffer.getvalue()
