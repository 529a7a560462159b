"""One audit from start to finish: images in, ranked candidates out.

Every step leaves its result on disk under a key of what went into it, so the same call resumes
after any interruption, returns at once when everything is there, and computes only what is new
when images were added.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import core
from core.audits.analysis import analyse, is_current, require_two_classes
from core.audits.arithmetic import choose_compute
from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.class_work import share_classes
from core.audits.head_outputs import matched, narrowed
from core.audits.integrity import is_analysis, mend, remake_plans, remove_strangers
from core.audits.shard_work import ShardWork, compute_shards
from core.audits.subject import Subject, fitting_rows
from core.config import FORMAT, MAP_BUDGET
from core.data.decode import file_digest
from core.data.far_images import states
from core.data.levels import levels_of
from core.data.open import open_data
from core.data.regions import in_pixels, region_notes
from core.data.table import some
from core.errors import DataError, InputError, ModelError, WorkspaceError
from core.features.extract import NOT_FINITE, cores, keep_maps, keep_properties
from core.features.sample import sampled
from core.features.shards import KEPT, PLAN_COLUMNS, FeatureStore
from core.jobs.engine import Crowd, Engine, Local
from core.jobs.sharing import held
from core.jobs.work import LAPSE
from core.storage.audit_manifest import (
    DataFacts,
    HeadChoice,
    Manifest,
    ModelFacts,
    Parts,
    Reading,
    StoredPreprocess,
)
from core.storage.files import locked, remove_unfinished, write_frame, write_json
from core.storage.layout import AuditFiles
from core.storage.workspace import Workspace, amend_manifest, differences, fingerprint
from core.types import ImageTable, Preprocess, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

OWN_COLUMNS = (
    *("digest", "width", "height", "readable", "reason"),
    *("prediction", "confidence", "loss", "correct", "fair"),
)
"""Columns that an audit adds to the image table; attributes of these names are renamed."""


def run_audit(
    request: AuditRequest,
    workspace: Workspace,
    *,
    report: Reporter = silent,
    started: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Run, resume or simply open the audit that a request describes.

    Parameters
    ----------
    started : called with the audit's id as soon as its folder exists.

    Raises
    ------
    DataError, ModelError
        If the images or the model cannot be read.
    WorkspaceError
        If the name belongs to an audit of something else (the message says what differs), the
        audit is being computed by another process, or the disk is full.
    """
    workspace.require_writable()
    by = request.started_engine()
    report(Progress("Reading the list of images", 0, 0))
    table = _open_table(request, workspace, report)
    from core.models.device import threads

    report(Progress("Loading the model", 0, 0))
    name, remedy = request.default_name, "leave out --threads, or choose another --name"
    old = workspace.named(name)
    with threads(request.threads_of(name, old.compute.threads if old else 0, remedy)):
        manifest, model = _prepare(request, workspace, table)
        files = workspace.files(manifest.id)
        busy = (
            f"audit {manifest.name!r} is being computed by another process; watch or cancel it on "
            "the page New audit, or wait"
        )
        with locked(files.lock, busy), closing(by) as engine:
            named = workspace.named(manifest.name)
            if named is not None and named.id != manifest.id:
                raise WorkspaceError(busy)  # another process began it since we looked
            manifest = _begun(files, manifest)
            started(manifest.id)
            decoding = request.decoding_threads
            compute(files.folder, manifest, table, model, report, engine, workers=decoding)
    return Audit(files.folder)


def _begun(files: AuditFiles, manifest: Manifest) -> Manifest:
    """Write the manifest; an audit that was renamed since it was looked for keeps its new name."""
    try:
        return amend_manifest(files.folder, lambda found: replace(manifest, name=found.name))
    except WorkspaceError:  # there is none yet, or it is damaged
        write_json(files.manifest, manifest)
        return manifest


