"""Tags from the planted truth of a rendered demo, and pictures of its cues alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.class_arrays import ClassArrays
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.data.masks import crop_mask, mask_on_grid, read_mask
from core.demos import cues
from core.errors import InputError
from core.explain.heatmaps import energy_share
from core.statistics.intervals import auroc
from core.storage.files import replacing_folder
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import FloatArray, Progress, Reporter, Tag, silent

ANNOTATOR = "planted truth"
FIRST = 5
"""Components of a class, in the order of the page, that a tag may go to."""

ALONE = 60
"""Pictures of each cue alone."""


def cue_owners(audit: Audit) -> dict[str, str]:
    """The planted cue, an attribute, of every class that has one.

    Raises
    ------
    InputError
        If the data says nothing of planted cues.
    """
    planted = audit.summary.planted
    found = {k: v["cue"] for k, v in planted.items() if isinstance(v, dict) and v.get("cue")}
    if not found:
        raise InputError(f"audit {audit.name!r} is not of rendered data with planted cues")
    return found


def plant_tags(audit: Audit, store: TagStore) -> None:
    """Tag, in every class with a planted cue, one component spurious and one core.

    Spurious is the component among the first five whose alpha separates images with the cue best;
    core the one of the others whose overlays lie on the object's mask most.
    """
    known = {e.key: e.tag for e in store.current(audit.id, ANNOTATOR)}
    for label, cue in cue_owners(audit).items():
        arrays = audit.arrays_of(label)
        first = _first(audit, arrays)
        shown = audit.images_of(arrays.image_ids)[cue].to_numpy() == 1
        areas = [auroc(np.asarray(arrays.alpha[:, c]), shown) for c in first["component"]]
        spurious = int(np.argmax(areas))
        on_object = np.array([_on_object(audit, arrays, row) for _, row in first.iterrows()])
        on_object[spurious] = -1.0
        for place, tag in ((spurious, Tag.SPURIOUS), (int(on_object.argmax()), Tag.CORE)):
            key = CandidateKey(label, PCA, int(first["component"].iloc[place]))
            if known.get(key) is not tag:
                store.add(ANNOTATOR, audit.id, key, tag)


def _first(audit: Audit, arrays: ClassArrays) -> pd.DataFrame:
    table = audit.candidates
    mine = table[(table["class_idx"] == arrays.facts.class_idx) & (table["kind"] == "pca")]
    return mine.sort_values("order").head(FIRST)


def _on_object(audit: Audit, arrays: ClassArrays, row: pd.Series) -> float:
    """Mean share of a component's overlay inside the object's mask, over its top images."""
    ids = list(row["top_image_ids"])
    candidate = arrays.candidate(PCA, int(row["component"]))
    stored = arrays.top_maps_of(candidate.key)
    maps = audit.heatmaps(candidate, ids) if stored is None else np.asarray(stored)[: len(ids)]
    shares = [_inside(audit, i, heat) for i, heat in zip(ids, maps, strict=True)]
    return float(np.nanmean(shares)) if np.isfinite(shares).any() else 0.0


def _inside(audit: Audit, image_id: str, heat: FloatArray) -> float:
    image = audit.images_of([image_id]).iloc[0]
    if not image["object_mask"]:
        return float("nan")
    size = (int(image["width"]), int(image["height"]))
    mask = crop_mask(read_mask(audit.root / image["object_mask"], size), audit.preprocess)
    return energy_share(heat, mask_on_grid(mask, (int(heat.shape[0]), int(heat.shape[1]))))


def cues_alone(audit: Audit, workspace: Workspace, *, report: Reporter = silent) -> dict[str, Path]:
    """Folder of pictures of the cue alone for every class with one; drawn once."""
    found = {}
    for done, (label, cue) in enumerate(cue_owners(audit).items()):
        report(Progress("Drawing the cues alone", done, len(cue_owners(audit)), "cues"))
        folder = workspace.root / "data" / f"demo-cues-alone-{cue}"
        if not folder.exists():
            with replacing_folder(folder) as temporary:
                cues.write_alone(temporary, cue, count=ALONE)
        found[label] = folder
    return found
