"""``python -m core measure`` and ``score``: what the tagged cues cost, as a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    import pandas as pd

Result = tuple[dict[str, Any], str]


def add_measure(command: argparse.ArgumentParser) -> None:
    """The options of ``measure``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument(
        "--what",
        default="all",
        choices=["gap", "score", "noise", "flip", "groups", "all"],
        help="score needs --class and --cue-images",
    )
    command.add_argument("--threshold", type=int, metavar="N", help="votes that decide a tag")
    command.add_argument(
        "--sigma", type=float, nargs="+", metavar="S", help="noise levels (default: 0.25)"
    )
    command.add_argument("--class", dest="class_name", metavar="NAME", help="for the score")
    command.add_argument("--cue-images", type=Path, metavar="DIR", help="for the score")


def add_score(command: argparse.ArgumentParser) -> None:
    """The options of ``score``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument(
        "--class", dest="class_name", required=True, metavar="NAME", help="label, name or #index"
    )
    command.add_argument(
        "--cue-images",
        required=True,
        type=Path,
        metavar="DIR",
        help="images that show the cue but not the object",
    )


def add_factors(command: argparse.ArgumentParser) -> None:
    """The options of ``factors``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument(
        "--class", dest="class_name", metavar="NAME", help="label, name or #index (default: all)"
    )


def arguments(audit_id: str, what: str) -> list[str]:
    """What the page starts: the same command."""
    return ["measure", audit_id, "--what", what]


def measure(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Result:
    """``measure``: the table of measures, stored in the audit's folder."""
    import pandas as pd

    from core.audits.audit import Audit
    from core.errors import InputError
    from core.measures.scores import score as scored
    from core.measures.stored import measured
    from core.trials.noise import SIGMA

    wants_score = options.class_name is not None and options.cue_images is not None
    if options.what == "score" and not wants_score:
        raise InputError("measure --what score needs --class NAME and --cue-images DIR")
    given = options.class_name is not None or options.cue_images is not None
    if given and (not wants_score or options.what not in ("score", "all")):
        raise InputError(
            "--class NAME and --cue-images DIR belong together and to --what score or all: they "
            "are for the spurious score; everything else is measured for all classes"
        )
    audit = Audit.open(workspace, options.audit)
    tables = []
    if options.what != "score":
        sigmas = options.sigma or (SIGMA,)
        tables.append(
            measured(audit, workspace, options.what, threshold=options.threshold, sigmas=sigmas,
                     report=report)
        )  # fmt: skip
    if wants_score and options.what in ("score", "all"):
        found = scored(audit, options.class_name, options.cue_images, report=report)
        tables.append(found.table)
    table = pd.concat(tables, ignore_index=True)
    return {"audit": audit.id, "measures": _records(table)}, _text(table)


def score(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Result:
    """``score``: the spurious score of one class."""
    from dataclasses import asdict

    from core.audits.audit import Audit
    from core.measures.scores import score as scored

    audit = Audit.open(workspace, options.audit)
    facts = audit.class_facts(options.class_name)
    found = scored(audit, options.class_name, options.cue_images, report=report)
    unreadable = [{"path": path, "reason": reason} for path, reason in found.unreadable]
    result = {"audit": audit.id, "class_idx": facts["class_idx"], "label": facts["label"]}
    result |= {"class_name": facts["name"], **asdict(found.score)}
    result |= {"chance_auroc": 0.5, "share_in": found.share_in, "share_cue": found.share_cue}
    result |= {"split": audit.summary["held_out"], "images": _records(found.images)}
    result["unreadable"] = unreadable
    lines = [_text(found.table), *(f"left out: {p} ({reason})" for p, reason in found.unreadable)]
    return result, "\n".join(lines)


def factors(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Result:
    """``factors``: what the model decides by, from images put together anew; stored."""
    from core.audits.audit import Audit
    from core.measures.factors import factor_table

    audit = Audit.open(workspace, options.audit)
    table = factor_table(audit, class_name=options.class_name, report=report)
    values = {
        name: dict(zip(rows["subject"], rows["value"], strict=True))
        for name, rows in table.groupby("measure")
    }
    main = table[table["measure"] == "decided_by"]
    result: dict[str, Any] = {"audit": audit.id, "split": str(main["split"].iloc[0])}
    result |= {"images": int(main["n"].iloc[0]), "main": values["decided_by"]}
    result |= {"interactions": values["factor_interaction"], "cells": values["composed_accuracy"]}
    result |= {name: values[name][""] for name in ("shape_bias", "background_gap")}
    result["measures"] = _records(table)
    head = f"{result['images']} images, each put together in eight ways"
    return result, f"{head}\n{_text(table)}"


def factor_arguments(audit_id: str, label: str | None) -> list[str]:
    """What the page starts for ``factors``: the same command."""
    return ["factors", audit_id, *(["--class", label] if label is not None else [])]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return found


def _text(table: pd.DataFrame) -> str:
    """One line per row, notes at the end."""
    lines, notes = [], []
    for row in table.to_dict("records"):
        if row["measure"] == "note":
            notes.append(f"note: {row['class_name'] + ': ' if row['label'] else ''}{row['note']}")
            continue
        name = f"{row['class_name'] or 'all classes':<22.22} {row['measure']:<32}"
        said = "  ".join(part for part in (row["reading"], row["note"]) if part)
        lines.append(f"{name} {row['subject']:<30} {_figure(row)}  {said}".rstrip())
    return "\n".join(lines + notes)


def _figure(row: dict[str, Any]) -> str:
    digits, unit = (1, " points") if row["unit"] == "points" else (3, "")
    low, high = row["low"], row["high"]
    interval = f"[{low:.{digits}f}, {high:.{digits}f}]" if low == low else ""
    return f"{row['value']:>8.{digits}f}{unit} {interval:<18} n = {row['n']:<5} {row['split']}"
