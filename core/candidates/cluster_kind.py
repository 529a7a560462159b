"""Clusters as candidates: how they are kept, and read again; they are found where asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.candidates.candidate import Candidate
from core.candidates.clusters import Centre, HeatmapCluster, PartCluster, PsiCluster
from core.candidates.key import CandidateKey
from core.candidates.kinds import CandidateKind, Found, Stored
from core.candidates.part_kind import parts_of
from core.statistics.spectral import Apart
from core.types import FloatArray, IntArray

if TYPE_CHECKING:
    from core.candidates.parts import Parts

HEATMAP, PSI, OF_PARTS = "heatmap", "psi", "part"
SPACES = {HEATMAP: "places", PSI: "channels", OF_PARTS: "parts"}
"""What the explanations of images are compared by, in words."""

ASIDE, UNKNOWN, TOGETHER = -1, -2, -3
"""Instead of a cluster: an explanation without any mass; an image whose maps are not kept; one of
a class whose images are not told apart."""


@dataclass(frozen=True)
class Space:
    """The clusters of one class by one kind of explanation."""

    name: str
    """Of SPACES."""
    labels: IntArray
    """(n,) number of the cluster of every image of the class, or ASIDE, UNKNOWN, TOGETHER."""
    numbers: IntArray
    """(k,) of its clusters, by falling size; none where the images are not told apart."""
    points: FloatArray
    """(n, 2) where the image is by the first two eigenvectors that differ; NaN without cluster."""
    eigenvalues: FloatArray
    """(q,) of the Laplacian, ascending."""
    apart: Apart
    """How far the class falls in two."""
    note: str = ""
    """Why there are no clusters; empty where there are."""

    @property
    def aside(self) -> int:
        """Images set aside."""
        return int((self.labels == ASIDE).sum())

    @property
    def known(self) -> int:
        """Images that were looked at, those set aside not counted."""
        return int(((self.labels >= 0) | (self.labels == TOGETHER)).sum())


class ClusterKind(CandidateKind):
    """Clusters (:mod:`core.candidates.clusters`), numbered by space and falling size."""

    name, word, plural, needs = "cluster", "cluster", "clusters", "maps"
    help = "0-based, of those that discover found"
    adds, asked = False, True
    remedy = "; find some: python -m core discover AUDIT"

    def read(self, stored: Stored, number: int) -> Candidate:
        """In the space that it was found in."""
        arrays, key = (
            stored.of_kind(self.name).arrays,
            CandidateKey(stored.label, self.name, number),
        )
        space = str(arrays["space"][number])
        centre = Centre(_row(arrays, "centre", number), float(arrays["spread"][number]))
        if space == PSI:
            return PsiCluster(stored.class_idx, key, centre, stored.pca.weight, _mean(arrays, PSI))
        if space == OF_PARTS:
            parts = _parts(arrays)
            return PartCluster(stored.class_idx, key, centre, parts, _mean(arrays, OF_PARTS))
        overlay = np.asarray(arrays["overlay"][number])
        margin = np.asarray(arrays["margin"], np.float64)
        return HeatmapCluster(stored.class_idx, key, centre, margin, overlay >= overlay.max() / 2)


def _row(arrays: Mapping[str, np.ndarray], name: str, number: int) -> FloatArray:
    """The entry of a cluster in the array of its space."""
    space = arrays["space"][number]
    place = int((arrays["space"][:number] == space).sum())
    return np.asarray(arrays[f"{name}_{space}"][place], np.float64)


def _mean(arrays: Mapping[str, np.ndarray], space: str) -> FloatArray:
    return np.asarray(arrays[f"mean_{space}"], np.float64)


def _parts(arrays: Mapping[str, np.ndarray]) -> Parts:
    """The parts that clusters were found by, kept with them: others may be found later."""
    own = {name.removeprefix("parts_"): array for name, array in arrays.items()}
    return parts_of(Found.nothing(0, own))


def spaces_of(found: Found) -> list[Space]:
    """What was found of a class, space by space; none where nothing was asked for."""
    arrays = found.arrays
    if "spaces" not in arrays:
        return []
    return [
        Space(
            str(name),
            np.asarray(arrays["labels"][i]),
            np.flatnonzero(arrays["space"] == name),
            np.asarray(arrays["points"][i]),
            np.asarray(arrays[f"eigenvalues_{name}"]),
            Apart(*np.asarray(arrays["apart"][i]).tolist()),
            str(arrays["notes"][i]),
        )
        for i, name in enumerate(arrays["spaces"])
    ]


CLUSTERS = ClusterKind()
CLUSTER = CLUSTERS.name
