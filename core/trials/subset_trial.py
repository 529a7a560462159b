"""How little of its images a class needs: sufficient subsets of a sample of held-out images.

A fixed random part of the class's images says how often the model is right on the best twentieth of
the patches; some of its wrong images are added, so that their sizes can be told, too. A subset is
enough for nine tenths of the confidence that the whole image is given, in the class that it is
given: a fixed threshold would leave out every image that the model is less sure of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.data.masks import mask_on_grid
from core.errors import UnreadableImageError
from core.explain.fills import Given, filled
from core.explain.heatmaps import half_maximum
from core.explain.sis import BEST, PATCHES, SIDE, TAU, as_tensor, probabilities
from core.explain.subsets import Order, areas, batched, border, grid, odds_of, painted
from core.trials.encoder import Seen, region, trial_ids
from core.trials.paste import sample
from core.types import FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

DRAWN, WRONG = 12, 4
"""Held-out images of a class, and further wrong ones."""

BATCH = 8
"""Images whose subsets are searched at once."""

FILL, OTHER_FILLS = "mean", ("grey", "blur")
"""What stands where something is taken away, and what the same subset is looked at on, too."""

COLUMNS = [
    *("image_id", "drawn", "right", "output", "probability", "alone"),
    *("size", "border", "best", "sensitivity", "left", "removed"),
]
"""``drawn``: of the random part; ``probability`` of the whole image and ``alone`` of the fill in
the class that the image is given; ``size`` and ``border``: share of the image that is enough, and
share of that at the border; ``best``: whether the best patches alone are given the image's own
class; ``sensitivity``: standard deviation of the subset's probability over fills; ``removed``:
patches in the order in which they go, the last ``left`` of which are the subset."""


def subset_ids(audit: Audit, label: str) -> tuple[list[str], list[str]]:
    """The random part of a class's held-out images, and further ones that the model has wrong."""
    ids = trial_ids(audit, inside=label)
    drawn = sample(ids, DRAWN)
    right = audit.images.loc[ids, "correct"].to_numpy(bool)
    rest = [i for i, correct in zip(ids, right, strict=True) if not correct and i not in drawn]
    return drawn, sample(rest, WRONG)


