"""``python -m core groups …``: groups of images that have a name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from core.commands.terminal import Answer, common_options
from core.data.far_images import full_name
from core.errors import InputError
from core.storage.workspace import Workspace
from core.types import Reporter, count_of, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.tags.saved_groups import SavedGroup, SavedGroups

FORMATS = ("coco", "cvat", "fiftyone")


def add_parser(groups: argparse.ArgumentParser) -> None:
    """The options of every groups command."""
    common = common_options()
    commands = groups.add_subparsers(dest="groups", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[common])
        made.add_argument("audit", metavar="AUDIT")
        return made

    listed = command("list", "the saved groups, and how they fare on held-out images")
    listed.add_argument("--history", action="store_true", help="every entry of the log as well")
    add = command("add", "save images as a group, an attribute to slice by")
    add.add_argument("--name", required=True, help="what its images share")
    which = add.add_mutually_exclusive_group(required=True)
    which.add_argument("--images", metavar="FILE", help="one image id, or path, a line")
    which.add_argument(
        "--where",
        metavar="NAME=VALUE",
        action="append",
        help="images with this label, split, correct (True or False) or attribute; repeat it for "
        "images with all of them",
    )
    which.add_argument("--slice", metavar="CLASS", help="the class's error slice (data)")
    add.add_argument("--annotator", default="anonymous")
    remove = command("remove", "take a group back; its history stays")
    remove.add_argument("--name", required=True)
    remove.add_argument("--annotator", default="anonymous")
    write = command("export", "a group as a manifest, or as COCO, CVAT or FiftyOne with pictures")
    write.add_argument("--name", required=True)
    write.add_argument("--format", choices=("manifest", *FORMATS), default="manifest")
    write.add_argument(
        "--out", required=True, metavar="F", type=Path, help="a .csv or .parquet, or a new folder"
    )


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """Run one groups command."""
    from core.tags.log import TagStore
    from core.tags.saved_groups import SavedGroups, open_with_groups

    audit = open_with_groups(workspace, options.audit)
    saved = SavedGroups(TagStore.open(workspace))
    command = {"list": listed, "add": add, "remove": remove, "export": export}[options.groups]
    return command(options, audit, saved)


def listed(options: argparse.Namespace, audit: Audit, saved: SavedGroups) -> Answer:
    """``groups list``."""
    from core.tags.people import one_line
    from core.tags.saved_groups import figures

    found = [(group, figures(audit, group)) for group in saved.standing(audit.id).values()]
    lines = [
        one_line(
            f"{group.name}: {of['n']:.0f} images, {_accuracy(of)}{group.how and f' ({group.how})'}"
        )
        for group, of in found
    ]
    result: dict[str, object] = {
        "audit": audit.id,
        "groups": [{**_facts(group), **of} for group, of in found],
    }
    if options.history:
        result["history"] = [_facts(group) for group in saved.history(audit.id)]
    return Answer(result, "\n".join(lines) or "no group was saved yet")


def _accuracy(of: dict[str, float]) -> str:
    if not of["held_out"]:
        return "none of them held out"
    return (
        f"{100 * of['accuracy']:.0f} % right [{100 * of['low']:.0f}, {100 * of['high']:.0f}] on "
        f"{of['held_out']:.0f} held-out ones"
    )


def _facts(group: SavedGroup) -> dict[str, object]:
    ids = None if group.image_ids is None else list(group.image_ids)
    return {
        **{"name": group.name, "how": group.how, "annotator": group.annotator, "at": group.at},
        "image_ids": ids,
    }


def add(options: argparse.Namespace, audit: Audit, saved: SavedGroups) -> Answer:
    """``groups add``."""
    from core.tags.people import one_line

    ids, how = _chosen(options, audit)
    group = saved.add(options.annotator, audit, options.name, ids, how)
    n = count_of(len(group.image_ids or ()), "image is", "images are")
    said = f"{n} the group {group.name!r}, the attribute {group.attribute!r}"
    return Answer({"audit": audit.id, **_facts(group)}, one_line(said))


def _chosen(options: argparse.Namespace, audit: Audit) -> tuple[list[str], str]:
    """Ids of the images that are asked for, and where they come from."""
    if options.images:
        return _from_file(Path(options.images), audit), f"File {Path(options.images).name}"
    if options.where:
        return _where(options.where, audit), " and ".join(options.where)
    from core.quality.error_slices import error_slices

    facts, found = audit.class_facts(options.slice), error_slices(audit)
    mine = found[found["label"] == facts.label]
    if mine.empty:
        raise InputError(f"--slice: the class {facts.name!r} has too few errors for a slice")
    return [str(i) for i in mine.iloc[0]["image_ids"]], f"Error slice of {facts.label}"


def _from_file(file: Path, audit: Audit) -> list[str]:
    """Images by id, by path as the audit has it, or by absolute path."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--images {file}: give a text file with an id or path a line") from error
    wanted = [line.strip() for line in lines if line.strip()]
    paths = audit.images["path"].astype(str)
    known = {path: image_id for image_id, path in paths.items()}
    known |= {full_name(audit.root, path): image_id for image_id, path in paths.items()}
    known |= {str(image_id): image_id for image_id in audit.images.index}
    if lacking := [line for line in wanted if line not in known]:
        raise InputError(f"--images {file}: audit {audit.name!r} has no image {lacking[0]!r}")
    return [str(known[line]) for line in wanted]


def _where(conditions: list[str], audit: Audit) -> list[str]:
    columns = ("label", "split", "correct", *audit.summary.attributes)
    images = audit.images
    for condition in conditions:
        name = next((c for c in columns if condition.startswith(f"{c}=")), None)
        if name is None:
            raise InputError(f"--where {condition}: give NAME=VALUE, of {', '.join(columns)}")
        value = condition.removeprefix(f"{name}=")
        images = images[images[name].astype(str) == value]
    return [str(image_id) for image_id in images.index]


def remove(options: argparse.Namespace, audit: Audit, saved: SavedGroups) -> Answer:
    """``groups remove``."""
    from core.tags.people import one_line

    group = saved.remove(options.annotator, audit, options.name)
    return Answer({"audit": audit.id, **_facts(group)}, one_line(f"{group.name!r} is taken back"))


def export(options: argparse.Namespace, audit: Audit, saved: SavedGroups) -> Answer:
    """``groups export``."""
    from core.audits.export import write_table
    from core.report.boxes import labelled_images
    from core.report.formats import export as write_images
    from core.tags.saved_groups import manifest_of

    group, out = saved.named(audit.id, options.name), options.out
    n = len(group.image_ids or ())
    if options.format == "manifest":
        write_table(manifest_of(audit, group), out)
    else:
        images = labelled_images(audit.of_data, list(group.image_ids or ()))
        n = write_images(audit, images, options.format, out)
    result = {"audit": audit.id, "name": group.name, "out": str(out), "images": n}
    return Answer({**result, "format": options.format}, f"wrote {count_of(n, 'image')}: {out}")
