"""``python -m core mitigate`` and ``export-model``: correct a model, and take it elsewhere."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.terminal import Answer, Terminal, records
from core.commands.trials import leave_the_rest, try_at_once
from core.corrections.mitigate_request import MitigateRequest
from core.measures.decimals import figure, interval
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit


def methods_text() -> str:
    """Every method in a line, for the help."""
    from core.corrections.methods import METHODS

    lines = [f"  {name:<15} {method.title}. {method.source}" for name, method in METHODS.items()]
    return "\n".join(["methods:", *lines])


def add_export(command: argparse.ArgumentParser) -> None:
    """The options of ``export-model``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument("--format", default="safetensors", choices=["safetensors", "pt2", "onnx"])
    command.add_argument("--out", required=True, type=Path, metavar="FILE")


def mitigate(options: argparse.Namespace, workspace: Workspace, terminal: Terminal) -> Answer:
    """``mitigate``: a derived audit, and the table before and after."""
    from core.corrections.mitigation import run_mitigation

    request, began = MitigateRequest.from_options(options), time.perf_counter()
    audit = run_mitigation(request, workspace, report=terminal, started=terminal.started)
    try_at_once(audit, workspace, terminal, passed=time.perf_counter() - began)
    answer, left = _described(audit, workspace), leave_the_rest(audit, workspace, terminal)
    return Answer({**answer.document, **left.document}, answer.text + left.text)


def _described(audit: Audit, workspace: Workspace) -> Answer:
    from core.candidates.key import CandidateKey
    from core.corrections.corrected import effect_table, facts_of, tradeoff_table
    from core.tags.called import names_of
    from core.tags.log import TagStore
    from core.tags.people import one_line

    curve, done = tradeoff_table(audit), facts_of(audit)
    names = names_of(TagStore.open(workspace).history(done.parent))
    table = names.in_table(effect_table(audit))
    cues = [f"{key.label}: {names.written(key)}" for key in map(CandidateKey.parse, done.cues)]
    result = {
        "id": audit.id,
        "name": audit.name,
        "mitigation": done.to_json(),
        "effect": records(table),
        "tradeoff": [] if curve is None else records(curve),
    }
    head = (
        f"{audit.name}  ({audit.id}): {done.method} at strength {done.strength:g} on "
        f"{one_line(', '.join(cues))}, made from {done.parent_name}"
    )
    return Answer(result, "\n".join([head, *(_line(row) for row in table.to_dict("records"))]))


def _line(row: Mapping[str, Any]) -> str:
    mark = "*" if row["acted_on"] else " "
    name = f"{mark} {row['class_name'] or 'all classes':<18.18} {row['measure']:<32.32}"
    if row["after"] != row["after"]:
        return f"{name} {row['note']}"
    if row["before"] != row["before"]:
        return f"{name} {_figure(row, 'after'):>7} ({row['note']})"
    figures = f"{_figure(row, 'before'):>7} -> {_figure(row, 'after'):>7}"
    ends = interval(row["change_low"], row["change_high"], row["unit"], sign="+")
    return f"{name} {figures}  {_figure(row, 'change', '+')} {ends:<18} n = {row['n']}"


def _figure(row: Mapping[str, Any], which: str, sign: str = "") -> str:
    return figure(row[which], row["unit"], row[f"{which}_low"], row[f"{which}_high"], sign=sign)


def export_model(
    options: argparse.Namespace, workspace: Workspace, report: Reporter = silent
) -> Answer:
    """``export-model``: the audited model and its card as files."""
    from core.audits.audit import Audit
    from core.corrections.card import write_card
    from core.corrections.corrected import facts_of, is_derived
    from core.corrections.package import export_model as write
    from core.tags.called import NAMELESS, names_of
    from core.tags.log import TagStore

    audit, out = Audit.open(workspace, options.audit), options.out
    write(audit, options.format, out)
    names = NAMELESS
    if is_derived(audit):
        names = names_of(TagStore.open(workspace).history(facts_of(audit).parent))
    card = write_card(audit, out, names)
    result = {"audit": audit.id, "format": options.format, "out": str(out), "card": str(card)}
    return Answer(result, f"wrote {out} and {card}")
