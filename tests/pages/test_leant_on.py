"""What the model leans on by construction, as a view of the page Measures."""

from __future__ import annotations

import json

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.types import Tag
from core.ui.kit.text import drawn
from tests.pages.conftest import Open, address, gallery, healthy

PARTS = ("priors", "agreement", "universal")


def test_each_part_is_offered_measured_and_drawn(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    where = {"audit": audit.id, "view": "priors"}
    app = healthy(opened("measures", **where, part="agreement"), "Measures")
    assert any("No cue is tagged as spurious yet" in text.value for text in app.markdown)
    app = healthy(opened("measures", **where, part="evidence"), "Measures")
    assert any("Evidence cannot be shared out" in text.value for text in app.markdown)
    assert any("no masks of object parts" in text.value for text in app.markdown)
    store = TagStore.open(Workspace(audit.folder.parent.parent))
    label = audit.classes[1].label
    store.add("Ann", audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS)
    for part in PARTS:
        app = healthy(opened("measures", **where, part=part), "Measures")
        assert any("Not measured with these tags yet" in text.value for text in app.markdown)
        app.button(key=f"run-{part}").click().run()
    assert started == [MeasureRequest(audit.id, part).arguments() for part in PARTS]

    decisions, tables = decided(audit, store), {}
    for part in PARTS:
        demand = ON_DEMAND[part]
        tables[part] = demand.table(audit, decisions, MeasureRequest(audit.id, part))
    app = healthy(opened("measures", **where), "Measures")
    charts = [json.loads(chart.proto.spec)["data"] for chart in app.get("plotly_chart")]
    assert [len(chart) for chart in charts] == [3, 4]
    assert charts[0][0]["y"] == ["all classes", *(facts.name for facts in audit.classes)]
    shown = gallery(app, 0)["pictures"]
    assert all(cell["badge"].startswith("shape ") for cell in shown)
    (html,) = [h.proto.body for h in app.get("html") if "<table" in h.proto.body]
    assert html.count("<tr") == 1 + len(tables["priors"])

    app = healthy(opened("measures", **where, part="agreement"), "Measures")
    assert address(app)["part"] == "agreement"
    (chart,) = app.get("plotly_chart")
    scores = tables["agreement"].query("measure == 'agreement_score'")
    assert len(json.loads(chart.proto.spec)["data"]) == len(
        scores["subject"].str.rpartition(", ")[0].unique()
    )
    app = healthy(opened("measures", **where, part="universal"), "Measures")
    (chart,) = app.get("plotly_chart")
    names = {trace["name"] for trace in json.loads(chart.proto.spec)["data"]}
    assert {drawn("a patch of 4 % of the image"), "a random perturbation"} <= names
