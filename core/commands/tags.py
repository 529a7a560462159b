"""``python -m core tags …``: what each of its commands does."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from core.candidates.key import keys_in
from core.commands.terminal import (
    Answer,
    candidate_options,
    candidate_words,
    common_options,
    named_key,
    records,
)
from core.errors import InputError
from core.storage.workspace import Workspace
from core.types import Reporter, Subtype, Tag, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.tags.log import TagEvent


def add_parser(tags: argparse.ArgumentParser) -> None:
    """The options of every tags command."""
    common = common_options()
    commands = tags.add_subparsers(dest="tags", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[common])
        made.add_argument("audit", metavar="AUDIT")
        return made

    listed = command("list", "the standing tags and the decision on every candidate")
    listed.add_argument("--threshold", type=int, metavar="N", help="votes that decide")
    listed.add_argument("--history", action="store_true", help="every entry of the log as well")
    add = command("add", "tag one candidate")
    add.add_argument("--class", dest="class_name", required=True, metavar="NAME")
    which = add.add_mutually_exclusive_group(required=True)
    candidate_options(which)
    add.add_argument("--tag", required=True, choices=[t.value for t in Tag])
    add.add_argument("--subtype", choices=[s.value for s in Subtype])
    add.add_argument("--confidence", type=int, metavar="1-5")
    add.add_argument("--reason", default="")
    add.add_argument(
        "--called",
        metavar="NAME",
        help="what you call the candidate, at most 80 characters; it stands with its number "
        "wherever the candidate is shown; '' takes your name for it away",
    )
    add.add_argument("--annotator", default="anonymous")
    read = command("import", "read tags from .json, .csv or .parquet")
    read.add_argument("file", metavar="FILE")
    read.add_argument("--annotator", default="import", help="for files that name nobody")
    write = command(
        "export",
        "write the standing tags as .json, .csv or .parquet; in .csv a text that a spreadsheet "
        "would run as a formula begins with an apostrophe, which import takes off again",
    )
    write.add_argument("--out", required=True, metavar="F")
    write.add_argument("--annotators", action="store_true", help="with people's names")
    command("agreement", "how far annotators agree")


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Run one tags command."""
    from core.audits.audit import Audit

    audit = Audit.open(workspace, options.audit)
    command = {
        "list": listed,
        "add": add,
        "import": read,
        "export": write,
        "agreement": agreement,
    }[options.tags]
    return command(options, workspace, audit)


def add(options: argparse.Namespace, workspace: Workspace, audit: Audit) -> Answer:
    """``tags add``."""
    from core.tags.called import titled
    from core.tags.log import TagStore
    from core.tags.people import one_line

    facts = audit.class_facts(options.class_name)
    key = named_key(options, facts.label)
    if key is None:
        raise InputError(f"tags add tags one candidate: give one of {candidate_words()}")
    candidate = audit.class_arrays(facts.class_idx).candidate(key.kind, key.number)
    event = TagStore.open(workspace).add(
        options.annotator,
        audit.id,
        key,
        Tag(options.tag),
        subtype=Subtype(options.subtype) if options.subtype else None,
        confidence=options.confidence,
        reason=options.reason,
        called=options.called,
    )
    result = {"id": event.id, "audit": audit.id, "label": event.label, "kind": key.kind}
    result |= {"component": key.number, "tag": event.tag, "annotator": event.annotator}
    result["called"] = event.called
    what = titled(candidate.title, [event.called] if event.called else [])
    said = f"{what} of {facts.name} is {event.tag} for {event.annotator}"
    return Answer(result, one_line(said))


