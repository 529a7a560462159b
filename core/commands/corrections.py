"""``python -m core mitigate`` and ``export-model``: correct a model, and take it elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.commands.terminal import Terminal, folders
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    import pandas as pd

    from core.audits.audit import Audit

Result = tuple[dict[str, Any], str]


def methods_text() -> str:
    """Every method in a line, for the help."""
    from core.corrections.methods import methods

    lines = [f"  {name:<15} {method.title}. {method.source}" for name, method in methods().items()]
    return "\n".join(["methods:", *lines])


def add_mitigate(command: argparse.ArgumentParser) -> None:
    """The options of ``mitigate``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument("--method", required=True, metavar="METHOD", help="one of those below")
    command.add_argument("--name", required=True, metavar="NEW", help="name of the new audit")
    command.add_argument(
        "--class", dest="classes", action="append", default=[], metavar="NAME",
        help="act on the cues of this class alone; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--cue", dest="cues", action="append", default=[], metavar="LABEL/pca-0",
        help="act on this tagged candidate alone; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--strength", default="auto", metavar="S",
        help="a number, or auto: chosen on a held-out part of the training images (methods of the "
        "network: their own default), or sweep: a method of the network trains at several and one "
        "is chosen, which takes as many times as long",
    )  # fmt: skip
    command.add_argument(
        "--option", dest="options", action="append", default=[], metavar="NAME=VALUE",
        help="an option of the method; may be repeated",
    )  # fmt: skip
    command.add_argument(
        "--attribute", metavar="NAME[=VALUE]", help="says who shows the cue, instead of alpha"
    )
    command.add_argument("--masks", action="store_true", help="use drawn cue masks (cue_mask)")
    command.add_argument("--threshold", type=int, metavar="N", help="votes that decide a tag")
    command.add_argument(
        "--quick", action="store_true", help="decode no image: leave out what needs pictures"
    )
    command.add_argument(
        "--cue-images", nargs="+", default=[], metavar="CLASS=DIR",
        help="images that show the cue of a class but not the object, for the spurious score; "
        "may be given later, with the same command",
    )  # fmt: skip
    command.add_argument("--seed", type=int, default=0, metavar="N")


def add_export(command: argparse.ArgumentParser) -> None:
    """The options of ``export-model``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument("--format", default="safetensors", choices=["safetensors", "pt2", "onnx"])
    command.add_argument("--out", required=True, type=Path, metavar="FILE")


def mitigate(options: argparse.Namespace, workspace: Workspace, terminal: Terminal) -> Result:
    """``mitigate``: a derived audit, and the table before and after."""
    from core.corrections.request import MitigateRequest, parse_options, run_mitigation

    request = MitigateRequest(
        audit=options.audit,
        method=options.method,
        name=options.name,
        classes=tuple(options.classes),
        cues=tuple(options.cues),
        strength=_strength(options.strength),
        sweep=options.strength == "sweep",
        options=parse_options(options.options),
        attribute=options.attribute,
        masks=options.masks,
        threshold=options.threshold,
        pictures=not options.quick,
        cue_images=folders(options.cue_images),
        seed=options.seed,
    )
    audit = run_mitigation(request, workspace, report=terminal, started=terminal.started)
    return _described(audit)


def _strength(text: str) -> float | None:
    from core.errors import InputError

    if text in ("auto", "sweep"):
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"--strength {text!r}: give a number, auto or sweep") from error


def _described(audit: Audit) -> Result:
    from core.corrections.corrected import effect_table, tradeoff_table

    table, curve, done = effect_table(audit), tradeoff_table(audit), audit.manifest["mitigation"]
    result = {
        "id": audit.id,
        "name": audit.name,
        "mitigation": done,
        "effect": _records(table),
        "tradeoff": [] if curve is None else _records(curve),
    }
    head = (
        f"{audit.name}  ({audit.id}): {done['method']} at strength {done['strength']:g} on "
        f"{', '.join(done['cues'])}, made from {done['parent_name']}"
    )
    return result, "\n".join([head, *(_line(row) for row in table.to_dict("records"))])


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return found


def _line(row: dict[str, Any]) -> str:
    mark = "*" if row["acted_on"] else " "
    name = f"{mark} {row['class_name'] or 'all classes':<18.18} {row['measure']:<32.32}"
    if row["after"] != row["after"]:
        return f"{name} {row['note']}"
    if row["before"] != row["before"]:
        return f"{name} {row['after']:>7.3f} ({row['note']})"
    digits = 1 if row["unit"] == "points" else 3
    figures = f"{row['before']:>7.{digits}f} -> {row['after']:>7.{digits}f}"
    low, high = row["change_low"], row["change_high"]
    interval = f"[{low:+.{digits}f}, {high:+.{digits}f}]" if low == low else ""
    return f"{name} {figures}  {row['change']:+.{digits}f} {interval:<18} n = {row['n']}"


def export_model(
    options: argparse.Namespace, workspace: Workspace, report: Reporter = silent
) -> Result:
    """``export-model``: the audited model and its card as files."""
    from core.audits.audit import Audit
    from core.corrections.card import write_card
    from core.corrections.package import export_model as write

    audit, out = Audit.open(workspace, options.audit), options.out
    write(audit, options.format, out)
    card = write_card(audit, out)
    result = {"audit": audit.id, "format": options.format, "out": str(out), "card": str(card)}
    return result, f"wrote {out} and {card}"
