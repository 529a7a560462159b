"""What shape and texture alone are enough for, as rows, and which of the two a cue is in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.measures.measure import ONE
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.measures.prior_figures import APART, prior_rows
from core.measures.registry import MEASURES
from core.measures.rows import as_table
from core.tags.decisions import Decisions, Tagged, decided
from core.tags.log import TagStore
from core.trials.priors import PRIORS, labels_looked_at, priors_of
from tests.core.conftest import unmeasured, workspace_of


def test_a_planted_colour_is_in_the_texture(
    planted: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = unmeasured(planted, tmp_path / "afresh")
    where = workspace_of(audit)
    asked = ["measure", audit.name, "--what", "priors", "--json", "--workspace", str(where.root)]
    assert main(asked) == 0
    said = json.loads(capsys.readouterr().out)
    decisions = decided(audit, TagStore.open(where))
    table = ON_DEMAND["priors"].known(audit, decisions, MeasureRequest(audit.id, "priors"))
    assert table is not None
    assert len(said["measures"]) == len(table)
    rows = table.set_index(["label", "measure", "subject"])
    values = rows["value"]
    assert values["", "prior_accuracy", "head on texture alone"] > 0.75
    assert values["", "prior_accuracy", "head on shape alone"] < 0.45
    same = ("", "prior_agreement", "model on whole images x head on texture alone")
    assert values[same] > 0.9
    assert rows.loc[same, "note"].startswith("by chance 3")
    (apart,) = table[table["subject"] == APART].to_dict("records")
    assert (apart["label"], apart["unit"]) == ("leaf", "points")
    assert apart["low"] > 0
    assert apart["reading"] == "the cue is in the texture rather than in the shape"
    parts = {name: values["leaf", "prior_gap", f"head on {name} alone"] for name in PRIORS}
    assert apart["value"] == pytest.approx(parts["texture"] - parts["shape"])

    queue = said["images"]
    assert 60 < len(queue) < 180
    assert all(image["shape_head"] != image["texture_head"] for image in queue)

    found = priors_of(labels_looked_at(audit, decisions)).known(audit)
    assert found is not None
    untagged = Decisions(Tagged(audit, {}), Tagged(audit, {}))
    assert set(as_table(prior_rows(audit, untagged, found))["measure"]) == {
        "prior_accuracy",
        "prior_agreement",
    }


def test_what_is_on_demand_can_be_asked_for_and_is_waited_for_by_nothing() -> None:
    owned = {m.measured_with for m in MEASURES.values() if m.measured_with in ON_DEMAND}
    assert {"priors", "agreement"} <= owned
    assert all(ONE not in m.views for m in MEASURES.values() if m.measured_with in ON_DEMAND)
    words = str(MeasureRequest.__dataclass_fields__["what"].metadata)
    assert [name for name in ON_DEMAND if name not in words] == []
