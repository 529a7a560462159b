"""Audits on the command line: run, list, show, rename, delete and export them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.audits.audit_requests import AuditRequest, DemoRequest, check_set_names
from core.audits.audit_summary import Summary
from core.candidates.kinds import found_kinds
from core.candidates.linear_kinds import NEURON, PCA
from core.commands.relocation import relocate
from core.commands.sets import set_facts, set_lines
from core.commands.terminal import (
    Answer,
    Terminal,
    candidate_options,
    candidate_words,
    named_key,
)
from core.commands.trials import leave_the_rest, try_at_once
from core.errors import InputError, WorkspaceError
from core.storage.audit_manifest import Manifest
from core.storage.files import MEND, is_locked, read_value
from core.storage.workspace import Workspace
from core.types import Reporter, silent

if TYPE_CHECKING:
    import pandas as pd

    from core.audits.audit import Audit
    from core.tags.called import Names
    from core.trials.leaned_on import LeanedOn

PACKAGED = "packaged:efficientnet-lite0"

TABLES = ("images", "components", "alpha", "manifest", "adversarial")
"""What is exported as a table."""


def sources_text() -> str:
    """Every source of data in a line, for the help."""
    from core.data.source import listed

    return f"images:\n{listed()}"


def add_show(command: argparse.ArgumentParser) -> None:
    """The options of ``show``."""
    command.add_argument("audit", metavar="AUDIT", help="a name or the beginning of an id")
    command.add_argument(
        "--data-root", type=Path, metavar="DIR", help="the images moved: look for them below DIR"
    )


def add_verify(command: argparse.ArgumentParser) -> None:
    """The options of ``verify``."""
    command.add_argument("audit", metavar="AUDIT", help="a name or the beginning of an id")


def add_rename(command: argparse.ArgumentParser) -> None:
    """The options of ``rename``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument("name", metavar="NAME")