def _open_table(request: AuditRequest, workspace: Workspace, report: Reporter) -> ImageTable:
    """The image table, read from where its audit says that the images moved to."""
    old = workspace.named(request.default_name)
    moved = old.data.root if old and old.data.moved else None
    table = open_data(
        request.data,
        workspace=workspace.root,
        data_root=Path(moved) if moved else None,
        limit_per_class=request.limit_per_class,
        report=report,
    )
    table = replace(table, notes=(*table.notes, *region_notes(table)))
    return with_free_names(table)


def with_free_names(table: ImageTable) -> ImageTable:
    """Rename attributes that are called like a column of ours."""
    names = {name: f"{name} (data)" for name in table.attributes if name in OWN_COLUMNS}
    if not names:
        return table
    note = f"Attributes renamed, since audits have such a column: {some(list(names.values()))}."
    return replace(
        table,
        frame=table.frame.rename(columns=names),
        attributes=tuple(names.get(name, name) for name in table.attributes),
        notes=(*table.notes, note),
    )


def _prepare(
    request: AuditRequest, workspace: Workspace, table: ImageTable
) -> tuple[Manifest, Model]:
    """The audit's manifest, old or new, and the model on its device at its precision."""
    import torch

    from core.models.load import load_model

    reading = request.reading
    model = load_model(request.model, checkpoint=request.checkpoint, reading=reading)
    said = narrowed(table, model, reading)
    old = workspace.named(request.default_name)
    model.preprocess = _with_levels(model.preprocess, table, old)
    model.preprocess = _with_shrinking(model.preprocess, request, old)
    head, reason = choose_head(request.head, table, model, reading, said)
    compute = choose_compute(request, old, model, table, keep_head=head == "keep")
    if old is None or request.threads or not request.is_local:
        compute = replace(compute, threads=torch.get_num_threads())
    preprocess = StoredPreprocess(**asdict(model.preprocess))
    parts = Parts(
        data=table.source,
        limit_per_class=request.limit_per_class,
        model=request.model,
        weights=model.weights_hash,
        preprocessing=preprocess,
        head=head,
        components=request.components,
        device=compute.device,
        precision=compute.precision,
        runtime=compute.runtime,
        batch_size=compute.batch_size,
        code=core.__version__,
        classes=reading.outputs or tuple(filter(None, [reading.classes])) if reading else (),
    )
    if old is not None:
        if changed := differences(old.parts, parts):
            raise WorkspaceError(
                f"audit {old.name!r} exists with other settings: {'; '.join(changed)}. Choose "
                "another --name, or delete it first (if only the data moved: "
                f"python -m core show {old.name!r} --data-root NEW)"
            )
        facts = replace(old.data, classes=table.order)
        return replace(old, data=facts, compute=compute, counts=request.counts(old)), model
    manifest = Manifest(
        format=FORMAT,
        id=workspace.new_id(request.default_name, parts),
        name=request.default_name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        version=core.__version__,
        state="running",
        fingerprint=fingerprint(parts),
        parts=parts,
        data=DataFacts(table.source, str(table.root), classes=table.order),
        model=ModelFacts(
            name=request.model,
            checkpoint=str(request.checkpoint.absolute()) if request.checkpoint else None,
            n_features=model.n_features,
            map_kind=model.map_kind,
            map_grid=model.map_grid,
            notes=tuple(model.notes),
            reading=reading,
        ),
        preprocess=preprocess,
        head=HeadChoice(head, reason),
        compute=compute,
        counts=request.counts(None),
    )
    return manifest, model


def _with_levels(preprocess: Preprocess, table: ImageTable, old: Manifest | None) -> Preprocess:
    """With one scale for deep images: what was said, else an old audit's own, else a sample's."""
    if preprocess.levels:
        return preprocess
    found = old.preprocess.levels if old is not None else levels_of(table)
    return replace(preprocess, levels=found or ())


def _with_shrinking(
    preprocess: Preprocess, request: AuditRequest, old: Manifest | None
) -> Preprocess:
    """Decoding large JPEGs smaller where that is asked for; an old audit goes on as it began."""
    return replace(preprocess, shrink=request.shrink or bool(old and old.preprocess.shrink))


