"""Features of images with a pasted cue, encoded once and kept: every head is tried on the same.

::

    mitigation/pasted-4f0c…/after.npy, control.npy, in_front.npy   (T, D) each, NaN where missing
                            table.parquet                          image_id, truth
                            facts.json                             how the cues were cut out

The name ends with the key of everything it depends on: the images, the encoder, the tagged cues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audit import Audit, Candidate
from core.errors import InputError
from core.measure.paste import sample
from core.measures.flips import PASTES, Cues, cues_of, pastes
from core.measures.trials import features_of, trial_ids
from core.mitigate.evidence import Pairs
from core.mitigation.findings import Findings, key_of
from core.models.linear import Head
from core.store import (
    fingerprint,
    read_array,
    read_frame,
    read_json,
    replacing_folder,
    write_json,
)
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

VERSION = 1

PAIRS = 400
"""Training images per cue that a cue is pasted on at most."""


@dataclass(frozen=True)
class Composites:
    """Held-out images of other classes with a class's cue pasted on them, as features."""

    ids: list[str]
    """(T,) the images."""
    truth: IntArray
    """(T,) their outputs, -1 where the head has none."""
    plain: FloatArray
    """(T, D) without the cue."""
    pasted: dict[str, FloatArray]
    """(T, D) by :data:`core.measures.flips.PASTES`; rows of NaN where an image has none."""
    kind: str
    sources: int

    def turned(self, head: Head, class_idx: int, name: str = "after") -> BoolArray:
        """Images that are newly given the class, of those that the version exists of."""
        rows = self.usable(class_idx, name)
        now = head.logits(self.pasted[name][rows]).argmax(axis=1) == class_idx
        before = head.logits(self.plain[rows]).argmax(axis=1) == class_idx
        found: BoolArray = now & ~before
        return found

    def usable(self, class_idx: int, name: str) -> BoolArray:
        """(T,) images of another class that the version exists of."""
        there: BoolArray = ~np.isnan(self.pasted[name][:, 0]) & (self.truth != class_idx)
        return there


def held_out_composites(
    audit: Audit,
    label: str,
    spurious: Sequence[Candidate],
    *,
    seen_by: Audit | None = None,
    models: dict[str, Model] | None = None,
    seed: int = 0,
) -> Composites:
    """Composites of a class's cue, encoded where they are missing.

    Parameters
    ----------
    audit : whose cues are cut out.
    seen_by : whose encoder sees them; default ``audit``.
    models : loaded models by audit id, filled where one is needed.
    """
    seen_by, models = seen_by or audit, {} if models is None else models
    folder = _folder(audit, seen_by, label, spurious, seed)
    if not folder.exists():
        cues = cues_of(audit, label, spurious, _model(audit, models))
        ids = trial_ids(audit, outside=label) if cues.masks else []
        _encode(audit, seen_by, ids, cues, _model(seen_by, models), folder, seed)
    table, facts = read_frame(folder / "table.parquet"), read_json(folder / "facts.json")
    ids = table["image_id"].tolist()
    return Composites(
        ids,
        table["truth"].to_numpy(np.int64),
        seen_by.features(ids) if ids else np.zeros((0, seen_by.head.weight.shape[1]), np.float32),
        {name: read_array(folder / f"{name}.npy") for name in PASTES},
        facts["kind"],
        facts["sources"],
    )


def _model(audit: Audit, models: dict[str, Model]) -> Model:
    if audit.id not in models:
        models[audit.id] = audit.load_model()
    return models[audit.id]


def _folder(
    audit: Audit, seen_by: Audit, label: str, spurious: Sequence[Candidate], seed: int
) -> Path:
    key = {
        "version": VERSION,
        "images": read_json(audit.folder / "head" / "head.json")["key"],
        "cut": audit.manifest["fingerprint"],
        "encoder": seen_by.manifest["model"].get("weights", seen_by.manifest["parts"]["weights"]),
        "cues": [key_of(label, c) for c in spurious],
        "seed": seed,
    }
    return seen_by.folder / "mitigation" / f"pasted-{fingerprint(key)}"


def _encode(
    audit: Audit, seen_by: Audit, ids: list[str], cues: Cues, model: Model, folder: Path, seed: int
) -> None:
    shape = (len(ids), seen_by.head.weight.shape[1])
    arrays = {name: np.full(shape, np.nan, np.float32) for name in PASTES}
    for part, trial in pastes(audit, ids, cues, seed=seed):
        for name, array in arrays.items():
            there = [i for i, images in zip(part, trial, strict=True) if name in images]
            changed = [images[name] for images in trial if name in images]
            array[there] = features_of(seen_by, model, changed)
    labels = audit.images.loc[ids, "label"].tolist()
    truth = [audit.head.index(label) for label in labels]
    with replacing_folder(folder) as temporary:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        table = pd.DataFrame({"image_id": pd.Series(ids, dtype=object), "truth": truth})
        table.to_parquet(temporary / "table.parquet", index=False)
        write_json(temporary / "facts.json", {"kind": cues.kind, "sources": len(cues.masks)})


def training_pairs(
    audit: Audit, findings: Findings, rows: IntArray, *, seed: int = 0, report: Reporter = silent
) -> Pairs:
    """The same training images with and without every chosen cue, its drawn mask pasted on them.

    Parameters
    ----------
    rows : of ``audit.images`` that may be learnt from.

    Raises
    ------
    InputError
        If the data has no cue masks: where a cue is, has to be known exactly for this.
    """
    if "cue_mask" not in audit.images.columns:
        raise InputError(
            f"audit {audit.name!r} has no cue masks: name them in the manifest's column cue_mask, "
            "or leave out --masks"
        )
    model, images = audit.load_model(), audit.images.iloc[rows]
    parts: list[tuple[FloatArray, FloatArray, IntArray, IntArray]] = []
    number = 0
    for label, spurious in findings.chosen.items():
        report(Progress("Pasting cues on training images", number, len(findings.keys), "cues"))
        cues = cues_of(audit, label, spurious, model)
        if cues.kind != "cue masks":
            raise InputError(f"class {label!r} has no training image with a cue mask")
        ids = sample(images.index[images["label"] != label].tolist(), PAIRS, seed=seed)
        shown = [
            features_of(audit, model, [image["after"] for image in trial])
            for _, trial in pastes(audit, ids, cues, seed=seed)
        ]
        truth = np.array([audit.head.index(v) for v in images.loc[ids, "label"]], np.int64)
        for _ in spurious:
            hidden = audit.features(ids)
            parts.append((np.concatenate(shown), hidden, truth, np.full(len(ids), number)))
            number += 1
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
