"""The map of an audit: every image as a point, by PCA and by UMAP of its features.

::

    map/features/     of all images
    map/psi-00003/    of the weighted activations psi of one class, its images only
        ids.npy       (n,) image ids, bytes
        pca.npy       (n, 2) float32, first two principal components
        sample.npy    (s,) positions of the stratified sample, at most 50,000
        umap.npy      (s, 2) float32 of the sample; missing until it was asked for
        map.json      key, n, shown, seed, variance shares, notes

Computed on demand, never with the audit; a folder appears complete, and is computed again when
the audit's images, features or head changed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.audits.kept import kept_key
from core.explain.embedding import (
    COMPONENTS,
    FEWEST,
    Plane,
    principal_plane,
    stratified_sample,
    umap_plane,
)
from core.storage.files import (
    locked,
    read_array,
    read_value,
    replacing_folder,
    there,
    write_array,
    write_json,
)
from core.storage.json_values import JsonValue
from core.storage.layout import MapFiles
from core.storage.workspace import fingerprint
from core.types import FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.candidates.candidate import Candidate

SAMPLE = 50_000
"""Points of UMAP and of a drawn map at most: what a browser turns over without stumbling."""

SEED = 0
"""Of the sample, the randomised decomposition and UMAP."""

SLICE = 4096
"""Rows of features in memory at a time."""

"""What ``map.json`` holds at least."""

VERSION = 1
"""Of the method; another one computes every map again."""


@dataclass(frozen=True)
class MapFacts(JsonValue):
    """What is known of a map beside its points."""

    key: str
    """Changes with everything that it depends on."""
    scope: str = ""
    """Name of its folder."""
    n: int = 0
    """Images of the map."""
    shown: int = 0
    """Those that are drawn."""
    seed: int = 0
    components: int = 0
    """Of the PCA that UMAP sees."""
    shares: tuple[float, ...] = ()
    """Of the variance, that the first two components hold."""
    umap: bool = False
    """Whether UMAP was computed."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageMap:
    """One map, read; arrays stay on disk until touched where they are stored."""

    ids: NDArray[np.bytes_]
    """(n,) image ids, sorted like the image table."""
    pca: FloatArray
    """(n, 2) float32."""
    sample: IntArray
    """(s,) positions of the drawn images, ascending."""
    umap: FloatArray | None
    """(s, 2) float32 of the sample; None where it was not computed."""
    facts: MapFacts

    @cached_property
    def shown(self) -> list[str]:
        """Ids of the drawn images."""
        found: list[str] = self.ids[self.sample].astype(str).tolist()
        return found

    def points(self, projection: str) -> FloatArray:
        """Coordinates (s, 2) of the drawn images by ``"umap"`` or ``"pca"``."""
        if projection == "umap" and self.umap is not None:
            return self.umap
        return np.asarray(self.pca[self.sample])


def scope_name(class_idx: int | None) -> str:
    """Name of a map's folder: of all images, or of one class."""
    return "features" if class_idx is None else f"psi-{class_idx:05d}"


def scope_images(audit: Audit, class_idx: int | None) -> pd.DataFrame:
    """The images of a map (columns label and digest), indexed by ``image_id``."""
    images = audit.images[["label", "digest"]]
    if class_idx is None:
        return images
    label = next(facts.label for facts in audit.classes if facts.class_idx == class_idx)
    return images[images["label"] == label]


def map_key(audit: Audit, class_idx: int | None) -> str:
    """Changes with everything a map depends on."""
    weight = b"" if class_idx is None else np.asarray(audit.head.weight[class_idx]).tobytes()
    return fingerprint(
        {
            "version": VERSION,
            "audit": audit.manifest.fingerprint,
            "images": _key_of_images(audit, class_idx),
            "weight": hashlib.blake2b(weight, digest_size=8).hexdigest(),
            "scope": scope_name(class_idx),
            "sample": SAMPLE,
            "seed": SEED,
        }
    )


def _key_of_images(audit: Audit, class_idx: int | None) -> str:
    """Changes with the images of a map, their labels and digests."""

    def made() -> str:
        rows = pd.util.hash_pandas_object(scope_images(audit, class_idx), index=True)
        return hashlib.blake2b(rows.to_numpy().tobytes(), digest_size=8).hexdigest()

    if class_idx is not None:  # of one class it takes no time
        return made()
    return kept_key(audit.of_data, {"part": scope_name(class_idx)}, made)


def read_map(audit: Audit, class_idx: int | None = None) -> ImageMap | None:
    """The stored map of all images, or of one class; None where there is no current one."""
    files = audit.files.map_of(class_idx)
    if not files.facts.exists():
        return None
    facts = read_value(files.facts, MapFacts)
    if facts.key != map_key(audit, class_idx):
        return None
    return ImageMap(
        read_array(files.ids, mapped=True, kinds="S", ndim=1),
        read_array(files.pca, mapped=True, kinds="f", ndim=2),
        read_array(files.sample, kinds="iu", ndim=1),
        read_array(files.umap, kinds="f", ndim=2) if there(files.umap) else None,
        facts,
    )


