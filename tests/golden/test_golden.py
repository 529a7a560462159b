"""Audits made by an earlier commit: they open, say what they said, resume and extend."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.audits.audit import Audit
from core.storage.workspace import Workspace
from tests.golden import make

NAMES = sorted(path.stem for path in make.EXPECTED.glob("*.json"))


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What every command says of the stored audits; no model is at hand."""

    def no_model(*_: object, **__: object) -> None:
        raise AssertionError("goldens come from what is stored")

    with pytest.MonkeyPatch.context() as patch, make.opened() as root:
        patch.setattr("core.models.load.load_model", no_model)
        answers = make.answers(root / "workspace")
    return json.loads(json.dumps(answers))


EXACT = 1e-12
SINGLE = {"compare": 1e-5, "export-features": 1e-5, "export-heatmaps": 1e-5}
"""What comes from products in single precision, whose last bits the processor decides."""


def differences(old: Any, new: Any, tolerance: float = EXACT, where: str = "") -> Iterator[str]:
    """Where two documents differ; numbers by more than the tolerance, of their size or of one."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if key not in old or key not in new:
                yield f"{where}/{key}: only {'once' if key in old else 'now'}"
            else:
                yield from differences(old[key], new[key], tolerance, f"{where}/{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} entries, now {len(new)}"
        for i, (a, b) in enumerate(zip(old, new, strict=False)):
            yield from differences(a, b, tolerance, f"{where}/{i}")
    elif isinstance(old, float) or isinstance(new, float):
        same = isinstance(old, int | float) and isinstance(new, int | float)
        if not same or not math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{where}: {old!r}, now {new!r}"
    elif old != new:
        yield f"{where}: {old!r}, now {new!r}"


def test_everything_that_is_said_is_expected(said: dict[str, Any]) -> None:
    assert sorted(said) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_has_not_changed(said: dict[str, Any], name: str) -> None:
    expected = json.loads((make.EXPECTED / f"{name}.json").read_text("utf-8"))
    found = differences(expected, said[name], SINGLE.get(name, EXACT))
    assert list(found)[:10] == []


def test_a_difference_is_noticed() -> None:
    assert list(differences({"a": [1.0, 2]}, {"a": [1.0 + 1e-9, 2]})) == [
        "/a/0: 1.0, now 1.000000001"
    ]
    assert list(differences({"a": 1.0}, {"a": 1.0 + 1e-14})) == []
    assert list(differences([1], [1, 2])) == [": 1 entries, now 2"]


@pytest.fixture
def root() -> Iterator[Path]:
    """The stored workspace and its images, with the network at hand."""
    with make.opened() as root:
        yield root


def first(root: Path) -> Audit:
    return Audit.open(Workspace(root / "workspace"), "first")


def again(root: Path) -> Audit:
    make.run(root / "workspace", "audit", "--data", str(root / "data" / "manifest.csv"),
             "--model", "tiny:0", "--name", "first", *make.SETTINGS)  # fmt: skip
    return first(root)


def test_an_old_audit_resumes_where_something_is_missing(root: Path) -> None:
    audit = first(root)
    ids = audit.images.index.tolist()
    features, basis = audit.features(ids), np.array(audit.class_arrays(0).pca.basis)
    shutil.rmtree(audit.folder / "shards")
    shutil.rmtree(audit.folder / "classes")
    (audit.folder / "summary.json").unlink()
    resumed = again(root)
    np.testing.assert_allclose(resumed.features(ids), features, rtol=1e-4, atol=1e-5)
    assert abs(resumed.class_arrays(0).pca.basis[:, 0] @ basis[:, 0]) > 0.99


def test_an_old_audit_extends_by_what_is_new(root: Path) -> None:
    before, data = first(root), root / "data"
    images, shards = len(before.images), len(before.store.shards)
    shutil.copy(data / "0-00.jpg", data / "new.jpg")
    with (data / "manifest.csv").open("a") as manifest:
        manifest.write("new.jpg,ant,test,0-00-mask.png,1\n")
    after = again(root)
    assert (len(after.images), len(after.store.shards)) == (images + 1, shards + 1)
