"""One audit from start to finish: images in, ranked candidates out.

Every step leaves its result on disk under a key of what went into it, so the same call resumes
after any interruption, returns at once when everything is there, and computes only what is new
when images were added.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import core
from core.analysis import analyse
from core.audit import Audit
from core.config import COMPONENTS, FORMAT, MAP_BUDGET
from core.data.open import open_data
from core.errors import DataError, InputError, WorkspaceError
from core.features.extract import extract, prepare
from core.features.shards import PLAN_COLUMNS, FeatureStore
from core.store import (
    Workspace,
    check_name,
    differences,
    fingerprint,
    locked,
    write_frame,
    write_json,
)
from core.types import ImageTable, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

PROBE_IMAGES = 16
"""Images on which a reduced precision has to agree with fp32 before it is used."""


@dataclass(frozen=True)
class AuditRequest:
    """What the user asked for; the command line and the form fill the same fields."""

    data: str
    model: str
    name: str | None = None
    head: str = "auto"
    """``keep``, ``fit`` or ``auto``."""
    checkpoint: Path | None = None
    components: int = COMPONENTS
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    limit_per_class: int | None = None

    def __post_init__(self) -> None:
        for option, value in (
            ("--components", self.components),
            ("--batch-size", self.batch_size),
            ("--workers", self.workers),
            ("--limit-per-class", self.limit_per_class),
        ):
            if value is not None and value < 1:
                raise InputError(f"{option} {value}: must be at least 1")
        if self.name is not None:
            check_name(self.name)

    @property
    def default_name(self) -> str:
        """Name of the audit where none was given: data and model."""
        data = self.data.partition("?")[0].rstrip("/")
        data = Path(data).name if ":" not in data else data.replace(":", "-")
        model = self.model.partition(":")[2].replace("/", "-")
        if self.checkpoint:
            model += f"-{self.checkpoint.stem}"
        return (self.name or f"{Path(data).stem or 'data'}-{model}")[:120]


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
    report(Progress("Reading the list of images", 0, 0))
    table = open_data(
        request.data,
        workspace=workspace.root,
        limit_per_class=request.limit_per_class,
        report=report,
    )
    report(Progress("Loading the model", 0, 0))
    manifest, model = _prepare(request, workspace, table)
    folder = workspace.folder(manifest["id"])
    busy = (
        f"audit {manifest['name']!r} is being computed by another process; watch or cancel it on "
        "the page New audit, or wait"
    )
    with locked(folder / "lock", busy):
        write_json(folder / "manifest.json", manifest)
        started(manifest["id"])
        _compute(folder, manifest, table, model, report, workers=request.workers)
    return Audit(folder)


def _prepare(
    request: AuditRequest, workspace: Workspace, table: ImageTable
) -> tuple[dict[str, Any], Model]:
    """The audit's manifest, old or new, and the model on its device at its precision."""
    from core.models.load import load_model

    model = load_model(request.model, checkpoint=request.checkpoint)
    old = workspace.named(request.default_name)
    compute = _choose_compute(request, old, model, table)
    head, reason = _choose_head(request.head, table, model)
    parts = {
        "data": table.source,
        "limit per class": request.limit_per_class,
        "model": request.model,
        "weights": model.weights_hash,
        "preprocessing": asdict(model.preprocess),
        "head": head,
        "components": request.components,
        "device": compute["device"],
        "precision": compute["precision"],
        "batch size": compute["batch_size"],
        "code": core.__version__,
        "format": FORMAT,
    }
    if old is not None:
        if changed := differences(old["parts"], parts):
            raise WorkspaceError(
                f"audit {old['name']!r} exists with other settings: {'; '.join(changed)}. Choose "
                "another --name, or delete it first (if only the data moved: "
                f"python -m core show {old['name']!r} --data-root NEW)"
            )
        return {**old, "compute": compute}, model
    manifest = {
        "format": FORMAT,
        "id": workspace.new_id(request.default_name, parts),
        "name": request.default_name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": core.__version__,
        "state": "running",
        "fingerprint": fingerprint(parts),
        "parts": parts,
        "data": {"source": table.source, "root": str(table.root)},
        "model": {
            "name": request.model,
            "checkpoint": str(request.checkpoint.absolute()) if request.checkpoint else None,
            "n_features": model.n_features,
            "map_kind": model.map_kind,
            "map_grid": model.map_grid,
            "notes": list(model.notes),
        },
        "preprocess": asdict(model.preprocess),
        "head": {"mode": head, "reason": reason},
        "compute": compute,
    }
    return manifest, model


def _choose_compute(
    request: AuditRequest, old: dict[str, Any] | None, model: Model, table: ImageTable
) -> dict[str, Any]:
    """Device, precision and batch size; an existing audit keeps its own unless told otherwise."""
    from core.models.device import choose_device, probe_precision

    before = old["compute"] if old else {}
    device = before.get("device") if request.device == "auto" else None
    device = choose_device(device or request.device)
    batch_size = (
        request.batch_size or before.get("batch_size") or (256 if device.startswith("cuda") else 32)
    )
    chosen = {"device": device, "batch_size": batch_size}
    precision = before.get("precision") if request.precision == "auto" else request.precision
    if precision is not None:
        model.to(device, precision)
        reason = before.get("reason", "chosen by the user")
        return {**chosen, "precision": precision, "reason": reason}
    model.to(device, "fp32")
    probe = probe_precision(model, _probe_batch(table, model))
    model.to(device, probe.precision)
    return {**chosen, "precision": probe.precision, "reason": probe.reason}


