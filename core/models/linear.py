"""The linear head that an audit explains: the model's own or a fitted probe, as stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.store import read_array, read_json
from core.types import FloatArray


@dataclass(frozen=True)
class Correction:
    """A rectified low-rank change of the logits: f - relu(phi read^T - offset) write^T.

    One form for every correction that no plain weight can hold: it acts only where a direction of
    the features exceeds an offset. SpuFix (Neuhaus et al. 2023, section 5) writes to the tagged
    class alone; a rectified projection writes what its direction adds to every class.
    """

    read: FloatArray
    """(M, D) float32."""
    offset: FloatArray
    """(M,) float32."""
    write: FloatArray
    """(K, M) float32."""

    def apply(self, features: FloatArray, logits: FloatArray) -> FloatArray:
        """Corrected logits (n, K) float32 of features (n, D) and their logits (n, K)."""
        above = np.maximum(np.asarray(features, np.float32) @ self.read.T - self.offset, 0)
        found: FloatArray = logits - above @ self.write.T
        return found


@dataclass(frozen=True)
class Head:
    """The linear head that an audit explains."""

    weight: FloatArray
    """(K, D) float32."""
    bias: FloatArray
    """(K,) float32."""
    outputs: list[str]
    """(K,) raw label of every output."""
    names: list[str]
    """(K,) displayed name of every output."""
    mode: str
    """``keep`` or ``fit``."""
    correction: Correction | None = None
    """What is taken off the linear logits afterwards."""

    def logits(self, features: FloatArray) -> FloatArray:
        """Features W^T + b, corrected where there is a correction, (n, K) float32."""
        found: FloatArray = np.asarray(features, np.float32) @ self.weight.T + self.bias
        return self.correction.apply(features, found) if self.correction else found

    def index(self, label: str) -> int:
        """Output of a raw label, -1 if it has none."""
        return self.outputs.index(label) if label in self.outputs else -1


def read_head(folder: Path) -> Head:
    """The head stored with an audit."""
    path = folder / "head"
    facts = read_json(path / "head.json")
    correction = None
    if (path / "read.npy").exists():
        correction = Correction(
            *(read_array(path / f"{n}.npy") for n in ("read", "offset", "write"))
        )
    return Head(
        read_array(path / "weight.npy"),
        read_array(path / "bias.npy"),
        facts["outputs"],
        facts["names"],
        facts["mode"],
        correction,
    )
