"""What an ensemble does to how little is enough: against each model alone, stored, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from core.audits.audit import Audit
from core.errors import InputError
from core.explain.fills import Given, filled
from core.explain.narrowing import narrowed
from core.explain.sis import SIDE, as_tensor
from core.explain.subsets import areas, grid, odds_of
from core.measures.ensemble_subsets import REMEDIES, TOGETHER
from core.measures.measure_requests import MeasureRequest
from core.models.model import Model
from core.storage.files import write_array
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore


@pytest.fixture
def pair(tiny_audit: Audit, tmp_path: Path) -> tuple[Audit, Audit]:
    """An audit, and one of the same images by a model with another head."""
    shutil.copytree(tiny_audit.folder.parents[1], tmp_path / "mine")
    workspace = Workspace(tmp_path / "mine")
    own = Audit.open(workspace, tiny_audit.id)
    twin = workspace.folder("e0e0e0e0e0e0")
    written = {str(own.folder), str(own.files.head.folder)}  # what is changed below
    shutil.copytree(own.folder, twin, ignore=lambda at, _: ["digests.json"] * (at in written))
    manifest = json.loads((twin / "manifest.json").read_text())
    (twin / "manifest.json").write_text(json.dumps({**manifest, "id": twin.name, "name": "twin"}))
    other = Audit(twin)
    noise = np.random.default_rng(3).normal(size=other.head.weight.shape)
    write_array(other.files.head.array("weight"), other.head.weight + 0.5 * noise)
    return own, Audit(twin)


def size_of(audit: Audit, models: list[Model], image_id: str, fill: str, label: str) -> float:
    """Share of an image that is enough, searched by hand."""
    pixels = audit.pixels(image_id)
    groups = grid((pixels.shape[0], pixels.shape[1]), SIDE)
    odds = odds_of([(model, np.array([audit.head.index(label)])) for model in models])
    hidden = filled(fill, Given(pixels, models[0].preprocess.mean, lambda: pixels))
    shown, blank = (as_tensor(models[0], each[None]) for each in (pixels / 255, hidden))
    with torch.no_grad():
        tau = 0.9 * float(odds(shown.float()).double().sigmoid())
    order = narrowed(odds, shown[0].float(), blank[0].float(), groups, tau)
    return float(areas(groups)[order.kept(order.size(tau))].sum())


def test_together_and_alone_are_searched_on_the_same_images(
    pair: tuple[Audit, Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.measures.ensemble_subsets.IMAGES", 3)
    own, twin = pair
    decisions = decided(own, TagStore.open(Workspace(own.folder.parents[1])))
    request = MeasureRequest(own.id, "remedies", ensemble=(twin.id,))
    table = REMEDIES.table(own, decisions, request)
    assert set(table["subject"]) - {""} == {
        *(TOGETHER, f"{own.name} alone", "twin alone"),
        *(f"against {own.name} alone", "against twin alone"),
    }
    label = own.classes[0].label
    mine = table[table["label"] == label].set_index("subject")
    for name in (own.name, "twin"):
        change = mine.loc[f"against {name} alone", "value"]
        alone = mine.loc[f"{name} alone", "value"]
        assert change == pytest.approx(mine.loc[TOGETHER, "value"] - alone)
    models = {each.id: each.load_model() for each in pair}
    facts = [
        json.loads(path.read_text())
        for path in sorted(own.folder.glob("explained/sis-00000-*/explanation.json"))
    ]
    fills = {one["of"]["image_id"]: one["facts"]["fill"] for one in facts}
    ids = list(fills)
    assert len(ids) == mine.loc[TOGETHER, "n"]
    for name, who in ((TOGETHER, list(models.values())), ("twin alone", [models[twin.id]])):
        by_hand = [size_of(own, who, i, fills[i], label) for i in ids]
        assert mine.loc[name, "value"] == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert set(mine["n"]) == {3}
    assert REMEDIES.known(own, decisions, request) is not None


def test_the_other_models_have_to_be_named() -> None:
    with pytest.raises(InputError, match="remedies needs --ensemble AUDIT"):
        MeasureRequest("a", "remedies")