def listed(options: argparse.Namespace, workspace: Workspace, audit: Audit) -> Answer:
    """``tags list``: decisions, and who said what; rows that mean nothing are a warning here."""
    from core.tags.called import names_of
    from core.tags.entries import described
    from core.tags.log import TagStore, standing
    from core.tags.people import one_line
    from core.tags.votes import answers, count_votes

    if options.threshold is not None and options.threshold < 1:
        raise InputError(f"--threshold {options.threshold}: must be at least 1")
    log, faults = TagStore.open(workspace).log(audit.id)
    table = answers(standing(log))
    votes = count_votes(table, threshold=options.threshold)
    keys, called = keys_in(votes), names_of(log)
    votes["called"] = [called.of(key) or None for key in keys]
    names = audit.class_names
    lines = []
    for key, row in zip(keys, votes.to_dict("records"), strict=True):
        what = one_line(called.written(key))
        name = one_line(names.get(row["label"], row["label"]))
        lines.append(
            f"{name:<28} {what:<14} {row['decision']:<9} "
            f"{row['core']} core, {row['spurious']} spurious, {row['unsure']} unsure"
        )
    empty = "no tags yet; tag on the page Components or with: python -m core tags add"
    result = {"audit": audit.id, "tags": records(table), "decisions": records(votes)}
    if faults:
        warning = f"{described(faults)}; restore them from a backup, other commands refuse them"
        result["warnings"] = [warning]
        lines.append(f"warning: {warning}")
    if options.history:
        result["history"] = [asdict(entry) for entry in log]
        lines += ["", *(_entry(entry, names) for entry in log)]
    return Answer(result, "\n".join(lines) or empty)


def _entry(entry: TagEvent, names: dict[str, str]) -> str:
    """One line of the log: when, who, what, and which entry it follows or takes back."""
    from core.tags.people import one_line

    what = f"{names.get(entry.label, entry.label)}, {entry.key.title}"
    said = "no tag" if entry.tag is None else entry.tag.value
    more = [entry.called and f"called “{entry.called}”"]
    more += [entry.subtype and entry.subtype.value.replace("_", " "), entry.reason]
    more.append(f"sure {entry.confidence} of 5" if entry.confidence else None)
    more.append(f"undoes {entry.undoes}" if entry.undoes else None)
    words = ", ".join(part for part in (said, *more) if part)
    return one_line(f"{entry.id:>6} {entry.at} {entry.annotator}: {what}: {words}")


def read(options: argparse.Namespace, workspace: Workspace, audit: Audit) -> Answer:
    """``tags import``."""
    from pathlib import Path

    from core.tags.exchange import take_in
    from core.tags.log import TagStore

    store, file = TagStore.open(workspace), Path(options.file)
    imported, added = take_in(audit, store, file, options.annotator)
    result = {
        "audit": audit.id,
        "format": imported.format,
        "rows": len(imported.rows),
        "added": added,
        "warnings": list(imported.warnings),
        **({"notes": list(imported.notes)} if imported.notes else {}),
    }
    lines = [f"{added} new tags of {len(imported.rows)} in {options.file}"]
    lines += [f"note: {note}" for note in imported.notes]
    return Answer(result, "\n".join([*lines, *(f"warning: {w}" for w in imported.warnings)]))


def write(options: argparse.Namespace, workspace: Workspace, audit: Audit) -> Answer:
    """``tags export``."""
    from pathlib import Path

    from core.tags.exchange import export_tags
    from core.tags.log import TagStore

    events = TagStore.open(workspace).current(audit.id)
    rows = export_tags(events, Path(options.out), annotators=options.annotators)
    return Answer({"audit": audit.id, "rows": rows, "out": options.out}, f"wrote {rows} tags")


def agreement(_: argparse.Namespace, workspace: Workspace, audit: Audit) -> Answer:
    """``tags agreement``."""
    from core.tags.agreement import agreement as measure
    from core.tags.agreement import people
    from core.tags.log import TagStore
    from core.tags.votes import answers, count_votes

    table = answers(TagStore.open(workspace).current(audit.id))
    result = {"audit": audit.id, **asdict(measure(table)), "people": records(people(table))}
    votes = count_votes(table)
    result["decisions"] = votes["decision"].value_counts().to_dict()
    shown = (k for k in result if k not in ("people", "audit"))
    return Answer(result, "\n".join(f"{key:<22} {result[key]}" for key in shown))
