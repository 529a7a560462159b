"""``python -m core log AUDIT --to mlflow``: an audit as a run of an experiment tracker."""

from __future__ import annotations

import argparse

from core.commands.reports import add_rules, checked_rules
from core.commands.terminal import Answer
from core.storage.workspace import Workspace
from core.types import Reporter, count_of, silent


def add(command: argparse.ArgumentParser) -> None:
    """The options of ``log``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument("--to", required=True, choices=["mlflow", "wandb"])
    command.add_argument(
        "--project", default="spurioscope", metavar="NAME", help="experiment or project"
    )
    add_rules(command)
    command.add_argument("--threshold", type=int, metavar="N", help="votes that decide a tag")
    command.add_argument("--quick", action="store_true", help="load no model")


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``log``: measure what is not measured yet, and send figures, report and statements."""
    from core.audits.audit import Audit
    from core.report.appendix import statements
    from core.report.document import compose, render
    from core.report.material import gather
    from core.report.trackers import installed, logged, send
    from core.storage.files import dumps

    installed(options.to)  # before anything is measured
    audit = Audit.open(workspace, options.audit)
    evidence = gather(
        audit,
        workspace,
        threshold=options.threshold,
        with_model=not options.quick,
        report=report,
    )
    composed = compose([evidence], checked=checked_rules(options, [audit], workspace, report))
    said = statements(composed)
    files = {"report.html": render(composed, progress=report), "statements.json": dumps(said)}
    what = logged(evidence, files)
    where = send(options.to, what, options.project)
    document = {"audit": audit.id, "to": options.to, "where": where, "checked": said["checked"]}
    document |= {"facts": what.facts, "figures": what.figures, "files": [*files]}
    text = (
        f"logged {count_of(len(what.figures), 'figure')} and {count_of(len(files), 'file')} of "
        f"{audit.name}: {where}"
    )
    return Answer(document, text)
