"""Calibration and what looks anomalous, as views of the page Measures."""

from __future__ import annotations

import json

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.measures.calibrated import CALIBRATED
from core.measures.measure_requests import MeasureRequest
from core.measures.ood import OOD
from core.statistics.anomaly import TITLES
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Open, healthy


@pytest.mark.parametrize("view", ["calibration", "ood"])
def test_it_is_measured_by_a_job(
    view: str, audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    app = healthy(opened("measures", audit=audit.id, view=view), "Measures")
    assert any("Not measured with these tags yet" in m.value for m in app.markdown)
    app.button(key=f"run-{view}").click().run()
    assert started == [["measure", audit.id, "--what", view]]


def test_figures_and_tables(audit: Audit, opened: Open) -> None:
    store = TagStore.open(Workspace(audit.folder.parent.parent))
    for facts in audit.classes:
        store.add("Ann", audit.id, CandidateKey(facts.label, PCA, 0), Tag.SPURIOUS)
    found = decided(audit, store)
    table = CALIBRATED.table(audit, found, MeasureRequest(audit.id, "calibration"))
    app = healthy(opened("measures", audit=audit.id, view="calibration"), "Measures")
    titles = ["Accuracy", "Mean confidence", "Calibration error", "NLL", "Brier score"]
    assert [m.label for m in app.metric] == titles
    curve = json.loads(app.get("plotly_chart")[-1].proto.spec)["data"]
    bins = table[table["measure"] == "bin_accuracy"]
    shown = bins["subject"].str.startswith("all")
    assert sum(curve[0]["customdata"]) == bins.loc[shown, "n"].sum() == audit.held_out.sum()
    app = healthy(opened("measures", audit=audit.id, view="calibration", along="snow"), "Measures")
    line = json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]
    by = table[table["measure"] == "accuracy"].set_index("subject")["value"]
    assert dict(zip(line["x"], line["y"], strict=True)) == pytest.approx(
        {"0": by["snow=0"], "1": by["snow=1"]}
    )
    app.selectbox(key="w_along").set_value("severity of corruption").run()
    assert any(
        "the view Corruptions offers it" in c.value for c in healthy(app, "Measures").caption
    )
    OOD.table(audit, found, MeasureRequest(audit.id, "ood"))
    app = healthy(opened("measures", audit=audit.id, view="ood"), "Measures")
    lines = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    assert [line["name"] for line in lines] == list(TITLES.values())
    assert any("random directions" in c.value for c in app.caption)
