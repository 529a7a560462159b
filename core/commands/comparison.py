"""``python -m core compare`` and ``demo compare``: several models on the same images."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.terminal import Answer, records
from core.errors import InputError
from core.measures.measure_requests import CompareRequest
from core.storage.workspace import Workspace
from core.types import Reporter

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.measures.cells import Context
    from core.measures.classes import Correlation
    from core.measures.effective_robustness import Robustness
    from core.measures.several_audits import Cell, Table
    from core.tags.carry import Match


MODELS = {
    "demo-cues": "packaged:efficientnet-lite0",
    "demo-cues-lite1": "packaged:efficientnet-lite1",
    "demo-cues-lite2": "packaged:efficientnet-lite2",
}
"""What ``demo compare`` compares, by name of the audit; the first is that of ``demo``."""

ANOTHER = {"demo-cues-squeezenet": "packaged:squeezenet1-1"}
"""An architecture of another family beside them, where its package is installed."""


def compare(options: argparse.Namespace, workspace: Workspace, report: Reporter) -> Answer:
    """``compare``: carry tags, measure what is missing, and print the table."""
    from core.audits.audit import Audit
    from core.tags.saved_groups import open_with_groups

    request = CompareRequest.from_options(options)
    audits = [open_with_groups(workspace, name) for name in request.audits]
    source = request.carry_tags_from
    return compared(
        audits,
        workspace,
        report,
        baseline=request.baseline and workspace.find(request.baseline).id,
        source=Audit.open(workspace, source) if source else None,
        cue_images=request.cue_images,
        stored=request.stored,
        along=request,
    )


def demo(workspace: Workspace, report: Reporter) -> Answer:
    """``demo compare``: packaged models on ``demo:cues``, tagged once, by planted truth."""
    from core.audits.audit_requests import AuditRequest
    from core.audits.run import run_audit
    from core.models.squeezenet import is_installed
    from core.tags.log import TagStore
    from core.tags.planted import cues_alone, plant_tags
    from core.trials.leaning import measure_leaning

    audits = [
        run_audit(
            AuditRequest("demo:cues", model, name=name, head="fit"),
            workspace,
            report=report,
        )
        for name, model in {**MODELS, **(ANOTHER if is_installed() else {})}.items()
    ]
    for audit in audits:
        measure_leaning(audit, report)
    plant_tags(audits[0], TagStore.open(workspace))
    alone = cues_alone(audits[0], workspace, report=report)
    return compared(audits, workspace, report, source=audits[0], cue_images=alone)


def compared(
    audits: Sequence[Audit],
    workspace: Workspace,
    report: Reporter,
    *,
    baseline: str | None = None,
    source: Audit | None = None,
    cue_images: Mapping[str, Path] | None = None,
    stored: bool = False,
    along: CompareRequest | None = None,
) -> Answer:
    """Everything about some audits, as one document and as text.

    Parameters
    ----------
    along : says which two sets of images effective robustness is between, and by which line.
    """
    from core.measures.classes import ACCURACY, TAGGED, WIDEST, class_table, correlations
    from core.measures.several_audits import compare as compare_audits
    from core.measures.several_audits import measure_missing, open_context

    open_context(audits, workspace)  # refuses before anything is written
    carried = _carry(source, audits, workspace) if source else {}
    context = open_context(audits, workspace)
    if not stored:
        measure_missing(context, cue_images, report=report)
    table = compare_audits(context, baseline)
    line = _between(context, along)
    kinds = (TAGGED, WIDEST, ACCURACY)
    result = {
        "audits": [_audit(audit, table) for audit in audits],
        "baseline": table.baseline,
        "shared_images": len(table.shared.images),
        "held_out": len(table.shared.held),
        "notes": list(table.shared.notes),
        "tests": table.tests,
        "cells": [_cell(cell) for cell in table.rows.values()],
        "classes": {kind: records(class_table(context, kind)) for kind in kinds},
        "correlations": {kind: [_pair(c) for c in correlations(context, kind)] for kind in kinds},
        "robustness": _robustness(line) if line else None,
        "carried": {key: [_match(m) for m in matches] for key, matches in carried.items()},
    }
    return Answer(result, _text(audits, table, line, carried, result))


def _between(context: Context, along: CompareRequest | None) -> Robustness | None:
    """Effective robustness between the sets of images asked for, else the first two."""
    from core.measures.effective_robustness import axes, robustness
    from core.measures.published_line import published_line, published_table
    from core.storage.guard import permitted

    names = list(along.axes) if along and along.axes else axes(context)[:2]
    if len(names) < 2:
        return None
    line = None
    if along and along.published is not None:
        if len(along.columns) != 2:
            raise InputError("--published needs --published-column twice: across, then up")
        line = published_line(published_table(permitted(along.published)), *along.columns)
    return robustness(context, names[0], names[1], published=line)


def _carry(source: Audit, audits: Sequence[Audit], workspace: Workspace) -> dict[str, list[Match]]:
    from core.tags.carry import carry_tags
    from core.tags.log import TagStore

    store = TagStore.open(workspace)
    return {a.id: carry_tags(source, a, store) for a in audits if a.id != source.id}


def _audit(audit: Audit, table: Table) -> Mapping[str, object]:
    return {
        "id": audit.id,
        "name": audit.name,
        "model": audit.manifest.model.name,
        "tagged": sorted(table.context.decisions[audit.id].spurious),
    }


def _cell(cell: Cell) -> Mapping[str, object]:
    return {**vars(cell), "certain": cell.certain}


def _pair(found: Correlation) -> Mapping[str, object]:
    return {**found._asdict(), "reading": found.reading}


def _match(match: Match) -> Mapping[str, object]:
    return {
        "label": match.label,
        "tag": match.tag.value,
        "candidate": match.title,
        "becomes": match.becomes,
        "quality": match.quality,
        "images": match.n_judged,
        "nearest_component": match.nearest,
        "nearest_correlation": match.nearest_correlation,
        "refused": match.refused,
    }


def _robustness(found: Robustness) -> Mapping[str, object]:
    line = found.line
    return {
        "x": found.x,
        "y": found.y,
        "line": line and {"slope": line.slope, "intercept": line.intercept, "r2": line.r2},
        "note": found.note,
        "models": records(found.points),
    }


def _text(
    audits: Sequence[Audit],
    table: Table,
    line: Robustness | None,
    carried: Mapping[str, Sequence[Match]],
    result: Mapping[str, Any],
) -> str:
    from core.measures.classes import KINDS

    names = {audit.id: audit.name for audit in audits}
    lines = [
        f"{len(audits)} models, {result['shared_images']} shared images, {result['held_out']} of "
        f"them held out; differences are to {names[table.baseline]}, p by Holm over "
        f"{table.tests} tests (* below 0.05)"
    ]
    lines += [f"note: {note}" for note in result["notes"]]
    for key, matches in carried.items():
        lines.append(f"\ntags carried over to {names[key]}")
        lines += [_match_line(match) for match in matches]
    lines += _table_lines(names, table)
    for kind, pairs in result["correlations"].items():
        lines.append(f"\nCorrelation over classes: {KINDS[kind]}")
        lines += [_pair_line(names, pair) for pair in pairs]
    if line is not None:
        lines += _robustness_lines(line)
    return "\n".join(lines)


def _pair_line(names: Mapping[str, str], pair: Mapping[str, Any]) -> str:
    figures = ""
    if pair["pearson"] == pair["pearson"]:
        figures = f"r {pair['pearson']:.2f}, rank {pair['spearman']:.2f}; "
    first, second = names[pair["first"]], names[pair["second"]]
    return f"  {first} and {second}: {figures}{pair['n']} classes; {pair['reading']}"


def _match_line(match: Match) -> str:
    what = f"  {match.label:<20.20} {match.tag:<9} {match.title:<14}"
    if match.refused:
        return f"{what} refused: {match.refused}"
    return (
        f"{what} becomes {match.becomes}: correlation {match.quality:.2f} on {match.n_judged} "
        f"other images (nearest: component {match.nearest + 1}, {match.nearest_correlation:.2f})"
    )


def _table_lines(names: Mapping[str, str], table: Table) -> list[str]:
    from core.measures.several_audits import compared

    lines = []
    for measure in compared():
        lines.append(f"\n{measure.title} ({measure.test})")
        for key, audit in names.items():
            lines.append(
                f"  {audit:<28.28} {cell_text(table.rows[measure.name, key], measure.unit)}"
            )
    return lines


def cell_text(cell: Cell, unit: str) -> str:
    """A cell in one line."""
    from core.measures.several_audits import change_text, value_text

    if cell.missing:
        return f"-  {cell.missing}"
    parts = [value_text(cell, unit), change_text(cell, unit)]
    return "  ".join([f"{parts[0]:<28}", f"{parts[1]:<44}", cell.note]).rstrip()


def _robustness_lines(found: Robustness) -> list[str]:
    lines = [f"\nEffective robustness: x = {found.x}, y = {found.y}"]
    for row in found.points.to_dict("records"):
        drop = _points(row, "drop", "lost from x to y") if "drop" in row else ""
        rho = _points(row, "rho", "off the line") if row["rho"] == row["rho"] else ""
        lines.append(f"  {row['name']:<28.28} x {row['x']:.3f}  y {row['y']:.3f}{drop}{rho}")
    return [*lines, f"  {found.note}"] if found.note else lines


def _points(row: Mapping[Hashable, Any], of: str, words: str) -> str:
    """How far a model is from the line, or how much it loses, with the interval."""
    value, low, high = (f"{row[name]:+.1f}" for name in (of, f"{of}_low", f"{of}_high"))
    return f"  {value} points [{low}, {high}] {words}"
