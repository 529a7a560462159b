"""The linear head that an audit explains: the model's own or a fitted probe, as stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.storage.documents import Shape
from core.storage.files import (
    damaged,
    read_array,
    read_json,
    replacing_folder,
    there,
    write_array,
    write_json,
)
from core.storage.layout import AuditFiles, HeadFiles
from core.types import FloatArray

FACTS: Shape = {"outputs": [str], "names": [str], "mode": str}
"""What ``head.json`` holds at least."""

CORRECTION = ("read", "offset", "write")
"""Arrays of a correction, as files and in checkpoints."""


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
        return self.of_read(np.asarray(features, np.float32) @ self.read.T, logits)

    def of_read(self, read: FloatArray, logits: FloatArray) -> FloatArray:
        """:meth:`apply` for what the rows read of the features, (n, M)."""
        found: FloatArray = logits - np.maximum(read - self.offset, 0) @ self.write.T
        return found

    def active(self, features: FloatArray) -> FloatArray:
        """(n, M) 1.0 where a row acts on an image, else 0.0."""
        above = np.asarray(features, np.float32) @ self.read.T - self.offset > 0
        return above.astype(np.float32)


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

    def piece(self, features: FloatArray, output: int) -> tuple[FloatArray, FloatArray]:
        """The linear function that a logit is around each image: gradient (n, D), constant (n,).

        gradient . phi + constant is the logit; without a correction every image has the same.
        """
        n = len(features)
        slope = np.repeat(np.asarray(self.weight[output], np.float64)[None], n, axis=0)
        constant = np.full(n, float(self.bias[output]))
        if self.correction is not None:
            amount = self.correction.active(features) * self.correction.write[output]
            slope -= amount @ np.asarray(self.correction.read, np.float64)
            constant += amount @ np.asarray(self.correction.offset, np.float64)
        return slope, constant

    def index(self, label: str) -> int:
        """Output of a raw label, -1 if it has none."""
        return self.outputs.index(label) if label in self.outputs else -1


def read_head(folder: Path) -> Head:
    """The head stored with an audit."""
    files = AuditFiles(folder).head
    facts = read_json(files.facts, FACTS)
    correction = None
    if any(there(files.array(name)) for name in CORRECTION):
        read, offset, write = (read_array(files.array(n), kinds="f") for n in CORRECTION)
        correction = Correction(read, offset, write)
    weight = read_array(files.array("weight"), kinds="f", ndim=2)
    if not len(weight) == len(facts["outputs"]) == len(facts["names"]):
        raise damaged(files.folder, "holds files of different heads")
    return Head(
        weight,
        read_array(files.array("bias"), kinds="f", ndim=1),
        facts["outputs"],
        facts["names"],
        facts["mode"],
        correction,
    )


def head_key(folder: Path) -> str:
    """What the head of an audit, and everything that follows from it, was computed from."""
    return str(read_json(AuditFiles(folder).head.facts, {"key": str})["key"])


def store_head(
    folder: Path, head: Head, facts: Mapping[str, Any], oof: FloatArray | None = None
) -> None:
    """Store a head with an audit, in one step.

    Parameters
    ----------
    facts : further entries of ``head.json``, ``key`` among them.
    oof : (n, K) out-of-fold logits of the images that the head was fitted on.
    """
    arrays = {"weight": head.weight, "bias": head.bias}
    if oof is not None:
        arrays["oof"] = oof
    if head.correction is not None:
        arrays |= {name: getattr(head.correction, name) for name in CORRECTION}
    told = {"outputs": list(head.outputs), "names": list(head.names), "mode": head.mode}
    with replacing_folder(AuditFiles(folder).head.folder) as temporary:
        files = HeadFiles(temporary)
        for name, array in arrays.items():
            write_array(files.array(name), np.asarray(array, np.float32))
        write_json(files.facts, {**facts, **told})