def choose_head(
    mode: str, table: ImageTable, model: Model, reading: Reading | None, narrowed: str = ""
) -> tuple[str, str]:
    """``keep`` or ``fit``, and the reason in words.

    Parameters
    ----------
    narrowed : how the head became one of a class against its rest, where it did.
    """
    if mode == "fit":
        require_two_classes(table.source, table.frame[fitting_rows(table.frame)])
        return "fit", "asked for"
    match = matched(table, model, reading)
    reason = match.reason
    if match.outputs is not None:
        sure = narrowed.rstrip(".") or "every class is an output of the model"
        return "keep", reason.rstrip(".") if match.assumed else sure
    if mode == "keep":
        raise InputError(
            f"--head keep: {reason.rstrip('.')}; use --head fit, which fits a linear probe, or a "
            "model that knows the classes"
        )
    require_two_classes(table.source, table.frame[fitting_rows(table.frame)])
    return "fit", reason


def compute(
    folder: Path,
    manifest: Manifest,
    table: ImageTable,
    model: Model,
    report: Reporter,
    engine: Engine | None = None,
    *,
    workers: int | None = None,
) -> None:
    """The pass over what is missing or damaged, then the analysis.

    Parameters
    ----------
    engine : who computes the pass; by default this process, with so many decoding ``workers``.
    """
    files = AuditFiles(folder)
    for part in (folder, files.plans, files.classes):
        remove_unfinished(part)
    if not held(files.engine, LAPSE):
        remove_unfinished(files.shards)
    damaged = mend(folder, report)
    remake_plans(folder, table, damaged)
    store, before = FeatureStore(folder), manifest.state
    size = _map_size(model, manifest.compute.precision)
    plan = plan_of(table, store)
    if len(plan):
        store.extend(_with_sample(plan, table, store, size))
    remove_strangers(store)
    how: dict[str, Any] = {
        "batch_size": manifest.compute.batch_size,
        "workers": workers or min(16, cores() + 1),
        "report": report,
    }
    from core.models.device import is_at_home, require
    from core.models.runtime import require_runtime

    if store.missing:
        require(manifest.compute, manifest.name)
        require_runtime(model, manifest.compute, manifest.name)
        manifest = set_state(folder, manifest, "running")
        keeps = _keeps_all(store, size)
        by = manifest.compute
        work = ShardWork(folder, store, table.root, model, by, keeps, workers)
        compute_shards(work, engine or Local(), report)
    if is_at_home(manifest.compute) and (unmapped := _unmapped(table, store, size)):
        keep_maps(model, table.root, store, unmapped, **how)
    keep_properties(table.root, store, model.preprocess, workers=how["workers"], report=report)
    store.consolidate()
    frame = joined(table, store)
    _require_readable(table, frame, manifest)
    frame = in_pixels(frame)
    sound = before == "finished" and not any(map(is_analysis, damaged))
    subject = Subject(manifest, table, frame, store)
    if sound and is_current(subject):
        set_state(folder, manifest, "finished")
        return
    manifest = set_state(folder, manifest, "running")
    write_frame(files.images, frame)
    share = partial(share_classes, engine, report) if isinstance(engine, Crowd) else None
    analyse(subject, model, report, share)
    set_state(folder, manifest, "finished")


def joined(table: ImageTable, store: FeatureStore) -> pd.DataFrame:
    """The image table beside what the pass says of every image."""
    return table.frame.merge(
        store.rows[["digest", "width", "height", "readable", "reason"]],
        left_on="image_id",
        right_index=True,
        how="left",
        validate="one_to_one",
    )


def _require_readable(table: ImageTable, frame: pd.DataFrame, manifest: Manifest) -> None:
    """Raise DataError or ModelError, whichever is to blame, where no image can be used."""
    if frame["readable"].any():
        return
    if lost := int((frame["reason"] == NOT_FINITE).sum()):
        model, compute = manifest.model.name, manifest.compute
        raise ModelError(
            f"{model}: its features are not finite on any of {lost} images ({compute.precision} "
            f"on {compute.device}); check its weights, or choose --precision fp32"
        )
    reasons = frame["reason"].value_counts()
    raise DataError(
        f"{table.source}: no readable image among {len(frame)} ({reasons.index[0]}); check the "
        "files"
    )


