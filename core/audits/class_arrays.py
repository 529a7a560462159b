"""One class of an audit: its components, its candidates of every kind, their alphas and maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.audits.audited import AuditedClass
from core.audits.class_files import read_arrays, read_carried, read_kind, size_of_kind
from core.candidates.candidate import Candidate
from core.candidates.key import CandidateKey
from core.candidates.kinds import KINDS, Found
from core.candidates.linear_kinds import NEURON, PCA
from core.candidates.pca import ClassPCA
from core.models.linear import Head
from core.storage.documents import CLASS
from core.storage.files import read_json, there
from core.storage.layout import AuditFiles
from core.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class ClassSizes:
    """How many candidates a class has, without reading any."""

    class_idx: int
    components: int
    features: int
    """D."""
    files: AuditFiles

    @property
    def carried(self) -> int:
        """Directions carried over to the class."""
        path = self.files.carried_to(self.class_idx)
        return len(read_carried(path, mapped=True)) if there(path) else 0

    def found(self, kind: str) -> int:
        """Candidates of a kind that is stored apart."""
        return size_of_kind(self.files.of_kind(kind, self.class_idx))

    def of(self, kind: str) -> int:
        """How many of a kind; none of one that is not installed."""
        return KINDS[kind].count(self) if kind in KINDS else 0


@dataclass(frozen=True)
class ClassArrays(ClassSizes):
    """Everything computed about one class."""

    facts: AuditedClass
    pca: ClassPCA
    neurons: IntArray
    """(m,) feature indices."""
    alpha: FloatArray
    """(n, r + m) float32: components, then neurons; every image of the class, every split."""
    residual: FloatArray
    """(n,) logit - mean - sum of the components' alphas."""
    image_ids: list[str]
    """(n,) sorted like the image table."""
    fitting: BoolArray
    """(n,) images that the components were fitted on."""
    top_maps: FloatArray | None
    """(r + m, TOP_IMAGES, h, w) of each candidate's top images, or None: computed on demand."""

    @property
    def label(self) -> str:
        """Raw label."""
        return self.facts.label

    @property
    def carried_rows(self) -> FloatArray:
        """(m, D + 1) directions with offsets that were carried over."""
        path = self.files.carried_to(self.class_idx)
        return read_carried(path) if there(path) else np.zeros((0, self.features + 1))

    @cached_property
    def _of_kind(self) -> dict[str, Found]:
        r, maps = self.components, self.top_maps
        return {
            PCA: Found(np.arange(r), self.alpha[:, :r], {}, None if maps is None else maps[:r]),
            NEURON: Found(self.neurons, self.alpha[:, r:], {}, None if maps is None else maps[r:]),
        }

    def of_kind(self, kind: str) -> Found:
        """The candidates of a kind whose alphas are stored; without any of one never found."""
        if kind not in self._of_kind:
            files = self.files.of_kind(kind, self.class_idx)
            self._of_kind[kind] = read_kind(files, len(self.image_ids))
        return self._of_kind[kind]

    def candidate(self, kind: str, number: int) -> Candidate:
        """One candidate of this class; any feature may be asked for as a neuron.

        Raises
        ------
        InputError
            If there is no such component or feature; the message says how many there are.
        """
        return KINDS.chosen(kind).candidate(self, number)

    def candidates(self, kind: str) -> list[Candidate]:
        """Those of a kind whose alphas are stored, in the order of :meth:`of_kind`."""
        return [self.candidate(kind, int(number)) for number in self.of_kind(kind).numbers]

    def column(self, key: CandidateKey) -> int:
        """Place of a candidate among those of its kind that are stored; -1: it is not."""
        where = np.flatnonzero(self.of_kind(key.kind).numbers == key.number)
        return int(where[0]) if len(where) else -1

    def alpha_of(self, key: CandidateKey) -> FloatArray | None:
        """The stored alpha (n,) float64 of a candidate; None: computed on demand."""
        column = self.column(key)
        alpha = self.of_kind(key.kind).alpha
        return np.asarray(alpha[:, column], np.float64) if column >= 0 else None

    def top_maps_of(self, key: CandidateKey) -> FloatArray | None:
        """The stored maps (TOP_IMAGES, h, w) of its top images; None: computed on demand."""
        column, maps = self.column(key), self.of_kind(key.kind).top_maps
        return maps[column] if maps is not None and column >= 0 else None


def class_arrays(files: AuditFiles, head: Head, class_idx: int) -> ClassArrays:
    """Read what an audit stores of a class; arrays stay on disk until touched."""
    mine, width = files.of_class(class_idx), int(head.weight.shape[1])
    arrays = read_arrays(mine, width)
    facts = AuditedClass.from_json(read_json(mine.facts, CLASS))
    pca = ClassPCA(
        np.asarray(head.weight[class_idx], np.float64),
        np.asarray(arrays["mean"]),
        np.asarray(arrays["basis"], np.float64).T,
        np.asarray(arrays["eigenvalues"]),
        facts.total_variance or 0.0,
        facts.bound,
    )
    return ClassArrays(
        class_idx,
        pca.basis.shape[1],
        width,
        files,
        facts,
        pca,
        np.asarray(arrays["neurons"]),
        arrays["alpha"],
        arrays["residual"],
        arrays["image_ids"].tolist(),
        np.asarray(arrays["fitting"]),
        arrays.get("top_maps"),
    )
