"""An audit of drawn features (:mod:`core.features.spectra`), of any size: nothing is decoded.

Shards are drawn one at a time and everything else is computed by the audit's own analysis, so that
it is an audit like any other. There are no files of images and no network: pictures and maps are
drawn where somebody looks at them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

import core
from core.audits.analysis import GIVEN, analyse
from core.audits.audit import Audit
from core.audits.run import joined, set_state
from core.audits.subject import Subject
from core.audits.synth_request import SynthRequest
from core.candidates.part_kind import PART
from core.config import FORMAT, NEURONS
from core.demos.listed import Planted
from core.errors import WorkspaceError
from core.features.sample import sampled
from core.features.shards import KEPT, FeatureStore, Shard, write_shard
from core.features.spectra import CUE_RANK, GRID, SIDE, Spectra, has_cue
from core.models.linear import Head, store_head
from core.storage.audit_manifest import (
    Compute,
    DataFacts,
    HeadChoice,
    Manifest,
    ModelFacts,
    Parts,
    StoredPreprocess,
)
from core.storage.files import locked, there, write_frame, write_json
from core.storage.growing_array import GrowingArray
from core.storage.layout import AuditFiles
from core.storage.workspace import Workspace, differences, fingerprint
from core.types import TRAIN, ImageTable, Progress, Reporter, silent

STORED = np.float16
"""Of features and maps: half the bytes of what a pass on a CPU stores."""

PER_IMAGE = 200
"""Bytes of an image in the tables, its classes' and the plan: compressed, rounded up."""

PER_CLASS = 45_000
"""Bytes of a class in tables of candidates, twice, of parts, and of digests, rounded up."""

TOLD = 20
"""Classes whose truth Overview compares with what was found; the attribute has that of all."""

SPARE = 2**29
"""Bytes of the disk that stay free."""