def _probe_batch(table: ImageTable, model: Model) -> Any:
    """Pixels of up to PROBE_IMAGES readable images, spread over the data, as a uint8 tensor.

    Raises
    ------
    DataError
        If none of the first candidates can be read.
    """
    import torch

    paths = table.frame["path"].to_numpy()
    spread = np.random.default_rng(0).permutation(len(paths))
    found = []
    for position in spread[: 20 * PROBE_IMAGES]:
        image = prepare(table.root / paths[position], model.preprocess)
        if not image.reason:
            found.append(image.pixels)
        if len(found) == PROBE_IMAGES:
            break
    if not found:
        raise DataError(
            f"{table.source}: none of {min(len(paths), 20 * PROBE_IMAGES)} images could be read "
            f"(the last: {image.reason}); check the files"
        )
    return torch.from_numpy(np.stack(found))


def _choose_head(mode: str, table: ImageTable, model: Model) -> tuple[str, str]:
    """``keep`` or ``fit``, and the reason in words."""
    from core.models.head import match_outputs

    if mode not in ("auto", "keep", "fit"):
        raise InputError(f"--head {mode!r}: choose auto, keep or fit")
    if mode == "fit":
        return "fit", "asked for"
    matched, reason = match_outputs(table.labels, model)
    if matched is not None:
        return "keep", "every class is an output of the model"
    if mode == "keep":
        raise InputError(f"--head keep: {reason}; use --head fit, which fits a linear probe")
    return "fit", reason


def _compute(
    folder: Path,
    manifest: dict[str, Any],
    table: ImageTable,
    model: Model,
    report: Reporter,
    *,
    workers: int | None,
) -> None:
    """The pass over what is missing, then the analysis."""
    store = FeatureStore(folder)
    plan = _plan(table, store)
    if len(plan):
        store.extend(plan)
    if store.missing:
        _set_state(folder, manifest, "running")
        extract(
            model,
            table.root,
            store,
            batch_size=manifest["compute"]["batch_size"],
            workers=workers or min(16, len(os.sched_getaffinity(0))),
            keep_maps=_keep_maps(store, model, manifest["compute"]["precision"]),
            report=report,
        )
    frame = table.frame.merge(
        store.rows[["digest", "width", "height", "readable", "reason"]],
        left_on="image_id",
        right_index=True,
        how="left",
        validate="one_to_one",
    )
    if not frame["readable"].any():
        reasons = frame["reason"].value_counts()
        raise DataError(
            f"{table.source}: no readable image among {len(frame)} ({reasons.index[0]}); check "
            "the files"
        )
    write_frame(folder / "images.parquet", frame)
    analyse(folder, manifest, table, frame, store, model, report)
    _set_state(folder, manifest, "finished")


def _set_state(folder: Path, manifest: dict[str, Any], state: str) -> None:
    if manifest["state"] != state or not (folder / "manifest.json").exists():
        manifest["state"] = state
        write_json(folder / "manifest.json", manifest)


def _keep_maps(store: FeatureStore, model: Model, precision: str) -> bool:
    """Whether the maps of every image fit the budget on disk and half of what is free."""
    if model.map_grid is None or model.map_kind == "none":
        return False
    height, width = model.map_grid
    size = model.n_features * height * width * (4 if precision == "fp32" else 2)
    disk = os.statvfs(store.folder)
    budget = min(MAP_BUDGET, disk.f_bavail * disk.f_frsize // 2)
    return size * sum(len(shard.plan) for shard in store.shards) <= budget


def _plan(table: ImageTable, store: FeatureStore) -> pd.DataFrame:
    """The images that are not computed yet, or whose bytes changed since (PLAN_COLUMNS)."""
    rows = table.frame[["image_id", "path"]].copy()
    stats = [_stat(table.root / path) for path in rows["path"]]
    rows["bytes"], rows["modified"] = [s[0] for s in stats], [s[1] for s in stats]
    known = store.planned.reindex(rows["image_id"])
    new = known["path"].isna().to_numpy()
    touched = ~new & (
        (known["modified"].to_numpy() != rows["modified"].to_numpy())
        | (known["bytes"].to_numpy() != rows["bytes"].to_numpy())
    )
    if touched.any():
        new[np.flatnonzero(touched)[_changed(table, rows[touched], store)]] = True
    return rows[new][PLAN_COLUMNS]


def _changed(table: ImageTable, rows: pd.DataFrame, store: FeatureStore) -> list[int]:
    """Positions of the touched images whose bytes really differ from those computed."""
    computed = store.rows
    changed = []
    for position, (image_id, path) in enumerate(zip(rows["image_id"], rows["path"], strict=True)):
        if image_id in computed.index:
            row = computed.loc[image_id]
            if not row["readable"] or _digest(table.root / path) != row["digest"]:
                changed.append(position)
    return changed


def _stat(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change of a file; (-1, 0) if it cannot be asked."""
    try:
        stat = path.stat()
    except OSError:
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _digest(path: Path) -> str | None:
    """The digest that :func:`core.data.decode.read_image` gives; None if the file is gone."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return None