def make_map(
    audit: Audit,
    class_idx: int | None = None,
    *,
    umap: bool = True,
    report: Reporter = silent,
) -> ImageMap:
    """Compute a map without storing it.

    The components are fitted on the sample and applied to every image, a slice of features at a
    time, so that memory does not grow with the number of images.

    Parameters
    ----------
    umap : whether to compute UMAP as well, which takes from half a minute to several.
    """
    images = scope_images(audit, class_idx)
    ids = images.index.tolist()
    sample = stratified_sample(images["label"], SAMPLE, seed=SEED)
    plane, notes = _fit(audit, class_idx, [ids[i] for i in sample], len(ids), report)
    pca, seen = _apply(audit, class_idx, ids, sample, plane, report)
    found = None
    if umap and len(sample) < FEWEST:
        notes.append(f"no UMAP of {len(sample)} images: it needs {FEWEST}; PCA shows them")
    elif umap:
        report(Progress(f"Neighbours of {len(sample):,} images for UMAP", 0, 0))
        found = umap_plane(seen, seed=SEED, report=report)
    facts = MapFacts(
        key=map_key(audit, class_idx),
        scope=scope_name(class_idx),
        n=len(ids),
        shown=len(sample),
        seed=SEED,
        components=len(plane.axes),
        shares=tuple(plane.shares[:2].tolist()),
        umap=found is not None,
        notes=tuple(notes),
    )
    return ImageMap(np.asarray(ids).astype(bytes), pca, sample, found, facts)


def compute_map(
    audit: Audit,
    class_idx: int | None = None,
    *,
    umap: bool = True,
    report: Reporter = silent,
) -> ImageMap:
    """The stored map, computed and stored where it is missing; see :func:`make_map`.

    Raises
    ------
    WorkspaceError
        If another process computes the same map right now, or the disk is full.
    """
    files = audit.files.map_of(class_idx)
    busy = f"this map of audit {audit.name!r} is being computed already; wait for it"
    with locked(files.lock, busy):
        stored = read_map(audit, class_idx)
        if stored and (stored.umap is not None or not umap or stored.facts.n < FEWEST):
            return stored
        for left in audit.files.maps.glob(f".{files.folder.name}-*"):  # of a killed run
            shutil.rmtree(left, ignore_errors=True)
        made = make_map(audit, class_idx, umap=umap, report=report)
        with replacing_folder(files.folder) as temporary:
            new = MapFiles(temporary)
            write_array(new.ids, made.ids)
            write_array(new.pca, made.pca)
            write_array(new.sample, made.sample)
            if made.umap is not None:
                write_array(new.umap, made.umap)
            write_json(new.facts, made.facts)
    return made


def _slices(ids: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for start in range(0, len(ids), SLICE):
        yield start, list(ids[start : start + SLICE])


def _values(audit: Audit, class_idx: int | None, ids: Sequence[str]) -> FloatArray:
    """Features (n, D), or psi of a class."""
    features = audit.store.features(ids)
    if class_idx is None:
        return features
    psi: FloatArray = features * np.asarray(audit.head.weight[class_idx], features.dtype)
    return psi


def _fit(
    audit: Audit, class_idx: int | None, ids: Sequence[str], n: int, report: Reporter
) -> tuple[Plane, list[str]]:
    """Principal components of the sample."""
    values = np.empty((len(ids), audit.head.weight.shape[1]), np.float32)
    for start, part in _slices(ids):
        report(Progress("Reading features", start, len(ids)))
        values[start : start + len(part)] = _values(audit, class_idx, part)
    report(Progress(f"First {COMPONENTS} principal components", 0, 0))
    notes = []
    if len(ids) < n:
        notes.append(f"components fitted on a stratified sample of {len(ids):,} of {n:,} images")
    return principal_plane(values, seed=SEED), notes


def _apply(
    audit: Audit,
    class_idx: int | None,
    ids: Sequence[str],
    sample: IntArray,
    plane: Plane,
    report: Reporter,
) -> tuple[FloatArray, FloatArray]:
    """Two coordinates (n, 2) of every image, and all of them (s, k) of the sample's."""
    pca = np.zeros((len(ids), 2), np.float32)
    seen = np.zeros((len(sample), len(plane.axes)), np.float32)
    for start, part in _slices(ids):
        report(Progress("Placing images", start, len(ids)))
        placed = plane.apply(_values(audit, class_idx, part))
        pca[start : start + len(part), : min(2, placed.shape[1])] = placed[:, :2]
        here = np.flatnonzero((sample >= start) & (sample < start + len(part)))
        seen[here] = placed[sample[here] - start]
    return pca, seen


def alpha_of(audit: Audit, candidate: Candidate, ids: Sequence[str]) -> FloatArray:
    """Alpha (n,) float32 of one candidate on any images of the audit, a slice at a time."""
    found = np.empty(len(ids), np.float32)
    for start, part in _slices(ids):
        found[start : start + len(part)] = audit.known_alpha(candidate, part)
    return found
