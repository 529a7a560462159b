"""Where the clusters of a class lie: its images by the eigenvectors that tell them apart."""

from __future__ import annotations

import numpy as np

from core.audits.audit import Audit
from core.candidates.cluster_kind import CLUSTER, SPACES, Space, spaces_of
from core.types import BoolArray, FloatArray
from core.ui.frame import opened

OF_SPACE = "spectral-"
"""How the names of these projections and colours begin; the space follows."""


def projections(audit: Audit, class_idx: int | None) -> dict[str, str]:
    """Names with titles; none of all images, or where no clusters were found."""
    return {
        f"{OF_SPACE}{space.name}": f"Spectral, by {SPACES[space.name]}"
        for space in _spaces(audit, class_idx)
        if len(space.numbers)
    }


def points(audit: Audit, class_idx: int, projection: str, shown: list[str]) -> FloatArray:
    """Coordinates (s, 2) of the drawn images; those without any lie below all others."""
    space, place = _chosen(audit, class_idx, projection), _places(audit, class_idx, shown)
    found = space.points[place]
    known: BoolArray = np.asarray(np.isfinite(found).all(axis=1), bool)
    low, high = found[known].min(axis=0), found[known].max(axis=0)
    return np.where(known[:, None], found, low - 0.15 * np.maximum(high - low, 0.1))


def lacking(audit: Audit, class_idx: int, projection: str) -> int:
    """Images that have no place of their own."""
    space = _chosen(audit, class_idx, projection)
    return int((~np.isfinite(space.points).all(axis=1)).sum())


def clusters(audit: Audit, class_idx: int, colour: str, shown: list[str]) -> list[str]:
    """The cluster of every drawn image, in words."""
    labels = _chosen(audit, class_idx, colour).labels[_places(audit, class_idx, shown)]
    return [f"cluster {label + 1}" if label >= 0 else "no cluster" for label in labels.tolist()]


def _spaces(audit: Audit, class_idx: int | None) -> list[Space]:
    if class_idx is None:
        return []
    return spaces_of(opened.class_arrays(audit, class_idx).of_kind(CLUSTER))


def _chosen(audit: Audit, class_idx: int, name: str) -> Space:
    wanted = name.removeprefix(OF_SPACE)
    return next(space for space in _spaces(audit, class_idx) if space.name == wanted)


def _places(audit: Audit, class_idx: int, shown: list[str]) -> list[int]:
    ids = opened.class_arrays(audit, class_idx).image_ids
    place = {image_id: i for i, image_id in enumerate(ids)}
    return [place[image_id] for image_id in shown]
