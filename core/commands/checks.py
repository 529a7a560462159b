"""``python -m core check AUDIT … --fail-on RULE``: a gate for continuous integration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from core.commands.reports import add_rules, checked, write
from core.commands.terminal import Answer
from core.storage.workspace import Workspace
from core.types import Reporter, silent

EPILOG = """rules: MEASURE, one of >, <, >=, <=, and a number in the measure's unit, as
  lean > 0.2           put_in, lean and taken_away are of single candidates, in [-1, 1]
  spurious_gap > 10    points
  flip_rate > 0.15     every measure of the table, the comparison, and before and after
A rule says what must not be, and is broken where the 95 % interval leaves no doubt.

exit codes: 0 all rules hold; 3 one is broken; 4 one cannot be tested; 2 bad input"""


def closing() -> str:
    """What the help ends with."""
    from core.measures.registry import MEASURES

    return f"{EPILOG}\n\nmeasures: {', '.join(MEASURES)}"


def add(command: argparse.ArgumentParser) -> None:
    """The options of ``check``."""
    command.add_argument("audits", metavar="AUDIT", nargs="+")
    add_rules(command)
    command.add_argument("--junit", type=Path, metavar="F.xml", help="also as JUnit XML")
    command.add_argument("--out", type=Path, metavar="F.json", help="also as JSON")
    command.add_argument("--threshold", type=int, metavar="N", help="votes that decide a tag")
    command.add_argument("--quick", action="store_true", help="load no model")


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``check``: every rule on every audit."""
    from core.errors import InputError
    from core.measures.rules import Outcome, read_rules
    from core.report.junit import junit
    from core.storage.files import dumps
    from core.tags.saved_groups import open_with_groups

    read_rules(options.fail_on, options.rules)  # before anything is opened or measured
    for path, ending in ((options.junit, ".xml"), (options.out, ".json")):
        if path is not None and path.suffix != ending:
            raise InputError(f"{path}: the name must end in {ending}")
    audits = [open_with_groups(workspace, name) for name in dict.fromkeys(options.audits)]
    found = checked(options, audits, workspace, report)
    document = found.document
    if options.junit:
        write(options.junit, junit(found))
    if options.out:
        write(options.out, f"{dumps(document)}\n".encode("utf-8", "backslashreplace"))
    lines = []
    for each in sorted(found.tested, key=lambda each: list(Outcome).index(Outcome(each.outcome))):
        lines.append(f"{each.audit}  {each.line}" if len(options.audits) > 1 else each.line)
    return Answer(document, "\n".join([*lines, found.headline]))


def code(document: Mapping[str, object]) -> int:
    """The exit code that is found in the result."""
    return int(str(document["code"]))
