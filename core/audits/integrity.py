"""Whether an audit is stored as it was written, and setting aside what is not.

Everything is read once and compared with its digest (:mod:`core.storage.digests`). What is damaged
is set aside, so that the run that follows computes exactly that again: the images of a damaged
shard, a class, the head. A damaged plan is made again from its shards, which hold the same images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from core.audits.audit_summary import Summary
from core.data.decode import file_digest
from core.data.far_images import UNKNOWN_FILE, states
from core.errors import WorkspaceError
from core.features.shards import KEPT, ROW_COLUMNS, FeatureStore, Shard, mapped, with_slices
from core.storage import digests
from core.storage.files import (
    MEND,
    as_parquet,
    disk_errors,
    read_array,
    read_frame,
    read_frames,
    read_json,
    read_value,
    remove,
    set_aside,
    write_frame,
)
from core.storage.layout import (
    CARRIED,
    CLASSES,
    HEAD,
    ON_DEMAND,
    PASS,
    PICTURES,
    PLAN,
    SETS,
    SHARDS,
    AuditFiles,
    ShardFiles,
)
from core.storage.workspace import read_manifest
from core.types import ImageTable, Progress, Reporter, count_of, silent

if TYPE_CHECKING:
    import pandas as pd

STAGE = "Checking what is stored"

ASIDE = ".damaged"
"""Ending of what is set aside since no run can compute it again."""


@dataclass
class Verified:
    """What a check of every stored file found."""

    files: int = 0
    bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    """What is wrong, by path below the audit's folder."""
    unknown: list[str] = field(default_factory=list)
    """Files that can be read and have no digest: of earlier versions."""

    @property
    def note(self) -> str:
        """What was not checked, in words; empty where all was."""
        n = len(self.unknown)
        return (
            f"no digests stored: {count_of(n, 'file')} could only be checked for readability"
            if n
            else ""
        )


def verify(
    folder: Path, report: Reporter = silent, *, again: bool = True, far: bool = True
) -> Verified:
    """Read every stored file of an audit and compare it with its digest.

    Parameters
    ----------
    folder : of the audit.
    again : read also what this process has compared before.
    far : read also what is only in a bucket so far; else its size is compared.
    """
    found = Verified()
    paths = list(_stored(folder))
    for done, path in enumerate(paths):
        report(Progress(STAGE, done, len(paths), "files"))
        name = path.relative_to(folder).as_posix()
        words = _fault(path, again, far)
        if words:
            found.damaged[name] = words
        elif path.name != digests.NAME and not digests.is_known(path):
            found.unknown.append(name)
        with suppress(OSError):
            found.bytes += path.stat().st_size
    found.files = len(paths)
    found.damaged |= {name: "is missing" for name in _missing(folder) if name not in found.damaged}
    report(Progress(STAGE, len(paths), len(paths), "files"))
    return found


def require_sound(folder: Path, report: Reporter = silent) -> None:
    """Raise WorkspaceError if something stored is damaged or missing.

    What this process has compared wholly before, and was not written since, is not read again.
    """
    found = verify(folder, report, again=False, far=False).damaged
    if found:
        name, words = next(iter(found.items()))
        more = count_of(len(found) - 1, "more file is", "more files are")
        others = f", and {more} damaged" if len(found) > 1 else ""
        raise WorkspaceError(f"{folder / name} {words}{others}; {MEND}")


def _stored(folder: Path) -> Iterator[Path]:
    """Every file that is there or should be, digests included where they cannot be read."""
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != PICTURES)
        there = {file for file in files if digests.is_data(here / file)}
        try:
            there |= set(digests.known(here))
        except ValueError:
            yield here / digests.NAME
            continue
        yield from (here / file for file in sorted(there) if not file.endswith(ASIDE))


def _fault(path: Path, again: bool, far: bool = True) -> str:
    if path.name == digests.NAME:
        return "is damaged itself"
    found = digests.fault(path, wholly=True, again=again, far=far)
    if found or digests.is_known(path):
        return found
    try:
        _READ.get(path.suffix, Path.stat)(path)
    except WorkspaceError as error:
        return str(error).removeprefix(f"{path} ").removesuffix(f"; {MEND}")
    return ""


_READ = {
    ".json": read_json,
    ".npy": lambda path: read_array(path, mapped=True),
    ".parquet": read_frame,
}


def _missing(folder: Path) -> Iterator[str]:
    """Folders and files that a finished audit has; their digests may be gone with them."""
    files = AuditFiles(folder)
    try:
        shards = FeatureStore(folder).shards
        for shard in shards:
            if shard.files.folder.exists() and not shard.finished:  # without its digests
                yield (shard.files.folder / digests.NAME).relative_to(folder).as_posix()
        classes = read_value(files.summary, Summary).classes
    except WorkspaceError:
        return  # never finished, or damaged, which is said already
    paths = [files.images, files.predictions, files.head.facts, files.classes_key]
    paths += [files.candidates] if classes else []
    paths += [files.of_class(facts.class_idx).facts for facts in classes]
    paths += [shard.files.rows for shard in shards]
    paths += [files.plan(name) for name in sorted({shard.plan for shard in files.every_shard()})]
    yield from (path.relative_to(folder).as_posix() for path in paths if not path.exists())


