"""The kinds that are linear in the features: components, neurons, carried directions."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from core.candidates.candidate import LinearCandidate, functional
from core.candidates.key import CandidateKey
from core.candidates.kinds import CandidateKind, Sizes, Stored
from core.types import FloatArray


def _made(
    kind: CandidateKind, stored: Stored, number: int, direction: FloatArray, offset: float
) -> LinearCandidate:
    key = CandidateKey(stored.label, kind.name, number)
    return LinearCandidate(stored.class_idx, direction, offset, key)


class Units(CandidateKind):
    """Unit vectors among the weighted activations of the class (Neuhaus et al. 2023, eq. 4)."""

    @abstractmethod
    def unit(self, stored: Stored, number: int) -> FloatArray:
        """(D,) u of one of them."""

    def read(self, stored: Stored, number: int) -> LinearCandidate:
        """From u, and the class's weight and mean."""
        pca = stored.pca
        direction, offset = functional(self.unit(stored, number), pca.weight, pca.mean)
        return _made(self, stored, number, direction, float(offset))


class Components(Units):
    """Neural PCA components; the number is the place by descending eigenvalue."""

    name, word, plural = "pca", "component", "components"
    help = "0-based, by eigenvalue"

    def count(self, sizes: Sizes) -> int:
        """Those that were kept."""
        return sizes.components

    def unit(self, stored: Stored, number: int) -> FloatArray:
        """An eigenvector."""
        found: FloatArray = stored.pca.basis[:, number]
        return found


class Neurons(Units):
    """Single features; the number is the feature's, and any feature may be asked for."""

    name, word, plural, first = "neuron", "neuron", "neurons", 0
    help = "feature index"
    few = False

    def count(self, sizes: Sizes) -> int:
        """Every feature."""
        return sizes.features

    def unit(self, stored: Stored, number: int) -> FloatArray:
        """An axis."""
        axis: FloatArray = np.eye(1, len(stored.pca.weight), number)[0]
        return axis


class Carried(CandidateKind):
    """Directions matched to tagged candidates of another model (:mod:`core.tags.carry`)."""

    name, word, plural = "carried", "carried direction", "carried directions"
    found = False
    remedy = "; carry the tags over again"

    def count(self, sizes: Sizes) -> int:
        """Those that were carried to the class."""
        return sizes.carried

    def read(self, stored: Stored, number: int) -> LinearCandidate:
        """As it was stored."""
        row = stored.carried_rows[number]
        return _made(self, stored, number, row[:-1], float(row[-1]))


COMPONENTS, NEURONS, CARRIED_DIRECTIONS = Components(), Neurons(), Carried()
PCA, NEURON, CARRIED = COMPONENTS.name, NEURONS.name, CARRIED_DIRECTIONS.name
