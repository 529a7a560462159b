"""How far parts go along with a sticker that nobody drew: what chance alone does.

The goal of :mod:`benchmarks.planted` for photos without a sticker is that no part's region has more
than 1.5 times its area's share there. Here the places where it would have been are dealt out anew
among a class's photos, which no part can know: the largest of all parts, by chance.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import PHOTOS, Line
from benchmarks.planted import CLASSES, OWNER, QUICK, REAL, audited, class_trial, manifest_of
from core.candidates.part_kind import PART
from core.types import BoolArray, FloatArray, IntArray

DRAWS = 400
GOAL = 1.5
STEP = 4
"""Of the pixels of a picture every fourth is looked at, in both directions."""


def run() -> list[Line]:
    """One audit of photos without a sticker."""
    from core.storage.workspace import Workspace

    if not PHOTOS.is_dir():
        raise SystemExit(f"this part needs photos at {PHOTOS}")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        audit = audited(workspace, manifest_of(workspace.root, REAL, QUICK, OWNER, 0.0), "nobody")
        every = [part for label in CLASSES[: QUICK[0]] for part in of_class(audit, label)]
    rng = np.random.default_rng(0)
    seen = max(ratio(regions, masks, donors) for regions, masks, donors in every)
    chance = np.array([max(dealt(part, rng) for part in every) for _ in range(DRAWS)])
    low, middle, high = np.quantile(chance, (0.025, 0.5, 0.975))
    what = f"largest of {len(every)} parts"
    return [
        Line(f"{what}: region inside the sticker over its area", seen, "", "x"),
        Line(f"{what}, stickers dealt out anew: median of {DRAWS}", middle, "", "x"),
        Line(f"{what}, stickers dealt out anew: 2.5 %", low, "", "x"),
        Line(f"{what}, stickers dealt out anew: 97.5 %", high, "", "x", None),
        Line(f"share of the draws above {GOAL}", float((chance > GOAL).mean()), ""),
        Line("seen, no more than by chance", seen, f"<= {high:.2f}", "x", bool(seen <= high)),
    ]


Part = tuple[BoolArray, BoolArray, IntArray]
"""Regions (d, H, W) of a part's donors, masks (n, H, W) of the class, rows (d,) of the donors."""


def of_class(audit: Any, label: str) -> list[Part]:
    """Where every part of a class is, and where the stickers would be."""
    from core.trials.confirmed import in_view
    from core.trials.encoder import mask_in_view
    from core.trials.latent import donors_of

    trial, arrays, ids = class_trial(audit, label)
    heats, size = trial.heats(arrays.candidates(PART), ids), audit.preprocess.input_size
    masks = np.zeros((len(ids), *size), bool)
    for row, name in enumerate(ids):
        if (mask := mask_in_view(audit, name, "cue_mask")) is not None:
            masks[row] = mask
    found = []
    for part in range(heats.shape[1]):
        donors, regions = donors_of(heats[:, part])
        pasted = [in_view(region.reshape(heats.shape[2:]), size) for region in regions]
        found.append((np.stack(pasted)[:, ::STEP, ::STEP], masks[:, ::STEP, ::STEP], donors))
    return found


def ratio(regions: BoolArray, masks: BoolArray, rows: IntArray) -> float:
    """Share of regions that is sticker, over the share of the picture that is, means over rows."""
    mine: FloatArray = masks[rows]
    inside = (regions & mine).sum(axis=(1, 2)) / regions.sum(axis=(1, 2))
    return float(inside.mean() / mine.mean())


def dealt(part: Part, rng: np.random.Generator) -> float:
    """:func:`ratio` with the stickers of other images of the class."""
    regions, masks, rows = part
    return ratio(regions, masks, rng.permutation(len(masks))[: len(rows)])