def is_analysis(name: str) -> bool:
    """Whether a stored file, by its path, is of the analysis: head, predictions, classes."""
    return name.partition("/")[0].partition(".")[0] not in (*PASS, *ON_DEMAND)


def mend(folder: Path, report: Reporter = silent) -> list[str]:
    """Check everything stored, and set aside what is damaged; returns its paths below ``folder``.

    Files without a digest, of earlier versions, get one if they can be read, so that damage from
    now on is noticed.
    """
    damaged = dict(verify(folder, report, far=False).damaged)
    with disk_errors(folder):
        for name in damaged:
            _set_aside(folder, Path(name))
        for here, paths in groupby(_without_digest(folder), key=lambda path: path.parent):
            sound = []
            for path in paths:
                if words := _fault(path, again=False):
                    damaged[path.relative_to(folder).as_posix()] = words
                    _set_aside(folder, path.relative_to(folder))
                else:
                    sound.append(path)
            if sound and here.is_dir():
                digests.adopt(sound)
    return list(damaged)


def _without_digest(folder: Path) -> list[Path]:
    return [path for path in _stored(folder) if not digests.is_known(path)]


def _set_aside(folder: Path, name: Path) -> None:
    path, part = folder / name, name.parts[0]
    if part == SETS and len(name.parts) > 2:  # laid out as an audit is
        _set_aside(folder / SETS / name.parts[1], Path(*name.parts[2:]))
    elif len(name.parts) == 3 or part == HEAD:  # folders that are complete or not there
        if part == SHARDS:
            remove(AuditFiles(folder).shard_rows)
        remove(path.parent)
    elif part == CARRIED and path.exists():
        set_aside(path, path.name + ASIDE)
    elif part not in (PLAN, CLASSES) or path.name == digests.NAME:
        remove(path)  # the digests of those are needed to make them again


def remake_plans(folder: Path, table: ImageTable, damaged: Sequence[str]) -> None:
    """Make plans that are damaged or gone again from the shards that they were computed in.

    Parameters
    ----------
    damaged : what :func:`mend` returned.

    Raises
    ------
    WorkspaceError
        If one of these shards is damaged, too, so that nobody knows which images it held.
    """
    files = AuditFiles(folder)
    shards: dict[str, list[ShardFiles]] = {}
    for shard in files.every_shard():
        shards.setdefault(shard.plan, []).append(shard)
    lost = {path.stem for name in damaged if (path := folder / name).parent == files.plans}
    lost -= {Path(digests.NAME).stem}
    for stem in sorted(shards.keys() | lost):
        path = files.plan(stem)
        if not path.exists() or stem in lost:
            write_frame(path, _plan_of(path, shards.get(stem, []), table))


def remove_strangers(store: FeatureStore) -> int:
    """Delete shards of other images than their plans say; returns how many there were.

    A worker that outlived its audit may have stored them, whole as they are, in the next one of
    the same name. Those that stand in the table of all shards were compared before.
    """
    shards = [store.shards[number] for number in store.beyond(finished=True)]
    strangers = [shard for shard in shards if not _is_planned(shard)]
    for shard in strangers:
        remove(shard.files.folder)
    return len(strangers)


def _is_planned(shard: Shard) -> bool:
    rows = read_frame(shard.files.rows, ["image_id"])
    return bool(rows["image_id"].tolist() == shard.plan["image_id"].tolist())


def _plan_of(path: Path, shards: list[ShardFiles], table: ImageTable) -> pd.DataFrame:
    """The images (PLAN_COLUMNS) of all shards of a plan, and whose maps are kept if of some."""
    import numpy as np
    import pandas as pd

    last = shards[-1].number if shards else -1
    if last + 1 != len(shards) or not shards:
        raise WorkspaceError(
            f"{path} is damaged, and so are shards that it lists the images of; delete the audit "
            f"({read_manifest(path.parent.parent).name!r}) and run it again"
        )
    rows, lengths = read_frames([shard.rows for shard in shards], ROW_COLUMNS)
    paths = table.frame.set_index("image_id")["path"].reindex(rows["image_id"]).fillna("")
    plan = pd.DataFrame({"image_id": rows["image_id"], "path": paths.to_numpy()})
    stats = states([table.root / name for name in plan["path"]])
    plan["bytes"], plan["modified"] = [s[0] for s in stats], [s[1] for s in stats]
    kept = np.concatenate([mapped(*shard) for shard in zip(shards, lengths, strict=True)])
    forms = [plan] if kept.all() or not kept.any() else [plan, plan.assign(**{KEPT: kept})]
    forms += [with_slices(form, lengths) for form in forms]
    for form in forms:
        if digests.would_be(path, as_parquet(form)):
            return form
    changed = [
        not name or file_digest(table.root / name) != digest
        for name, digest in zip(plan["path"], rows["digest"], strict=True)
    ]
    forms[-1].loc[changed, ["bytes", "modified"]] = UNKNOWN_FILE
    return forms[-1]