def add_delete(command: argparse.ArgumentParser) -> None:
    """The options of ``delete``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument(
        "--set", metavar="NAME", help="only this further set of its images, not the audit"
    )


def add_export(command: argparse.ArgumentParser) -> None:
    """The options of ``export``."""
    command.add_argument("audit", metavar="AUDIT")
    command.add_argument(
        "what",
        choices=[*TABLES, "features", "heatmaps"],
        metavar="WHAT",
        help="manifest: the images, with what people said of labels done; adversarial: the images "
        "with splits that train where the tagged cues go with their classes and test where not",
    )
    command.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="F",
        help=".csv or .parquet for tables, .npz for arrays; in .csv a text that a spreadsheet "
        "would run as a formula begins with an apostrophe",
    )
    command.add_argument("--class", dest="class_name", metavar="NAME", help="label, name or #index")
    kinds = command.add_mutually_exclusive_group()
    kinds.add_argument(
        "--kind", choices=list(found_kinds()), default=PCA, help="alpha of which candidates"
    )
    kinds.add_argument(
        "--neurons", dest="kind", action="store_const", const=NEURON, help="alpha of neurons"
    )
    candidate_options(command)
    command.add_argument("--images", metavar="ID,ID", help="only these images")
    command.add_argument("--data-root", type=Path, metavar="DIR", help="the images moved")


def audit(options: argparse.Namespace, workspace: Workspace, terminal: Terminal) -> Answer:
    """``audit``: run, resume or extend."""
    return _run(AuditRequest.from_options(options), workspace, terminal)


def demo(options: argparse.Namespace, workspace: Workspace, terminal: Terminal) -> Answer:
    """``demo``: an audit of rendered or packaged data."""
    name = DemoRequest.from_options(options).name.removeprefix("demo:")
    if name == "compare":
        from core.commands import comparison as compare_commands

        return compare_commands.demo(workspace, terminal)
    request = AuditRequest(
        data=f"demo:{name}",
        model=PACKAGED,
        name=f"demo-{name}"[:120],
        head="auto" if name == "imagenette" else "fit",
    )
    return _run(request, workspace, terminal)


def _run(request: AuditRequest, workspace: Workspace, terminal: Terminal) -> Answer:
    from core.audits.set_pass import add_sets
    from core.trials.trial_work import share_trials

    began = time.perf_counter()
    check_set_names(list(request.also))
    done = _done(request, workspace, terminal)
    if request.is_local:
        try_at_once(done, workspace, terminal, passed=time.perf_counter() - began)
    with closing(request.started_engine()) as engine:
        decoding = request.decoding_threads
        if not request.is_local:
            share_trials(engine, done, terminal)
        add_sets(done, request.also, workspace, engine=engine, workers=decoding, report=terminal)
    left = leave_the_rest(done, workspace, terminal)
    seconds = time.perf_counter() - began
    answer = _shown(done.manifest, done, workspace)
    result = {**answer.document, **left.document, "seconds": round(seconds, 2)}
    return Answer(result, f"{answer.text}{left.text}\nfinished in {seconds:.1f} s")


def _done(request: AuditRequest, workspace: Workspace, terminal: Terminal) -> Audit:
    """The audit that is asked for, or the one that something is added to."""
    from core.audits.audit import Audit
    from core.audits.run import run_audit

    if not request.only_adds:
        return run_audit(request, workspace, report=terminal, started=terminal.started)
    found = Audit.open(workspace, request.default_name)
    terminal.started(found.id)
    return found


def _shown(manifest: Manifest, audit: Audit, workspace: Workspace) -> Answer:
    """A finished audit: what it found, and what its classes lean on."""
    from core.audits.evaluation_set import evaluation_sets

    lines, (ranked, names, note) = _lines(manifest, audit.summary), _ranked(audit, workspace)
    lines += [f"  note: {note}"] if note else []
    classes = [{**one.facts.to_json(), **one.to_json(names)} for one in ranked]
    sets = [set_facts(one) for one in evaluation_sets(audit).values()]
    found = {
        **describe(manifest, audit.summary),
        "classes": classes,
        **({"sets": sets} if sets else {}),
    }
    lines += [line for one in sets for line in set_lines(one)]
    return Answer(found, "\n".join([*lines, *_class_lines(ranked, names)]))


def _ranked(audit: Audit, workspace: Workspace) -> tuple[list[LeanedOn], Names, str]:
    """What the classes of an audit lean on, the names of candidates, and what could not be read."""
    from core.tags.called import NAMELESS
    from core.tags.decisions import decided
    from core.tags.log import TagStore
    from core.trials.leaned_on import leaned_on

    try:
        decisions = decided(audit, TagStore.open(workspace))
    except WorkspaceError as error:
        return leaned_on(audit), NAMELESS, f"ranked without tags: {error}"
    core = {key for keys in decisions.core.keys_of.values() for key in keys}
    return leaned_on(audit, core), decisions.names, ""


def _class_lines(ranked: Sequence[LeanedOn], names: Names) -> list[str]:
    """What classes lean on, as lines; a core feature is leaned on, too."""
    from core.trials.leaned_on import BLOCKS

    lines: list[str] = []
    for block, words in BLOCKS.items():
        mine = [one for one in ranked if one.block == block]
        if mine:
            lines.append(f"  {words}:")
            lines += [_class_line(one, names) for one in mine[:12]]
        if len(mine) > 12:
            lines.append(f"    … and {len(mine) - 12} more classes")
    return lines


def _class_line(one: LeanedOn, names: Names) -> str:
    from core.tags.people import one_line

    name = " ".join(one.facts.name.splitlines())
    accuracy = _percent(one.facts.accuracy)
    return f"    {name:<28} accuracy {accuracy:>7}  {one_line(one.said(names))}"


def list_audits(_: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``list``: one line per audit, newest first."""
    from core.tags.people import one_line

    rows, lines = [], []
    for manifest in workspace.manifests():
        path = workspace.files(manifest.id).summary
        try:
            summary, state = _summary(path), _state(workspace, manifest)
        except WorkspaceError:
            summary, state = None, "damaged"
        manifest = replace(manifest, state=state)
        found = describe(manifest, summary)
        row = {k: v for k, v in found.items() if k not in ("classes", "unreadable")}
        try:
            first, words = _first(manifest, summary, workspace)
        except WorkspaceError as error:
            first, words = None, one_line(f"  {error}")
            row["damage"] = str(error)
        n = len(summary.classes) if summary else 0
        rows.append({**row, "classes": n, "first": first})
        lines.append(f"{_list_line(manifest, summary)}{words}")
    hidden = workspace.unreadable()
    lines += [f"{audit}  {reason}" for audit, reason in hidden.items()]
    empty = f"no audits in {workspace.place}; start with: python -m core demo"
    result = {"workspace": workspace.place, "audits": rows, "unreadable": hidden}
    return Answer(result, "\n".join(lines) or empty)


