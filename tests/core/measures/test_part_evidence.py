"""Evidence on annotated object parts: masks of parts are read, and share a map out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.data.open import open_data
from core.data.table import mask_columns, part_of
from core.errors import InputError
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.storage.workspace import Workspace
from core.tags.decisions import Decisions, Tagged, decided
from core.tags.log import TagStore
from core.types import Tag
from tests.conftest import tiny_request
from tests.core.audits import test_planted
from tests.core.conftest import RED


@pytest.fixture
def parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """The planted data whose patch and square are annotated as parts; the patch is tagged."""
    monkeypatch.setattr(test_planted, "N", {"train": 40, "test": 24})
    manifest = test_planted.draw_data(tmp_path / "data")
    rows = pd.read_csv(manifest)
    rows["part_mask_red_patch"] = rows["cue_mask"].fillna("")
    rows["part_mask_square"] = (str(tmp_path / "data") + "/" + rows["object_mask"]).fillna("")
    rows.drop(columns=["cue_mask", "object_mask"]).to_csv(manifest, index=False)
    request = tiny_request(manifest, model="tiny:white-box", name="parted", batch_size=64)
    audit = run_audit(request, Workspace(tmp_path / "workspace"))
    store = TagStore.open(Workspace(tmp_path / "workspace"))
    store.add("ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS)
    return audit


def test_masks_of_parts_are_columns_of_their_own(parted: Audit) -> None:
    assert parted.summary.attributes == ("patch",)
    columns = ["part_mask_red_patch", "part_mask_square"]
    assert mask_columns(parted.images.columns) == columns
    assert [part_of(column) for column in columns] == ["red patch", "square"]
    given = parted.images["part_mask_square"]
    assert set(given[given != ""].str.startswith("masks/")) == {True}
    notes = " ".join(parted.summary.notes)
    assert "Inside a mask (part_mask_red_patch) is" in notes
    assert "part_mask_" in mask_columns(["path", "part_mask_a"])[0]
    assert mask_columns(["part_mask_", "cue_mask", "x"]) == ["cue_mask"]


def test_evidence_is_shared_out_and_held_against_the_area(parted: Audit) -> None:
    store = TagStore.open(Workspace(parted.folder.parent.parent))
    decisions, demand = decided(parted, store), ON_DEMAND["evidence"]
    table = demand.table(parted, decisions, MeasureRequest(parted.id, "evidence"))
    rows = table[table["label"] == "leaf"].set_index("subject")
    (candidate,) = decisions.spurious.keys_of["leaf"]
    called = decisions.names.written(candidate)
    neuron, square = f"red patch, {called}", f"square, {called}"
    assert rows.loc[neuron, "value"] > 0.8
    assert rows.loc[neuron, "reading"] == "more than its area"
    assert rows.loc[neuron, "note"].startswith("the part covers 6 % of these images")
    assert rows.loc["red patch, the class", "value"] > 0.06
    assert rows.loc[square, "value"] < rows.loc[neuron, "value"]
    untagged = Decisions(Tagged(parted, {}), Tagged(parted, {}))
    alone = demand.table(parted, untagged, MeasureRequest(parted.id, "evidence"))
    assert set(alone["subject"]) == {"red patch, the class", "square, the class"}
    same = alone[alone["label"] == "leaf"].set_index("subject")["value"]
    np.testing.assert_allclose(same, rows.loc[same.index, "value"])


def test_without_masks_of_parts_it_says_what_to_add(planted: Audit) -> None:
    untagged = Decisions(Tagged(planted, {}), Tagged(planted, {}))
    with pytest.raises(InputError, match="add a column part_mask_NAME for every part"):
        ON_DEMAND["evidence"].table(planted, untagged, MeasureRequest(planted.id, "evidence"))


def test_a_mask_of_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    text = "path,label,part_mask_wheel\na.png,x,gone.png\nb.png,y,\n"
    (tmp_path / "m.csv").write_text(text)
    table = open_data(str(tmp_path / "m.csv"), workspace=tmp_path / "w")
    assert table.attributes == ()
    assert table.frame["part_mask_wheel"].tolist() == ["gone.png", ""]
