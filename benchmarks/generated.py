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
from scipy.stats import t

import core
from benchmarks.measure import MODEL
from core.audits.analysis import analyse
from core.audits.audit import Audit
from core.audits.subject import Subject
from core.candidates.part_kind import PART
from core.config import FORMAT
from core.features.sample import sampled
from core.features.shards import KEPT, FeatureStore
from core.storage.audit_manifest import Manifest
from core.storage.files import replacing_folder, write_frame, write_json
from core.storage.layout import ShardFiles
from core.storage.workspace import Workspace, fingerprint
from core.tags.entries import NewTag
from core.tags.log import TagStore
from core.trials.leaning import COLUMNS, KEYS, corrected_intervals, leading, trial_key
from core.trials.leaning import NAME as TRIALS
from core.types import BoolArray, FloatArray, ImageTable, IntArray, Preprocess, silent

if TYPE_CHECKING:
    from core.models.model import Model

NAME = "generated"
"""Of the audit, where none is given."""

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
    room: int = 0,
    parts: int | None = None,
    name: str = NAME,
    seed: int = 0,
) -> Audit:
    """Write an audit of ``classes`` x ``per_class`` images, and its tags.

    Parameters
    ----------
    width : number of features; None: those of the packaged model, which can then draw overlays.
    room, parts : as of :func:`features_of`.
    """
    model = model_of(classes, width, seed)
    subject = features_of(workspace, model, per_class, room=room, parts=parts, name=name, seed=seed)
    analyse(subject, model, silent)  # type: ignore[arg-type]
    files = subject.files
    write_json(files.manifest, replace(subject.manifest, state="finished"))
    audit = Audit(files.folder)
    tag(audit, TagStore.open(workspace), seed)
    return audit


def features_of(
    workspace: Workspace,
    model: SimpleNamespace,
    per_class: int,
    *,
    room: int = 0,
    parts: int | None = None,
    name: str = NAME,
    seed: int = 0,
) -> Subject:
    """An audit as the pass leaves it, before its analysis.

    Parameters
    ----------
    room : images whose maps fit (:func:`core.features.sample.sampled`).
    parts : of a class; None: as many as the rule says.
    """
    workspace.require_writable()
    table = _table(workspace.root / "pictures", model.outputs, per_class, seed)
    manifest = _manifest(model, table, parts, name)
    folder = workspace.folder(manifest.id)
    write_json(folder / "manifest.json", manifest)
    store = _features(folder, table, model, room, seed)
    rows = ["digest", "width", "height", "readable", "reason"]
    images = table.frame.join(store.rows[rows], on="image_id")
    write_frame(folder / "images.parquet", images)
    return Subject(manifest, table, images, store)


def model_of(classes: int, width: int | None, seed: int = 0) -> SimpleNamespace:
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


def _manifest(model: SimpleNamespace, table: ImageTable, count: int | None, name: str) -> Manifest:
    parts = {
        "data": table.source,
        "images": len(table.frame),
        "weights": model.weights_hash,
        "components": COMPONENTS,
    }
    facts = {
        "format": FORMAT,
        "id": fingerprint(parts)[:12],
        "name": name,
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
        "counts": None if count is None else {PART: count},
    }
    return Manifest.from_json(facts)


def _features(
    folder: Path, table: ImageTable, model: SimpleNamespace, room: int, seed: int
) -> FeatureStore:
    """Write every shard; no more than one is in memory."""
    frame = table.frame.assign(bytes=1, modified=0)
    fitting = frame["split"].to_numpy() == "train"
    if room >= len(frame):
        frame[KEPT] = True
    elif room:
        ids, labels = frame["image_id"].tolist(), frame["label"].tolist()
        frame = frame.assign(**{KEPT: sampled(ids, labels, fitting, room)})
    store = FeatureStore(folder)
    store.extend(frame)
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
            files = ShardFiles(temporary)
            np.save(files.array("features"), features)
            facts.to_parquet(files.rows, index=False)
            if (kept := shard.kept(False)).any():
                _keep_maps(files, kept, features, which[rows], shown[rows], model)
    return store


def _keep_maps(
    files: ShardFiles,
    kept: BoolArray,
    features: FloatArray,
    which: IntArray,
    shown: FloatArray,
    model: SimpleNamespace,
) -> None:
    """Maps whose mean over places are the features: the class in the middle, its cue in a corner.

    What the rest of a feature is at a place differs from place to place, too.
    """
    h, w = model.map_grid
    y, x = np.mgrid[0:h, 0:w] / (h - 1) - 0.5
    middle, corner = (np.exp(-8 * ((y - at) ** 2 + (x - at) ** 2)).ravel() for at in (0, 0.5))
    own = CLASS * model.own[which[kept]]
    cue = CUE * shown[kept, None] * model.cue[which[kept]]
    places = np.random.default_rng(0).normal(size=(features.shape[1], h * w)).astype(np.float32)
    found = features[kept, :, None] * (1 + places - places.mean(axis=1, keepdims=True))
    for values, place in ((own, middle), (cue, corner)):
        found += values[:, :, None] * (place / place.mean() - 1).astype(np.float32)
    np.save(files.maps, found.reshape(*found.shape[:2], h, w).astype(np.float16))
    if not kept.all():
        np.save(files.mapped, np.flatnonzero(kept))


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


def try_candidates(audit: Audit, seed: int = 0) -> int:
    """Store what leading candidates do as if it was tried: figures that are drawn, not measured.

    Every third candidate is above its control. Trying those of a thousand classes takes a while.
    """
    rng, rows = np.random.default_rng(seed), leading(audit)[KEYS]
    n = len(rows)
    lean, error = rng.uniform(0.1, 0.8, n) * (np.arange(n) % 3 == 0), rng.uniform(0.01, 0.05, n)
    control, area, taken = (rng.uniform(0, most, n) for most in (0.2, 0.4, 0.6))
    drawn = {
        **{"area": area, "donors": 6, "targets": 900, "own": 30, "obstacle": ""},
        **{"put_in": control + lean, "put_in_control": control, "lean": lean, "error": error},
        **{"put_in_low": control + lean / 2, "put_in_high": np.minimum(control + 1.2 * lean, 1)},
        **{"taken_away": taken, "taken_away_low": taken / 2, "taken_away_high": taken + 0.2},
        **{"p": 2 * t.sf(lean / error, 5), "taken_away_control": 0.05, "fill_sensitivity": 0.02},
    }
    table = corrected_intervals(rows.assign(lean_low=0.0, lean_high=0.0, **drawn)[COLUMNS])
    write_frame(audit.files.outcome(TRIALS, trial_key(audit)), table)
    return n