def _first(
    manifest: Manifest, summary: Summary | None, workspace: Workspace
) -> tuple[Mapping[str, object] | None, str]:
    """The class that an audit puts first, for programs and for people; none where it has none.

    Raises
    ------
    WorkspaceError
        If what says so is damaged.
    """
    from core.audits.audit import Audit
    from core.tags.people import one_line

    if manifest.state != "finished" or not summary or not summary.classes:
        return None, ""
    ranked, names, _ = _ranked(Audit(workspace.folder(manifest.id)), workspace)
    first = ranked[0]
    document = {**first.facts.to_json(), **first.to_json(names)}
    return document, one_line(f"  first: {first.facts.name}, {first.said(names)}")


def _list_line(manifest: Manifest, summary: Summary | None) -> str:
    images, classes = (summary.images, len(summary.classes)) if summary else (0, 0)
    return (
        f"{manifest.id}  {manifest.name:<32} {manifest.state:<9} {images:>8} images "
        f"{classes:>5} classes  {_percent(summary.accuracy if summary else None)}"
    )


def _summary(path: Path) -> Summary | None:
    """The summary of an audit; None where it is not finished."""
    return read_value(path, Summary) if path.exists() else None


def _state(workspace: Workspace, manifest: Manifest) -> str:
    if manifest.state == "finished":
        return "finished"
    running = is_locked(workspace.files(manifest.id).lock)
    return "running" if running else "stopped"


