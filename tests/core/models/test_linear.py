"""The linear head and its correction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import WorkspaceError
from core.models.linear import Correction, Head, read_head
from core.storage.files import write_json


def head(rng: np.random.Generator, correction: Correction | None = None) -> Head:
    weight, bias = rng.normal(size=(3, 5)).astype(np.float32), np.zeros(3, np.float32)
    return Head(weight, bias, ["a", "b", "c"], ["a", "b", "c"], "fit", correction)


def test_a_correction_equals_its_formula_image_by_image(rng: np.random.Generator) -> None:
    read, offset = rng.normal(size=(2, 5)), rng.normal(size=2)
    write, phi = rng.normal(size=(3, 2)), rng.normal(size=(7, 5))
    plain = head(np.random.default_rng(1))
    arrays = (read.astype(np.float32), offset.astype(np.float32), write.astype(np.float32))
    corrected = head(np.random.default_rng(1), Correction(*arrays))
    slow = plain.logits(phi).astype(np.float64)
    for n in range(7):
        for m in range(2):
            above = max(float(read[m] @ phi[n] - offset[m]), 0.0)
            slow[n] -= above * write[:, m]
    np.testing.assert_allclose(corrected.logits(phi), slow, atol=1e-5)


def test_a_correction_that_never_exceeds_its_offset_changes_nothing(
    rng: np.random.Generator,
) -> None:
    phi = rng.normal(size=(4, 5))
    off = Correction(np.zeros((1, 5), np.float32), np.ones(1, np.float32), np.ones((3, 1)))
    np.testing.assert_array_equal(
        head(np.random.default_rng(1), off).logits(phi),
        head(np.random.default_rng(1)).logits(phi),
    )


def test_a_stored_correction_is_read_with_its_head(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    folder = tmp_path / "head"
    folder.mkdir()
    plain = head(rng)
    arrays = {"weight": plain.weight, "bias": plain.bias}
    write_json(
        folder / "head.json", {"outputs": plain.outputs, "names": plain.names, "mode": "fit"}
    )
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    assert read_head(tmp_path).correction is None
    parts = {"read": np.ones((2, 5)), "offset": np.zeros(2), "write": np.ones((3, 2))}
    for name, array in parts.items():
        np.save(folder / f"{name}.npy", array)
    correction = read_head(tmp_path).correction
    assert correction is not None
    for name, array in parts.items():
        np.testing.assert_array_equal(getattr(correction, name), array)
    (folder / "read.npy").unlink()
    with pytest.raises(WorkspaceError, match=r"read\.npy"):
        read_head(tmp_path)