def set_state(folder: Path, manifest: Manifest, state: str) -> Manifest:
    """Record the state, and leave a name that was changed meanwhile."""
    if manifest.state != state:
        amend_manifest(folder, lambda found: replace(found, state=state))
    return replace(manifest, state=state)


def _map_size(model: Model, precision: str) -> int:
    """Bytes of the maps of an image, 0 where there are none."""
    if model.map_grid is None or model.map_kind == "none":
        return 0
    height, width = model.map_grid
    return model.n_features * height * width * (2 if precision in ("bf16", "fp16") else 4)


def _keeps_all(store: FeatureStore, size: int, new: int = 0) -> bool:
    """Whether the maps of every image fit the budget, and those to come half of what is free.

    A pass that goes on keeps to what it began with, whatever the disk says by then.

    Parameters
    ----------
    size : bytes of the maps of an image; new : images that no plan has yet.
    """
    if not size:
        return False
    if not new and (begun := store.begun):
        return bool(begun.mapped.all())
    whole, to_come = (
        size * (new + sum(len(shard) for shard in shards))
        for shards in (store.shards, store.missing)
    )
    return whole <= MAP_BUDGET and to_come <= _free(store)


def _free(store: FeatureStore) -> int:
    """Bytes of the disk that maps may take: half of what is free."""
    return shutil.disk_usage(store.files.folder).free // 2


def _with_sample(
    plan: pd.DataFrame, table: ImageTable, store: FeatureStore, size: int
) -> pd.DataFrame:
    """A new plan, which says whose maps are kept where those of all images do not fit."""
    if not size or _keeps_all(store, size, len(plan)):
        return plan
    kept = plan["image_id"].isin(_sample_of_maps(table, store, size))
    return plan.assign(**{KEPT: kept}) if kept.any() else plan


def _sample_of_maps(table: ImageTable, store: FeatureStore, size: int) -> pd.Series:
    """Ids of the images whose maps are kept where those of all do not fit."""
    frame, room = table.frame, min(MAP_BUDGET, _free(store)) // size
    chosen = sampled(frame["image_id"], frame["label"], fitting_rows(frame), room)
    return frame["image_id"][chosen]


def _unmapped(table: ImageTable, store: FeatureStore, size: int) -> list[str]:
    """The images whose maps are kept, but lack: of an audit from before, or after more room."""
    if not size:
        return []
    ids = _sample_of_maps(table, store, size)
    lacking = ~store.mapped(ids) & store.rows.loc[ids, "readable"].to_numpy(dtype=bool)
    return [str(name) for name in ids[lacking]]


def plan_of(table: ImageTable, store: FeatureStore) -> pd.DataFrame:
    """The images that are not computed yet, or whose bytes changed since (PLAN_COLUMNS)."""
    rows = table.frame[["image_id", "path"]].copy()
    stats = states([table.root / path for path in rows["path"]])
    rows["bytes"], rows["modified"] = [s[0] for s in stats], [s[1] for s in stats]
    new = ~rows["image_id"].isin(store.planned.index)
    known = rows[~new]
    before = store.planned.loc[known["image_id"], ["bytes", "modified"]].to_numpy(dtype=np.int64)
    touched = known[(known[["bytes", "modified"]].to_numpy(dtype=np.int64) != before).any(axis=1)]
    changed = touched["image_id"].isin(_changed(table, touched, store))
    return rows[new | changed.reindex(rows.index, fill_value=False)][PLAN_COLUMNS]


def _changed(table: ImageTable, rows: pd.DataFrame, store: FeatureStore) -> set[str]:
    """Ids of the touched images whose bytes really differ from those computed."""
    computed = store.rows if len(rows) else pd.DataFrame()
    changed = set()
    for image_id, path in zip(rows["image_id"], rows["path"], strict=True):
        if image_id in computed.index:
            row = computed.loc[image_id]
            if not row["readable"] or file_digest(table.root / path) != row["digest"]:
                changed.add(image_id)
    return changed