def show(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``show``: what an audit found."""
    manifest = workspace.find(options.audit)
    if options.data_root:
        manifest = relocate(workspace, manifest, options.data_root)
    summary = _summary(workspace.files(manifest.id).summary)
    manifest = replace(manifest, state=_state(workspace, manifest))
    if summary is None:
        return Answer(describe(manifest, summary), "\n".join(_lines(manifest, summary)))
    from core.audits.audit import Audit

    return _shown(manifest, Audit(workspace.folder(manifest.id)), workspace)


def describe(manifest: Manifest, summary: Summary | None) -> Mapping[str, object]:
    """An audit as one JSON document."""
    found = summary.to_json() if summary else {}
    return {
        "id": manifest.id,
        "name": manifest.name,
        "state": manifest.state,
        "created": manifest.created,
        "version": manifest.version,
        "data": manifest.data.to_json(),
        "model": manifest.model.to_json(),
        "head": {**manifest.head.to_json(), **(summary.head.to_json() if summary else {})},
        "compute": manifest.compute.to_json(),
        "fingerprint": manifest.fingerprint,
        "images": found.get("images"),
        "readable": found.get("readable"),
        "accuracy": found.get("accuracy"),
        "held_out": found.get("held_out"),
        "splits": found.get("splits", {}),
        "classes": found.get("classes", []),
        "unreadable": found.get("unreadable", []),
        "duplicates": found.get("duplicates", []),
        "in_two_splits": found.get("in_two_splits", []),
        "repeated": found.get("repeated", []),
        "notes": [*manifest.model.notes, *(summary.notes if summary else ())],
    }


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _lines(manifest: Manifest, summary: Summary | None) -> list[str]:
    """An audit in a few lines."""
    from core.models.overrides import in_words as preprocess_words
    from core.models.precision import in_words

    head = f"{manifest.name}  ({manifest.id}, {manifest.state})"
    compute = manifest.compute
    lines = [
        head,
        f"  data      {manifest.data.source}",
        f"  model     {manifest.model.name}, head {manifest.head.mode} ({manifest.head.reason})",
        f"  images as {preprocess_words(manifest.preprocess)}",
        f"  computed  on {compute.device} in {in_words(compute)}",
    ]
    if summary is None:
        return [*lines, "  not finished: run the same audit command again to go on"]
    lines.append(
        f"  images    {summary.readable} readable of {summary.images}, accuracy "
        f"{_percent(summary.accuracy) or 'unknown'} on {summary.held_out}"
    )
    for found, words in (
        (summary.unreadable, "images that cannot be read"),
        (summary.duplicates, "groups of identical images"),
        (summary.in_two_splits, "groups of identical images in two splits"),
    ):
        if found:
            lines.append(f"  {words}: {len(found)} (listed with --json)")
    return lines + [f"  note: {note}" for note in (*manifest.model.notes, *summary.notes)]


def verify(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``verify``: read everything that an audit stores."""
    from core.audits.integrity import verify as read_all

    manifest = workspace.find(options.audit)
    found = read_all(workspace.folder(manifest.id), report)
    result = {
        **{"id": manifest.id, "name": manifest.name, "sound": not found.damaged},
        **{"files": found.files, "bytes": found.bytes, "unchecked": len(found.unknown)},
        "note": found.note,
        "damaged": [{"path": path, "reason": words} for path, words in found.damaged.items()],
    }
    said = f"{len(found.damaged)} damaged or missing; {MEND}" if found.damaged else "all sound"
    lines = [f"{manifest.name}: {found.files} files, {found.bytes / 2**20:.1f} MiB: {said}"]
    lines += [f"  {path} {words}" for path, words in found.damaged.items()]
    lines += [f"  note: {found.note}"] if found.note else []
    return Answer(result, "\n".join(lines))


def verified(result: Mapping[str, object]) -> int:
    """Exit code of ``verify``: 1 where something is damaged."""
    return 0 if result["sound"] else 1


def rename(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``rename``."""
    manifest = workspace.rename(options.audit, options.name)
    return Answer({"id": manifest.id, "name": manifest.name}, f"renamed to {manifest.name}")


def delete(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``delete``."""
    if options.set is not None:
        return _delete_set(options.audit, options.set, workspace)
    manifest = workspace.delete(options.audit)
    return Answer(
        {"id": manifest.id, "name": manifest.name, "deleted": True},
        f"deleted {manifest.name}; its tags stay in the database",
    )


def _delete_set(audit: str, name: str, workspace: Workspace) -> Answer:
    """One of the sets that ``--also`` added."""
    from core.audits.audit import Audit
    from core.audits.evaluation_set import remove_set

    found = Audit.open(workspace, audit)
    remove_set(found, name)
    return Answer(
        {"id": found.id, "name": found.name, "set": name, "deleted": True},
        f"deleted the set {name} of {found.name}; its photos, all tags and what was measured stay",
    )


def export(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``export``: tables and arrays as files."""
    if options.data_root:
        relocate(workspace, workspace.find(options.audit), options.data_root)
    from core.audits import export as writers
    from core.tags.called import names_of
    from core.tags.log import TagStore
    from core.tags.saved_groups import open_with_groups
    from core.trials.leaning import with_leaning

    opened = open_with_groups(workspace, options.audit)
    out: Path = options.out
    if options.what in TABLES:
        writers.check_ending(out, ".parquet", ".csv")
    if options.what == "images":
        writers.write_table(writers.images_table(opened), out)
    elif options.what == "components":
        table = with_leaning(opened, writers.components_table(opened))
        history = TagStore.open(workspace).history(opened.id)
        writers.write_table(names_of(history).beside(table, opened.head.outputs), out)
    elif options.what == "alpha":
        table = writers.alpha_table(opened, options.class_name, options.kind)
        writers.write_table(table, out)
    elif options.what == "manifest":
        writers.write_table(_manifest(opened, workspace), out)
    elif options.what == "adversarial":
        writers.write_table(_adversarial(opened, workspace), out)
    elif options.what == "features":
        writers.write_features(opened, out)
    else:
        _export_heatmaps(opened, options, out)
    return Answer({"audit": opened.id, "what": options.what, "out": str(out)}, f"wrote {out}")


def _manifest(opened: Audit, workspace: Workspace) -> pd.DataFrame:
    from core.quality.label_problems import manifest_of
    from core.tags.image_verdicts import ImageVerdicts, decided
    from core.tags.log import TagStore

    return manifest_of(opened, decided(ImageVerdicts(TagStore.open(workspace)).standing(opened.id)))


def _adversarial(opened: Audit, workspace: Workspace) -> pd.DataFrame:
    from core.quality.adversarial_split import adversarial, manifest_of_split
    from core.tags.decisions import decided
    from core.tags.log import TagStore

    return manifest_of_split(opened, adversarial(opened, decided(opened, TagStore.open(workspace))))


def _export_heatmaps(opened: Audit, options: argparse.Namespace, out: Path) -> None:
    from core.audits.export import write_heatmaps

    label = opened.class_facts(options.class_name).label if options.class_name else None
    key = None if label is None else named_key(options, label)
    if label is None or key is None:
        raise InputError(f"export heatmaps needs --class NAME and one of {candidate_words()}")
    ids = [i.strip() for i in options.images.split(",") if i.strip()] if options.images else None
    write_heatmaps(opened, label, key.kind, key.number, ids, out)
