"""An audit of any size whose features are generated: what pages do with a thousand classes.

Every class has a direction of its own and a cue that half of its images show; the head leans on
both, so that there are gaps, rankings and groups to look at. Features are written shard by shard
and everything else by the audit's own analysis. Images are a few drawn pictures, used over again.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

import core
from benchmarks.measure import MODEL
from core.audits.analysis import analyse
from core.audits.audit import Audit
from core.audits.subject import Subject
from core.config import FORMAT
from core.features.shards import PLAN_COLUMNS, FeatureStore
from core.storage.audit_manifest import Manifest
from core.storage.files import replacing_folder, write_frame, write_json
from core.storage.workspace import Workspace, fingerprint
from core.tags.entries import NewTag
from core.tags.log import TagStore
from core.types import ImageTable, Preprocess, silent

if TYPE_CHECKING:
    from core.models.model import Model

COMPONENTS = 64
TRAIN = 0.7
PICTURES, SIDE = 64, 224
CLASS, CUE = 5.0, 2.0
"""Mean logit of a class on its images, and what its cue adds."""

PEOPLE, ASKED = 5, 5
"""Annotators, and components of every class that all of them tag (as many as published)."""


def make(
    workspace: Workspace,
    *,
    classes: int,
    per_class: int,
    width: int | None = None,
    seed: int = 0,
) -> Audit:
    """Write an audit of ``classes`` x ``per_class`` images, and its tags.

    Parameters
    ----------
    width : number of features; None: those of the packaged model, which can then draw overlays.
    """
    model = _model(classes, width, seed)
    workspace.require_writable()
    table = _table(workspace.root / "pictures", model.outputs, per_class, seed)
    manifest = _manifest(model, table)
    folder = workspace.folder(manifest.id)
    write_json(folder / "manifest.json", manifest)
    store = _features(folder, table, model, seed)
    rows = ["digest", "width", "height", "readable", "reason"]
    images = table.frame.join(store.rows[rows], on="image_id")
    write_frame(folder / "images.parquet", images)
    analyse(Subject(manifest, table, images, store), model, silent)  # type: ignore[arg-type]
    write_json(folder / "manifest.json", replace(manifest, state="finished"))
    audit = Audit(folder)
    tag(audit, TagStore.open(workspace), seed)
    return audit


def _model(classes: int, width: int | None, seed: int) -> SimpleNamespace:
    """A head of random directions, and the facts that an audit records about its encoder."""
    rng = np.random.default_rng(seed)
    found: Model | None = None
    if width is None:
        from core.models.load import load_model

        found = load_model(MODEL)
    n_features = width or found.n_features  # type: ignore[union-attr]
    names = list(found.outputs or []) if found else []
    outputs = sorted(names[:classes]) if len(names) >= classes else _labels(classes)
    own = rng.normal(size=(classes, n_features)).astype(np.float32)
    cue = rng.normal(size=(classes, n_features)).astype(np.float32)
    for directions in (own, cue):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    half = (0.5, 0.5, 0.5)
    return SimpleNamespace(
        name=MODEL if found else "generated:",
        weight=own + cue,
        bias=np.zeros(classes, np.float32),
        correction=None,
        outputs=outputs,
        head_trained=True,
        own=own,
        cue=cue,
        n_features=n_features,
        weights_hash=found.weights_hash if found else "generated",
        preprocess=found.preprocess
        if found
        else Preprocess((SIDE, SIDE), 1.0, "bilinear", half, half),
        map_kind=found.map_kind if found else "mean",
        map_grid=found.map_grid if found else (7, 7),
    )


def _labels(classes: int) -> list[str]:
    return [f"class {i:04d}" for i in range(classes)]


def _table(folder: Path, labels: list[str], per_class: int, seed: int) -> ImageTable:
    """Every image, its cue as an attribute; a few pictures stand for all of them."""
    paths = _pictures(folder, seed)
    n = len(labels) * per_class
    rng = np.random.default_rng(seed)
    split = np.where(np.arange(per_class) < TRAIN * per_class, "train", "test")
    frame = pd.DataFrame(
        {
            "image_id": [f"{i:016x}" for i in range(n)],
            "path": np.array(paths)[rng.integers(0, len(paths), n)],
            "label": np.repeat(labels, per_class),
            "split": np.tile(split, len(labels)),
            "cue": rng.integers(0, 2, n),
        }
    )
    return ImageTable(str(folder), folder, frame, ("cue",))


def _pictures(folder: Path, seed: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = []
    for i in range(PICTURES):
        colours = [tuple(int(c) for c in rng.integers(40, 230, 3)) for _ in range(2)]
        x, y, side = (int(v) for v in rng.integers(20, 110, 3))
        image = Image.new("RGB", (SIDE, SIDE), colours[0])
        draw = ImageDraw.Draw(image)
        (draw.rectangle if i % 2 else draw.ellipse)((x, y, x + side, y + side), fill=colours[1])
        names.append(f"{i:02d}.jpg")
        image.save(folder / names[-1], quality=90)
    return names


def _manifest(model: SimpleNamespace, table: ImageTable) -> Manifest:
    parts = {
        "data": table.source,
        "images": len(table.frame),
        "weights": model.weights_hash,
        "components": COMPONENTS,
    }
    facts = {
        "format": FORMAT,
        "id": fingerprint(parts)[:12],
        "name": "generated",
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "version": core.__version__,
        "state": "running",
        "fingerprint": fingerprint(parts),
        "parts": parts,
        "data": {"source": table.source, "root": str(table.root)},
        "model": {
            "name": model.name,
            "checkpoint": None,
            "n_features": model.n_features,
            "map_kind": model.map_kind,
            "map_grid": model.map_grid,
            "notes": ["features are generated: overlays show the encoder, not this data"],
        },
        "preprocess": asdict(model.preprocess),
        "head": {"mode": "keep", "reason": "generated"},
        "compute": {
            "device": "cpu",
            "precision": "fp32",
            "batch_size": 32,
            "reason": "generated",
        },
    }
    return Manifest.from_json(facts)


def _features(folder: Path, table: ImageTable, model: SimpleNamespace, seed: int) -> FeatureStore:
    """Write every shard; no more than one is in memory."""
    frame = table.frame.assign(bytes=1, modified=0)
    store = FeatureStore(folder)
    store.extend(frame[PLAN_COLUMNS])
    index = {label: i for i, label in enumerate(model.outputs)}
    which = frame["label"].map(index).to_numpy(dtype=np.int64)
    shown = frame["cue"].to_numpy(dtype=np.float32)
    start = 0
    for number, shard in enumerate(store.shards):
        rows = slice(start, start + len(shard.plan))
        start = rows.stop
        noise = np.random.default_rng((seed, number + 1)).normal(
            size=(len(shard.plan), len(model.cue[0]))
        )
        features = CLASS * model.own[which[rows]] + noise.astype(np.float32)
        features += CUE * shown[rows, None] * model.cue[which[rows]]
        facts = pd.DataFrame({"image_id": shard.plan["image_id"]})
        facts["digest"] = facts["image_id"]
        facts = facts.assign(width=SIDE, height=SIDE, reason="", readable=True)
        with replacing_folder(shard.files.folder) as temporary:
            np.save(temporary / "features.npy", features)
            facts.to_parquet(temporary / "rows.parquet", index=False)
    return store


def tag(audit: Audit, store: TagStore, seed: int = 0) -> int:
    """Give PEOPLE's tags to the first components of every class; most are core, as published."""
    rng = np.random.default_rng(seed)
    rows = []
    for facts in audit.classes:
        for component in range(min(ASKED, facts.n_components)):
            truth = "spurious" if component == 0 or rng.random() < 0.1 else "core"
            for person in range(PEOPLE):
                other = {"core": "spurious", "spurious": "core"}[truth]
                said = truth if rng.random() < 0.9 else other
                sure = int(rng.integers(1, 6))
                who = f"person {person}"
                rows.append(NewTag(who, facts.label, "pca", component, said, confidence=sure))
    return store.add_many(audit.id, rows)
