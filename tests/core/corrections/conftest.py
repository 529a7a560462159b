"""The white box, whose class "leaf" leans on a red patch, audited and tagged; its corrections."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.corrections.corrected import effect_table
from core.corrections.derived import Corrected
from core.corrections.methods import METHODS, Method
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.corrections.task import Task
from core.storage.files import write_frame
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Progress, Tag
from tests.core.audits import test_planted
from tests.core.conftest import GREEN, RED

N = 60
QUICK: dict[str, Any] = {"pictures": False}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspace with the audit "planted 0.7", the patch tagged spurious; to be copied."""
    root = tmp_path_factory.mktemp("mitigation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": N, "test": N})
        audit = test_planted.audited(root, 0.7)
    store = TagStore.open(Workspace(root / "workspace"))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, GREEN), Tag.CORE)
    store.add("ann", audit.id, CandidateKey("pond", PCA, 0), Tag.SPURIOUS)
    return audit.folder.parent.parent


@pytest.fixture
def unfitted_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of a sweep start from the head as it is, which fits no probe."""
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(prepared, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def parent(workspace: Workspace) -> Audit:
    return Audit.open(workspace, workspace.manifests()[0].name)


def run(workspace: Workspace, parent: Audit, method: str = "rrclarc", **more: Any) -> Audit:
    given = {"name": "fixed", "classes": ("leaf",), **more}
    return run_mitigation(MitigateRequest(parent.name, method, **given), workspace)


def cell(audit: Audit, name: str, label: str = "leaf") -> pd.Series:
    table = effect_table(audit)
    rows = table[(table["measure"] == name) & (table["label"] == label)]
    assert len(rows) == 1
    return rows.iloc[0]


class Shifted:
    """A method of the network: every weight of the encoder a little larger."""

    def __call__(self, task: Task, report: Any) -> Corrected:
        report(Progress("Training", 1, 1, "epochs", "loss 0.1"))
        state = task.parent.load_model(exported=True).network.state_dict()
        grown = {n: 1.1 * v for n, v in state.items() if not n.startswith("fc")}
        return Corrected(
            task.parent.head, grown, {"strength": 1.0, "history": [{"loss": 0.3}, {"loss": 0.1}]}
        )


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered method of the network."""
    made = Method(
        name="shifted",
        title="Shifted",
        train=Shifted(),
        strengths=(0, 1),
        published=1,
        source="here",
        remark="None.",
    )
    monkeypatch.setattr(METHODS, "_found", {**METHODS, "shifted": made})


@pytest.fixture
def trainable(network: None, workspace: Workspace, parent: Audit) -> Audit:
    """The parent with an object mask for every image: everything but a corner."""
    from PIL import Image

    mask = np.full((32, 32), 255, np.uint8)
    mask[:8, :8] = 0
    Image.fromarray(mask).save(parent.root / "object.png")
    path = parent.folder / "images.parquet"
    rows = pd.read_parquet(path)
    rows["object_mask"] = "object.png"
    write_frame(path, rows)
    return Audit(parent.folder)
