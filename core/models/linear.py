"""The linear head that an audit explains: the model's own or a fitted probe, as stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.store import read_array, read_json
from core.types import FloatArray


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

    def logits(self, features: FloatArray) -> FloatArray:
        """Features W^T + b, (n, K) float32."""
        found: FloatArray = np.asarray(features, np.float32) @ self.weight.T + self.bias
        return found

    def index(self, label: str) -> int:
        """Output of a raw label, -1 if it has none."""
        return self.outputs.index(label) if label in self.outputs else -1


def read_head(folder: Path) -> Head:
    """The head stored with an audit."""
    facts = read_json(folder / "head" / "head.json")
    return Head(
        read_array(folder / "head" / "weight.npy"),
        read_array(folder / "head" / "bias.npy"),
        facts["outputs"],
        facts["names"],
        facts["mode"],
    )
