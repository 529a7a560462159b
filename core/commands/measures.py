"""``python -m core measure`` and ``score``: what the tagged cues cost, as a table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.commands.terminal import Answer, records
from core.measures.decimals import figure, interval
from core.measures.measure import POINTS
from core.measures.measure_requests import FactorsRequest, MeasureRequest, ScoreRequest
from core.measures.registry import subject_in_words
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    import pandas as pd


def measure(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``measure``: the table of measures, stored in the audit's folder."""
    import pandas as pd

    from core.measures.on_demand import ON_DEMAND
    from core.measures.scores import score as scored
    from core.measures.stored import measured
    from core.tags.decisions import decided
    from core.tags.log import TagStore
    from core.tags.saved_groups import open_with_groups
    from core.trials.noise import SIGMA

    request = MeasureRequest.from_options(options)
    audit = open_with_groups(workspace, request.audit)
    tables, images = [], None
    if request.what in ON_DEMAND:
        demand = ON_DEMAND[request.what]
        decisions = decided(audit, TagStore.open(workspace), request.threshold)
        tables.append(demand.table(audit, decisions, request, report))
        images = demand.images(audit, decisions) if demand.images else None
    elif request.what != "score":
        sigmas = request.sigma or (SIGMA,)
        tables.append(
            measured(
                audit,
                workspace,
                request.what,
                threshold=request.threshold,
                sigmas=sigmas,
                report=report,
            )
        )
    if request.class_name is not None and request.cue_images is not None:
        found = scored(audit, request.class_name, request.cue_images, report=report)
        tables.append(found.table)
    table = pd.concat(tables, ignore_index=True)
    result: dict[str, object] = {"audit": audit.id, "measures": records(table)}
    if images is not None:
        result["images"] = records(images)
    return Answer(result, _text(table))


def score(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``score``: the spurious score of one class."""
    from dataclasses import asdict

    from core.audits.audit import Audit
    from core.measures.scores import score as scored

    request = ScoreRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    facts = audit.class_facts(request.class_name)
    found = scored(audit, request.class_name, request.cue_images, report=report)
    unreadable = [{"path": path, "reason": reason} for path, reason in found.unreadable]
    result = {"audit": audit.id, "class_idx": facts.class_idx, "label": facts.label}
    result |= {"class_name": facts.name, **asdict(found.score)}
    result |= {"chance_auroc": 0.5, "share_in": found.share_in, "share_cue": found.share_cue}
    result |= {"split": audit.summary.held_out, "images": records(found.images)}
    result["unreadable"] = unreadable
    lines = [_text(found.table), *(f"left out: {p} ({reason})" for p, reason in found.unreadable)]
    return Answer(result, "\n".join(lines))


def factors(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``factors``: what the model decides by, from images put together anew; stored."""
    from core.audits.audit import Audit
    from core.measures.factors import factor_table

    request = FactorsRequest.from_options(options)
    audit = Audit.open(workspace, request.audit)
    table = factor_table(audit, class_name=request.class_name, report=report)
    values = {
        name: dict(zip(rows["subject"], rows["value"], strict=True))
        for name, rows in table.groupby("measure")
    }
    main = table[table["measure"] == "decided_by"]
    result: dict[str, object] = {"audit": audit.id, "split": str(main["split"].iloc[0])}
    result |= {"images": int(main["n"].iloc[0]), "main": values["decided_by"]}
    result |= {"interactions": values["factor_interaction"], "cells": values["composed_accuracy"]}
    result |= {name: values[name][""] for name in ("shape_bias", "background_gap")}
    result["measures"] = records(table)
    head = f"{result['images']} images, each put together in eight ways"
    return Answer(result, f"{head}\n{_text(table)}")


def _text(table: pd.DataFrame) -> str:
    """One line per row, notes at the end."""
    lines, notes = [], []
    for row in table.to_dict("records"):
        if row["measure"] == "note":
            notes.append(f"note: {row['class_name'] + ': ' if row['label'] else ''}{row['note']}")
            continue
        name = f"{row['class_name'] or 'all classes':<22.22} {row['measure']:<32}"
        said = "  ".join(part for part in (row["reading"], row["note"]) if part)
        of = subject_in_words(row["subject"])
        lines.append(f"{name} {of:<30} {_figure(row)}  {said}".rstrip())
    return "\n".join(lines + notes)


def _figure(row: Mapping[str, Any]) -> str:
    unit, low, high = row["unit"], row["low"], row["high"]
    shown, words = figure(row["value"], unit, low, high), " points" if unit == POINTS else ""
    ends = interval(low, high, unit)
    return f"{shown:>8}{words} {ends:<18} n = {row['n']:<5} {row['split']}"
