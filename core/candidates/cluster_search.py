"""How clusters of a class are found: explanations as rows, groups of them, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np

from core.candidates.cluster_kind import (
    ASIDE,
    HEATMAP,
    OF_PARTS,
    PSI,
    SPACES,
    TOGETHER,
    UNKNOWN,
)
from core.candidates.clusters import Centre, margin_maps, pooled_rows
from core.candidates.kinds import Found
from core.candidates.part_kind import is_approximate
from core.candidates.parts import blocks
from core.candidates.search import ClassImages
from core.errors import InputError
from core.statistics.spectral import (
    EMBEDDED,
    FEWEST,
    NEIGHBOURS,
    NOTHING,
    Apart,
    Grouped,
    apart,
    grouped,
    nearest_group,
    nearest_mean,
    shares_of,
    unit_rows,
)
from core.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Asked:
    """How clusters are to be found."""

    spaces: tuple[str, ...] = tuple(SPACES)
    clusters: int | None = None
    """In each space; by default the eigengap says."""
    neighbours: int = NEIGHBOURS
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := [name for name in self.spaces if name not in SPACES]:
            raise InputError(f"space {unknown[0]!r}: choose {', '.join(SPACES)}")
        for flag, value, least in (
            ("--clusters", self.clusters, 2),
            ("--neighbours", self.neighbours, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{flag} {value}: must be at least {least}")


class Rows(NamedTuple):
    """Explanations of the images of a class."""

    values: FloatArray
    """(n, q); of images that are not known anything."""
    known: BoolArray
    """(n,)."""


class Told(NamedTuple):
    """A space with what its clusters are read from."""

    labels: IntArray
    """(n,) 0-based within the space, or ASIDE, UNKNOWN, TOGETHER."""
    centres: list[Centre]
    mean: FloatArray
    """(q,) mean share over the class."""
    points: FloatArray
    eigenvalues: FloatArray
    apart: Apart
    note: str


def find_clusters(images: ClassImages, parts: Found, asked: Asked) -> Found:
    """Clusters of a class, space by space, with the alphas of all its images.

    Groups are found among training images; held-out ones join the group of their neighbours.

    Parameters
    ----------
    parts : the class's parts as they are stored.
    """
    overlays = _margin_maps(images)
    rows = {name: _rows(name, images, parts, overlays) for name in asked.spaces}
    told = {name: _told(each, images.given.train, asked) for name, each in rows.items()}
    kept = _kept(images, told, overlays) | {"seed": np.array([asked.seed])}
    if OF_PARTS in told:
        kept |= {f"parts_{name}": array for name, array in parts.arrays.items()}
    columns = [
        np.where(rows[name].known, centre.affinity(rows[name].values), np.nan)
        for name, found in told.items()
        for centre in found.centres
    ]
    number = len(columns)
    alpha = np.stack(columns, axis=1) if number else np.zeros((len(images.image_ids), 0))
    return Found(np.arange(number), alpha, kept)


def _margin_maps(images: ClassImages) -> FloatArray:
    """(n, h, w) of every image whose maps are kept, NaN of others; (n, 0, 0) without any."""
    rows, n = np.flatnonzero(images.mapped), len(images.image_ids)
    weight = images.margin.weight
    found = [margin_maps(block, weight) for block in blocks(images.maps(rows))]
    if not found:
        return np.zeros((n, 0, 0))
    maps = np.concatenate(found)
    whole = np.full((n, *maps.shape[1:]), np.nan)
    whole[rows] = maps
    return whole


def _rows(name: str, images: ClassImages, parts: Found, overlays: FloatArray) -> Rows:
    n = len(images.image_ids)
    if name == PSI:
        weight = np.asarray(images.given.weight, np.float64)
        return Rows(images.given.features.astype(np.float64) * weight, np.ones(n, bool))
    if name == HEATMAP:
        known = images.mapped if overlays.size else np.zeros(n, bool)
        return Rows(pooled_rows(np.nan_to_num(overlays)), known)
    exact = not is_approximate(parts) and len(parts.numbers) > 0
    alpha = np.asarray(parts.alpha, np.float64)
    known = np.isfinite(alpha).all(axis=1) & exact & images.mapped
    return Rows(np.where(known[:, None], alpha, 0), known)


def _told(rows: Rows, train: BoolArray, asked: Asked) -> Told:
    """The groups of a space."""
    shares, there = shares_of(rows.values)
    labels = np.where(rows.known, ASIDE, UNKNOWN)
    fit, others = (np.flatnonzero(rows.known & there & which) for which in (train, ~train))
    given = shares[fit]
    mean = given.sum(axis=0) / max(len(fit), 1)
    if note := _obstacle(rows, len(fit), given):
        nothing = np.full((len(labels), 2), np.nan)
        labels[rows.known & there] = TOGETHER
        return Told(labels, [], mean, nothing, np.zeros(0), NOTHING, note)
    found = grouped(given, asked.clusters, k=asked.neighbours, seed=asked.seed)
    labels[fit] = found.labels
    labels[others] = nearest_group(given, found.labels, shares[others], k=asked.neighbours)
    points = np.full((len(labels), 2), np.nan)
    points[fit] = plane = _plane(found)
    points[others] = nearest_mean(given, plane, shares[others], k=asked.neighbours)
    several = found.number > 1
    centres = [Centre.of(given[found.labels == i]) for i in range(found.number)] if several else []
    if not several:
        labels[labels >= 0] = TOGETHER
    cut = apart(given, seed=asked.seed)
    note = "; ".join(_limits(len(fit), several, asked))
    return Told(labels, centres, mean, points, found.eigenvalues, cut, note)


def _limits(images: int, several: bool, asked: Asked) -> Iterator[str]:
    """What has to be known of groups that were looked for, in words."""
    if images <= asked.neighbours:
        yield (
            f"only {images} training images: all others are neighbours of each, not the nearest "
            f"{asked.neighbours}"
        )
    if not several:
        yield "its images are not told apart: one cluster holds all of them"


def _obstacle(rows: Rows, images: int, given: FloatArray) -> str:
    """Why there is nothing to group, in words; empty where there is."""
    if not rows.known.any():
        return "nothing of this kind is known of its images"
    if images < FEWEST:
        return f"{images} training images have any positive evidence; {FEWEST} are needed"
    if (given == given[0]).all():
        return "the explanations of all its training images are the same"
    return ""


def _plane(found: Grouped) -> FloatArray:
    """(n, 2) by the two eigenvectors after the first, of the rows of unit length."""
    vectors = unit_rows(found.vectors[:, : max(found.number, 3)])[:, 1:3]
    return np.pad(vectors, ((0, 0), (0, 2 - vectors.shape[1])))


def _kept(
    images: ClassImages, told: dict[str, Told], overlays: FloatArray
) -> dict[str, np.ndarray]:
    """What a class keeps of its clusters, by name."""
    spaces = [name for name, found in told.items() for _ in found.centres]
    centres = [centre for found in told.values() for centre in found.centres]
    kept = {
        "margin": images.margin.weight,
        "spaces": np.array(list(told), "U16"),
        "space": np.array(spaces, "U16"),
        "spread": np.array([centre.spread for centre in centres]),
        "overlay": _overlays(list(told.values()), overlays),
        "labels": np.stack(_numbered(list(told.values()))),
        "points": np.stack([found.points for found in told.values()]).astype(np.float32),
        "apart": np.array([astuple(found.apart) for found in told.values()]),
        "notes": np.array([found.note for found in told.values()]),
    }
    for name, found in told.items():
        kept[f"mean_{name}"] = found.mean
        kept[f"eigenvalues_{name}"] = found.eigenvalues[:EMBEDDED]
        kept[f"centre_{name}"] = np.array([c.at for c in found.centres]).reshape(
            len(found.centres), len(found.mean)
        )
    return kept


def _numbered(told: Sequence[Told]) -> list[IntArray]:
    """Labels (n,) of every space by the numbers of the class's clusters."""
    found, first = [], 0
    for each in told:
        found.append(np.where(each.labels >= 0, each.labels + first, each.labels))
        first += len(each.centres)
    return found


def _overlays(told: Sequence[Told], overlays: FloatArray) -> FloatArray:
    """Mean shares (m, h, w) of the places among the members of every cluster; 0 without maps."""
    h, w = overlays.shape[1:]
    known = np.isfinite(overlays).all(axis=(1, 2)) & (h > 0)
    shares, _ = shares_of(np.maximum(np.nan_to_num(overlays), 0).reshape(len(overlays), h * w))
    means = [
        shares[known & (each.labels == i)].mean(axis=0)
        if (known & (each.labels == i)).any()
        else np.zeros(h * w)
        for each in told
        for i in range(len(each.centres))
    ]
    return np.array(means, np.float32).reshape(len(means), h, w)
