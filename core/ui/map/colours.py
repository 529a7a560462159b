"""What colours the points of the page Map."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.map import ImageMap, alpha_of
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.statistics.spuriosity import spuriosity
from core.tags.decisions import values_of
from core.types import FloatArray
from core.ui.frame import blocks, opened, tagged
from core.ui.kit import scales
from core.ui.map import spectral

OF_ATTRIBUTE = "attribute:"


class View(NamedTuple):
    """What the page shows."""

    scope: str
    """``features``, or ``psi:`` and a label."""
    class_idx: int | None
    """Of the scope; None for all images."""
    found: ImageMap
    projection: str
    colour: str
    candidate: Candidate | None
    """Whose alpha colours the points."""


@lru_cache(maxsize=4)
def drawn(audit: Audit, found: ImageMap) -> pd.DataFrame:
    """The drawn images with what is said about them, in the order of the map."""
    rows = audit.images_of(found.shown)[["label", "prediction", "correct"]]
    names = opened.display(audit)
    predicted = np.asarray(audit.head.names, dtype=object)[rows["prediction"].to_numpy(np.int64)]
    return rows.assign(
        name=[names.get(label, label) for label in rows["label"]],
        predicted=predicted,
        verdict=np.where(rows["correct"].to_numpy(bool), "right", "wrong"),
    )


@lru_cache(maxsize=16)
def _alpha(audit: Audit, found: ImageMap, key: CandidateKey) -> FloatArray:
    """Alpha (n,) of one candidate on every drawn image."""
    return alpha_of(audit, opened.candidate(audit, key), found.shown)


def spurious(audit: Audit) -> dict[str, tuple[CandidateKey, ...]]:
    """The candidates of every class that are decided spurious."""
    keys = tagged.decisions(audit).spurious.keys_of
    return {label: tuple(of) for label, of in keys.items()}


@lru_cache(maxsize=4)
def _spuriosity(
    audit: Audit, found: ImageMap, tagged: tuple[tuple[str, tuple[CandidateKey, ...]], ...]
) -> FloatArray:
    """Spuriosity (n,) of every drawn image; NaN where its class has no spurious candidate."""
    by_id: dict[str, float] = {}
    here = set(drawn(audit, found)["label"])
    for label, keys in tagged:
        if label in here:
            arrays = opened.arrays_of(audit, label)
            values = values_of(audit, label, [opened.candidate(audit, key) for key in keys])
            scores = spuriosity(values, np.asarray(arrays.fitting, bool))
            by_id |= dict(zip(arrays.image_ids, scores.tolist(), strict=True))
    return np.array([by_id.get(image_id, np.nan) for image_id in found.shown], np.float32)


def colours(audit: Audit, view: View, rows: pd.DataFrame) -> scales.Colours:
    """What colours the points; ``rows`` are those of :func:`drawn`."""
    order = list(blocks.class_names(audit).values())
    if view.colour == "prediction":
        return scales.categories(rows["predicted"].tolist(), "Prediction", order)
    if view.colour == "correct":
        return scales.categories(rows["verdict"].tolist(), "Prediction is", ["right", "wrong"])
    if view.colour == "spuriosity":
        cues = tuple(sorted(spurious(audit).items()))
        return scales.diverging(_spuriosity(audit, view.found, cues), "Spuriosity")
    if view.colour.startswith(OF_ATTRIBUTE):
        name = view.colour.removeprefix(OF_ATTRIBUTE)
        return scales.attribute(audit.images_of(view.found.shown)[name], name)
    if view.class_idx is not None and view.colour.startswith(spectral.OF_SPACE):
        found = spectral.clusters(audit, view.class_idx, view.colour, view.found.shown)
        return scales.categories(found, "Cluster", sorted({*found} - {"no cluster"}))
    if view.colour == "alpha" and view.candidate is not None:
        alpha = _alpha(audit, view.found, view.candidate.key)
        return scales.diverging(alpha, f"α of {tagged.names(audit).written(view.candidate.key)}")
    return scales.categories(rows["name"].tolist(), "Class", order)