def subset_trial(
    audit: Audit, label: str, model: Model, seen: Seen, report: Reporter = silent
) -> pd.DataFrame:
    """The subsets of a class's sample (COLUMNS), a row an image; unreadable ones are left out."""
    drawn, wrong = subset_ids(audit, label)
    there: list[tuple[str, np.ndarray]] = []
    for image_id in (*drawn, *wrong):
        try:
            there.append((image_id, seen.picture(image_id)))
        except UnreadableImageError:
            continue
    rows: list[dict[str, object]] = []
    for start in range(0, len(there), BATCH):
        report(Progress(f"Looking for subsets of {label}", start, len(there)))
        part = there[start : start + BATCH]
        found = _of_images(model, np.stack([pixels for _, pixels in part]), audit.head.index(label))
        rows += [{"image_id": i, **row} for (i, _), row in zip(part, found, strict=True)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    right = audit.images["correct"].reindex(table["image_id"]).to_numpy(bool)
    return table.assign(drawn=table["image_id"].isin(drawn), right=right)


def _of_images(model: Model, pixels: np.ndarray, truth: int) -> list[dict[str, object]]:
    """What is found of images (n, h, w, 3) uint8 whose own class is ``truth``."""
    images = pixels.astype(np.float32) / 255
    fills = {name: _filled(model, pixels, name) for name in (FILL, *OTHER_FILLS)}
    groups = grid((pixels.shape[1], pixels.shape[2]), SIDE)
    given = probabilities([(model, _own(model))], images).argmax(axis=1)
    tensors = (as_tensor(model, images), as_tensor(model, fills[FILL]))
    orders = batched(odds_of([(model, given)]), *tensors, groups, step=PATCHES)
    best = round(BEST * len(orders[0].removed))
    alone = [painted(i, f, o.kept(best), groups) for i, f, o in zip(images, fills[FILL], orders,
                                                                    strict=True)]  # fmt: skip
    hits = probabilities([(model, _own(model))], np.stack(alone)).argmax(axis=1) == truth
    sizes = [order.size(TAU * float(order.confidence[0])) for order in orders]
    spread = _spread(model, images, fills, orders, sizes, given, groups)
    area, edge = areas(groups), border(groups)
    rows: list[dict[str, object]] = []
    for i, (order, size) in enumerate(zip(orders, sizes, strict=True)):
        kept = order.kept(size)
        covered = float(area[kept].sum())
        rows.append(
            {
                "output": int(given[i]),
                "probability": float(order.confidence[0]),
                "alone": float(order.confidence[-1]),
                "size": covered,
                "border": float(area[kept & edge].sum()) / covered if size else float("nan"),
                "best": bool(hits[i]),
                "sensitivity": float(spread[i]),
                "left": size,
                "removed": order.removed.tolist(),
            }
        )
    return rows


def _own(model: Model) -> np.ndarray:
    return np.arange(len(model.weight), dtype=np.int64)


def _filled(model: Model, pixels: np.ndarray, name: str) -> FloatArray:
    """What every image is masked with, (n, h, w, 3)."""
    mean = model.preprocess.mean
    return np.stack([filled(name, Given(one, mean, lambda: one)) for one in pixels])  # noqa: B023


def _spread(
    model: Model,
    images: FloatArray,
    fills: dict[str, FloatArray],
    orders: Sequence[Order],
    sizes: Sequence[int],
    given: np.ndarray,
    groups: np.ndarray,
) -> FloatArray:
    """Standard deviation (n,) over fills of the probability of each image's subset."""
    rows, found = np.arange(len(images)), []
    for each in fills.values():
        shown = [
            painted(images[i], each[i], orders[i].kept(sizes[i]), groups) for i in rows.tolist()
        ]
        found.append(probabilities([(model, _own(model))], np.stack(shown))[rows, given])
    spread: FloatArray = np.std(found, axis=0)
    return spread


def where(table: pd.DataFrame) -> FloatArray:
    """How often every patch of the grid is in a subset, (14, 14) in [0, 1]; zeros of no image."""
    found = np.zeros(SIDE * SIDE)
    for removed, left in zip(table["removed"], table["left"], strict=True):
        found[_last(removed, left)] += 1
    return (found / max(len(table), 1)).reshape(SIDE, SIDE)


def _last(removed: Sequence[int], left: int) -> IntArray:
    """The patches of a subset."""
    return np.asarray(removed, np.int64)[len(removed) - left :]


CUE_COLUMNS = ["image_id", "inside", "area"]
"""``inside``: share of the subset that lies in the tagged cue's region; ``area``: of the image."""


def on_cue(
    audit: Audit,
    subsets: pd.DataFrame,
    spurious: Sequence[Candidate],
    model: Model,
    seen: Seen,
) -> pd.DataFrame:
    """How much of each subset lies in the region of the tagged cue (CUE_COLUMNS).

    The region is the drawn mask of the cue where an image has one, else where the union of the
    tagged candidates' overlays is above half of its maximum; images without one are left out.
    """
    table = subsets[subsets["size"] > 0]
    ids = table["image_id"].tolist()
    if not ids:
        return pd.DataFrame(columns=CUE_COLUMNS)
    heats = region(audit, spurious, ids, model)
    rows = []
    for (_, row), heat in zip(table.iterrows(), heats, strict=True):
        drawn = seen.mask(row["image_id"], "cue_mask")
        inside = half_maximum(heat) if drawn is None else drawn
        if not inside.any():
            continue
        share = np.asarray(mask_on_grid(inside, (SIDE, SIDE)), np.float64).ravel()
        kept = _last(row["removed"], row["left"])
        rows.append((row["image_id"], float(share[kept].mean()), float(share.mean())))
    return pd.DataFrame(rows, columns=CUE_COLUMNS)
