"""How little of its images a class needs: sufficient subsets of a sample of held-out images.

A fixed random part of the class's images says how often the model is right on the best twentieth of
the patches; some of its wrong images are added, so that their sizes can be told, too. A subset is
enough for nine tenths of the confidence that the whole image is given, in the class that it is
given: a fixed threshold would leave out every image that the model is less sure of. All images of a
class are filled alike, with the flat fill that tells the model least of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.data.masks import mask_on_grid
from core.errors import UnreadableImageError
from core.explain.fills import FLAT, Given, filled, least_telling
from core.explain.heatmaps import half_maximum
from core.explain.narrowing import narrowed
from core.explain.sis import BEST, OTHERS, SIDE, TAU, as_tensor, different, probabilities
from core.explain.subsets import areas, border, grid, odds_of, painted
from core.trials.encoder import Seen, region, trial_ids
from core.trials.paste import sample
from core.types import FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

DRAWN, WRONG = 12, 4
"""Held-out images of a class, and further wrong ones."""

FILLED = 8
"""Images whose fills are shown to the model, to choose the one that tells it least."""

COLUMNS = [
    *("image_id", "drawn", "right", "output", "probability", "alone"),
    *("size", "border", "best", "fill", "sensitivity", "left", "removed"),
]
"""``drawn``: of the random part; ``probability`` of the whole image and ``alone`` of the fill in
the class that the image is given; ``size`` and ``border``: share of the image that is enough, and
share of that at the border; ``best``: whether the best patches alone are given the image's own
class; ``fill``: what it is filled with; ``sensitivity``: standard deviation of the subset's
probability over that and other fills; ``removed``: patches in the order in which they go, the last
``left`` of which are the subset."""


def subset_ids(audit: Audit, label: str) -> tuple[list[str], list[str]]:
    """The random part of a class's held-out images, and further ones that the model has wrong."""
    ids = trial_ids(audit, inside=label)
    drawn = sample(ids, DRAWN)
    right = audit.images_of(ids)["correct"].to_numpy(bool)
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
    fill = least_telling_of(model, [pixels for _, pixels in there[:FILLED]])
    rows: list[dict[str, object]] = []
    for done, (image_id, pixels) in enumerate(there):
        report(Progress(f"Looking for subsets of {label}", done, len(there)))
        found = _of_image(model, pixels, audit.head.index(label), fill)
        rows.append({"image_id": image_id, **found})
    table = pd.DataFrame(rows, columns=COLUMNS)
    right = audit.images_of(table["image_id"])["correct"].to_numpy(bool)
    return table.assign(drawn=table["image_id"].isin(drawn), right=right)


def least_telling_of(model: Model, images: Sequence[np.ndarray]) -> str:
    """The flat fill that tells a model least of images (h, w, 3) uint8."""
    if not images:
        return FLAT[0]
    alone = {
        name: probabilities(
            [(model, _own(model))], np.stack([_filled(model, i, name) for i in images])
        )
        for name in FLAT
    }
    return least_telling(alone)


def _of_image(model: Model, pixels: np.ndarray, truth: int, fill: str) -> dict[str, object]:
    """What is found of an image (h, w, 3) uint8 whose own class is ``truth``."""
    image = pixels.astype(np.float32) / 255
    fills = different({name: _filled(model, pixels, name) for name in (fill, *OTHERS)})
    groups = grid((pixels.shape[0], pixels.shape[1]), SIDE)
    whole = probabilities([(model, _own(model))], image[None])[0]
    given = int(whole.argmax())
    shown_whole, hidden = (as_tensor(model, each[None])[0] for each in (image, fills[fill]))
    tau = TAU * float(whole[given])
    order = narrowed(odds_of([(model, np.array([given]))]), shown_whole, hidden, groups, tau)
    size, best = order.size(tau), round(BEST * len(order.removed))
    shown = [painted(image, fills[fill], order.kept(best), groups)]
    shown += [painted(image, each, order.kept(size), groups) for each in fills.values()]
    said = probabilities([(model, _own(model))], np.stack(shown))
    kept, area = order.kept(size), areas(groups)
    covered = float(area[kept].sum())
    return {
        "output": given,
        "probability": float(order.confidence[0]),
        "alone": float(order.confidence[-1]),
        "size": covered,
        "border": float(area[kept & border(groups)].sum()) / covered if size else float("nan"),
        "best": int(said[0].argmax()) == truth,
        "fill": fill,
        "sensitivity": float(said[1:, given].std()),
        "left": size,
        "removed": order.removed.tolist(),
    }


def _own(model: Model) -> np.ndarray:
    return np.arange(len(model.weight), dtype=np.int64)


def _filled(model: Model, pixels: np.ndarray, name: str) -> FloatArray:
    """What an image is masked with, (h, w, 3)."""
    return filled(name, Given(pixels, model.preprocess.mean, lambda: pixels))


def where(table: pd.DataFrame) -> FloatArray:
    """How often every patch of the grid is in a subset, (14, 14) in [0, 1]; zeros of no image."""
    found = np.zeros(SIDE * SIDE)
    for removed, left in zip(table["removed"], table["left"], strict=True):
        found[_last(removed, left)] += 1
    return (found / max(len(table), 1)).reshape(SIDE, SIDE)


class MostOften(NamedTuple):
    """The patch that most subsets of a class hold."""

    place: tuple[int, int]
    """Row and column."""
    images: int
    p: float
    """Chance that some patch is held by as many where every subset lies anywhere."""


def most_often(table: pd.DataFrame) -> MostOften:
    """The patch that is in most subsets; held against subsets of the same sizes anywhere.

    A patch is then in each with the share of the image that it is, and in at least k of n with at
    most the chance of a binomial of their mean, where k is above that mean (Hoeffding 1956);
    corrected for all patches (Bonferroni).
    """
    from scipy.stats import binom

    held = np.round(where(table) * len(table)).astype(int)
    place = np.unravel_index(int(held.argmax()), held.shape)
    k, n, share = int(held.max()), len(table), float(table["left"].mean()) / held.size
    above = float(binom.sf(k - 1, n, share)) if k > n * share + 1 else 1.0
    return MostOften((int(place[0]), int(place[1])), k, min(above * held.size, 1.0))


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
