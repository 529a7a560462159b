"""``python -m core report``: the audit as a document."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.terminal import Answer
from core.storage.json_values import JsonValue, later
from core.storage.workspace import Workspace
from core.types import Reporter

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.report.document import Report
    from core.report.gate import Checked

FORMATS = ("coco", "cvat", "fiftyone")
ELSEWHERE = "choose another file"


@dataclass(frozen=True)
class File(JsonValue):
    """A file that was written."""

    path: str
    bytes: int
    by: str = later("")
    """The program that printed it."""

    @property
    def sentence(self) -> str:
        """What was written, and how large it is."""
        by = f", by {self.by}" if self.by else ""
        return f"wrote {self.path} ({self.bytes / 2**20:.2f} MiB{by})"


@dataclass(frozen=True)
class Images(JsonValue):
    """A folder of images and their labels that was written."""

    path: str
    images: int
    format: str

    @property
    def sentence(self) -> str:
        """What was written."""
        return f"wrote {self.images} images to {self.path} ({self.format})"


def add_parser(command: argparse.ArgumentParser) -> None:
    """The options of ``report``."""
    command.add_argument("audits", metavar="AUDIT", nargs="+")
    command.add_argument("--out", required=True, type=Path, metavar="F.html")
    command.add_argument("--pdf", type=Path, metavar="F.pdf", help="the same, printed")
    command.add_argument("--appendix", type=Path, metavar="F.zip", help="every table behind it")
    command.add_argument(
        "--export",
        nargs=2,
        metavar=("FORMAT", "DIR"),
        help=f"labels of the images of tagged classes: {', '.join(FORMATS)}",
    )
    command.add_argument(
        "--classes", nargs="+", default=[], metavar="NAME", help="label, name or #index"
    )
    add_rules(command)
    command.add_argument("--title", default="")
    command.add_argument("--author", default="")
    command.add_argument("--threshold", type=int, metavar="N", help="votes that decide a tag")
    command.add_argument(
        "--quick", action="store_true", help="load no model: noise and flips only where known"
    )


def run(options: argparse.Namespace, workspace: Workspace, progress: Reporter) -> Answer:
    """``report``: measure what is not measured yet, and write."""
    from core.audits.export import check_ending
    from core.audits.integrity import require_sound
    from core.errors import InputError
    from core.report import appendix
    from core.report.document import compose, render
    from core.report.material import gather
    from core.tags.saved_groups import open_with_groups

    check_ending(options.out, ".html", ".htm")
    for name, ending in (("pdf", ".pdf"), ("appendix", ".zip")):
        path = getattr(options, name)
        if path is not None and path.suffix != ending:
            raise InputError(f"--{name} {path}: the name must end in {ending}")
    if options.export and options.export[0] not in FORMATS:
        raise InputError(f"--export {options.export[0]!r}: choose {', '.join(FORMATS)}")
    audits = [open_with_groups(workspace, name) for name in dict.fromkeys(options.audits)]
    for audit in audits:
        require_sound(audit.folder, progress)
    evidence = [
        gather(
            audit,
            workspace,
            threshold=options.threshold,
            with_model=not options.quick,
            report=progress,
        )
        for audit in audits
    ]
    report = compose(
        evidence,
        classes=options.classes,
        title=options.title,
        author=options.author,
        checked=checked_rules(options, audits, workspace, progress),
    )
    html = render(report, progress=progress)
    written: list[File | Images] = [write(options.out, html.encode("utf-8", "backslashreplace"))]
    if options.pdf:
        from core.report.pdf import to_pdf

        content, by = to_pdf(html)
        written.append(write(options.pdf, content, by))
    if options.appendix:
        written.append(write(options.appendix, appendix.appendix(report)))
    if options.export:
        written += _export(report, *options.export, classes=options.classes)
    files = [each.to_json() for each in written]
    return Answer({**appendix.statements(report), "files": files}, _text(report, written))


def checked(
    options: argparse.Namespace, audits: Sequence[Audit], workspace: Workspace, report: Reporter
) -> Checked:
    """What came of the rules that a command was given."""
    from core.report.gate import check

    return check(
        workspace,
        audits,
        options.fail_on,
        rules=options.rules,
        over=options.over,
        threshold=options.threshold,
        quick=options.quick,
        allow_untested=options.allow_untested,
        report=report,
    )


def checked_rules(
    options: argparse.Namespace, audits: Sequence[Audit], workspace: Workspace, progress: Reporter
) -> Checked | None:
    """What came of the rules, where some were given."""
    if not options.fail_on and options.rules is None:
        return None
    return checked(options, audits, workspace, progress)


def code(document: Mapping[str, Any]) -> int:
    """The exit code that a result means: that of its rules, where there were some."""
    checked = document["checked"]
    return int(checked["code"]) if checked else 0


def add_rules(command: argparse.ArgumentParser) -> None:
    """Options that say what must not be."""
    command.add_argument(
        "--fail-on", action="append", default=[], metavar="RULE", help="may be repeated"
    )
    command.add_argument("--rules", type=Path, metavar="FILE", help="a rule a line, # for comments")
    command.add_argument(
        "--over",
        default="spurious",
        choices=["spurious", "untagged", "all"],
        help="candidates that rules act on (default: those decided spurious)",
    )
    command.add_argument(
        "--allow-untested", action="store_true", help="let pass what cannot be tested"
    )


def _export(report: Report, name: str, folder: str, *, classes: list[str]) -> list[Images]:
    """Images and labels of every audit; of several audits each in a folder of its own."""
    from core.report.boxes import labelled
    from core.report.formats import export

    found = []
    for section in report.sections:
        audit = section.evidence.audit
        target = Path(folder) if len(report.sections) == 1 else Path(folder) / audit.id
        n = export(audit, labelled(section.evidence, classes), name, target)
        found.append(Images(str(target), n, name))
    return found


def write(path: Path, content: bytes, by: str = "") -> File:
    """Write a file, complete or not at all."""
    from core.storage.files import replacing

    with replacing(path, ELSEWHERE) as temporary:
        temporary.write_bytes(content)
    return File(str(path), len(content), by)


def _text(report: Report, written: Sequence[File | Images]) -> str:
    """The headline of every audit, one line per finding, and the files."""
    from core.report import sentences as words

    lines = []
    for section in report.sections:
        lines.append(f"{section.evidence.audit.name}: {section.headline.text}")
        lines += [f"  {words.brief(finding).text}" for finding in section.findings]
        if section.evidence.missing:
            lines.append(f"  note: {section.evidence.missing}")
        of = report.checked.of(section.evidence.audit.name) if report.checked else ()
        lines += [f"  {ruling.line}" for ruling in of]
    return "\n".join([*lines, *(each.sentence for each in written)])