def run_synth(
    request: SynthRequest,
    workspace: Workspace,
    *,
    report: Reporter = silent,
    started: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Write, resume or simply open the audit of drawn features that a request describes.

    Raises
    ------
    WorkspaceError
        If it does not fit the disk, its name belongs to an audit of something else, or another
        process writes it.
    """
    workspace.require_writable()
    manifest = manifest_of(request, workspace)
    files, spectra = workspace.files(manifest.id), request.spectra
    busy = f"audit {manifest.name!r} is being written by another process; wait for it"
    with locked(files.lock, busy):
        started(manifest.id)
        if manifest.state != "finished" or not files.summary.exists():
            require_room(request, workspace, _written(files))
            write_json(files.manifest, manifest)
            subject = features_of(files.folder, manifest, spectra, request.maps, report)
            analyse(subject, None, report)
            set_state(files.folder, manifest, "finished")
    return Audit(files.folder)


def needed(request: SynthRequest) -> int:
    """Bytes that an audit of drawn features takes on disk, rounded up."""
    n, k, d = request.images, request.classes, request.dim
    kept, wide = min(request.components, d), np.dtype(STORED).itemsize
    features = n * (d + min(request.maps, n) / n * d * GRID**2) * wide
    alpha = 4 * n * (kept + min(NEURONS, d) + 1)
    return int(features + alpha + 4 * k * d * (kept + 3) + n * PER_IMAGE + k * PER_CLASS)


def require_room(request: SynthRequest, workspace: Workspace, written: int = 0) -> None:
    """Raise WorkspaceError, which says what would fit, where the disk has too little room.

    Parameters
    ----------
    written : bytes of it that are there already.
    """
    free = shutil.disk_usage(workspace.root).free - SPARE + written
    if (wanted := needed(request)) <= free:
        return
    per = wanted / request.images
    fits = max(int(free / per) // 1000 * 1000, 0)
    raise WorkspaceError(
        f"{request.images:,} images of {request.dim:,} features take {wanted / 1e9:,.1f} GB, and "
        f"the disk of {workspace.root} has {max(free, 0) / 1e9:,.1f} GB to spare: about {fits:,} "
        "such images fit; give fewer --images, a smaller --dim, or another --out"
    )


def _written(files: AuditFiles) -> int:
    paths = files.folder.rglob("*") if files.folder.is_dir() else ()
    return sum(path.stat().st_size for path in paths if path.is_file())


def features_of(
    folder: Path, manifest: Manifest, spectra: Spectra, maps: int, report: Reporter = silent
) -> Subject:
    """An audit as the pass leaves it, with its head, before its analysis.

    Parameters
    ----------
    maps : images whose maps are kept (:func:`core.features.sample.sampled`).
    """
    table, store = table_of(spectra), FeatureStore(folder)
    if not store.shards:
        store.extend(_plan(table, maps))
    _draw(store, spectra, report)
    images = joined(table, store)
    write_frame(store.files.images, images)
    if not there(store.files.head.facts):
        outputs = spectra.labels
        bias = np.zeros(spectra.classes, np.float32)
        head = Head(spectra.weight(), bias, outputs, outputs, "keep")
        store_head(folder, head, {"key": "", GIVEN: True})
    return Subject(manifest, table, images, store)


def table_of(spectra: Spectra) -> ImageTable:
    """Every image; its own class's cue, where it shows it, as an attribute."""
    rows = np.arange(spectra.images)
    which = spectra.class_of(rows)
    ids = pd.Series([f"{row:016x}" for row in rows])
    labels = np.array(spectra.labels, dtype=object)[which]
    frame = pd.DataFrame({"image_id": ids, "path": labels + "/" + ids + ".png", "label": labels})
    frame["split"] = np.where(spectra.fitting(rows), TRAIN, "test")
    frame["cue"] = spectra.shows(rows).astype(np.int64)
    note = f"the direction of variance number {CUE_RANK + 1}, in half of the images"
    truth = Planted("cue", "", "direction", None, note, 0.5, 0.0).to_json()
    planted = {label: truth for k, label in enumerate(spectra.labels[:TOLD]) if has_cue(k)}
    return ImageTable(spectra.source, Path("/"), frame, ("cue",), planted=planted)


def _plan(table: ImageTable, maps: int) -> pd.DataFrame:
    frame = table.frame.assign(bytes=0, modified=0)
    if not maps:
        return frame.assign(**{KEPT: False})
    fitting = (frame["split"] == TRAIN).to_numpy(dtype=bool)
    kept = sampled(frame["image_id"].tolist(), frame["label"].tolist(), fitting, maps)
    return frame.assign(**{KEPT: kept | (maps >= len(frame))})


def _draw(store: FeatureStore, spectra: Spectra, report: Reporter) -> None:
    """Write every missing shard; no more than one is in memory."""
    done, missing = 0, {shard.files.folder for shard in store.missing}
    for shard in store.shards:
        report(Progress("Drawing features", done, spectra.images))
        if shard.files.folder in missing:
            _draw_shard(shard, done, spectra)
        done += len(shard)
    report(Progress("Drawing features", done, spectra.images))
    store.forget_rows()


def _draw_shard(shard: Shard, first: int, spectra: Spectra) -> None:
    features, kept = spectra.features(first, len(shard)).astype(STORED), shard.kept(False)
    rows = pd.DataFrame({"image_id": shard.plan["image_id"], "digest": shard.plan["image_id"]})
    rows = rows.assign(width=SIDE, height=SIDE, reason="", readable=True)
    maps: GrowingArray | None = None
    if kept.any():
        maps = GrowingArray(shard.files.folder.parent, int(kept.sum()))
        maps.add(spectra.maps(first + np.flatnonzero(kept), features[kept]).astype(STORED))
    write_shard(shard, rows, features, maps, kept)


def manifest_of(request: SynthRequest, workspace: Workspace) -> Manifest:
    """The manifest of the audit that a request describes, old or new.

    Raises
    ------
    WorkspaceError
        If its name belongs to an audit of something else.
    """
    half, source = (0.5, 0.5, 0.5), request.spectra.source
    preprocess = StoredPreprocess((SIDE, SIDE), 1.0, "bilinear", half, half)
    model = f"synth:{request.dim}"
    parts = Parts(
        data=source,
        model=model,
        weights=f"synth-{request.seed}",
        preprocessing=preprocess,
        head="keep",
        components=request.components,
        device="cpu",
        precision="fp16",
        batch_size=1,
        code=core.__version__,
    )
    if (old := workspace.named(request.default_name)) is not None:
        if changed := differences(old.parts, parts):
            raise WorkspaceError(
                f"audit {old.name!r} exists with other settings: {'; '.join(changed)}. Choose "
                "another --name, or delete it first"
            )
        return old
    notes = ("features are drawn, not computed: there is no network and no photo behind them",)
    return Manifest(
        format=FORMAT,
        id=workspace.new_id(request.default_name, parts),
        name=request.default_name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        version=core.__version__,
        state="running",
        fingerprint=fingerprint(parts),
        parts=parts,
        data=DataFacts(source, "/"),
        model=ModelFacts(model, None, "mean", notes, request.dim, (GRID, GRID)),
        preprocess=preprocess,
        head=HeadChoice("keep", "drawn with the features"),
        compute=Compute("cpu", 1, "fp16", "drawn"),
        counts=None if request.parts is None else {PART: request.parts},
    )
