"""Other sets and corruptions, as views of the page Measures, and sets in the form of an audit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.evaluation_set import evaluation_sets
from core.audits.set_pass import add_sets
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.data.corruptions import CORRUPTIONS
from core.jobs import jobs
from core.measures.calibrated import CALIBRATED
from core.measures.corruption_figures import CORRUPTED
from core.measures.measure_requests import MeasureRequest
from core.measures.set_figures import SETS
from core.storage.workspace import Workspace
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Open, galleries, gallery, healthy


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: found.append(arguments))
    return found


def tagged(audit: Audit) -> Decisions:
    store = TagStore.open(Workspace(audit.folder.parent.parent))
    store.add("Ann", audit.id, CandidateKey(audit.classes[1].label, PCA, 0), Tag.SPURIOUS)
    return decided(audit, store)


def test_sets_are_added_measured_and_drawn(
    audit: Audit, opened: Open, started: list[list[str]], tmp_path: Path
) -> None:
    where = {"audit": audit.id, "view": "sets"}
    app = healthy(opened("measures", **where), "Measures")
    assert any("No further set of images yet" in text.value for text in app.markdown)
    labels = {text.label: text for text in app.text_input}
    labels["Its name"].set_value("again")
    labels["Its images"].set_value(audit.manifest.data.source)
    app.run()
    app.button(key="run-also").click().run()
    assert started == [
        AuditRequest(name=audit.name, also={"again": audit.manifest.data.source}).arguments()
    ]
    decisions = tagged(audit)
    add_sets(audit, {"again": audit.manifest.data.source}, Workspace(audit.folder.parent.parent))
    app = healthy(opened("measures", **where), "Measures")
    app.button(key="run-sets").click().run()
    assert started[1:] == [MeasureRequest(audit.id, "sets").arguments()]
    table = SETS.table(audit, decisions, MeasureRequest(audit.id, "sets"))
    app = healthy(opened("measures", **where), "Measures")
    charts = [json.loads(chart.proto.spec)["data"] for chart in app.get("plotly_chart")]
    assert [trace["name"] for trace in charts[0]][0] == "the set"
    assert charts[0][0]["y"] == ["again"]
    accuracy = table.query("measure == 'accuracy' and subject == 'again'")["value"].item()
    assert charts[0][0]["x"] == pytest.approx([accuracy])
    assert any("points [" in text.value for text in app.markdown)
    store = TagStore.open(Workspace(audit.folder.parent.parent))
    app.button(key="remove-set").click().run()
    app = healthy(app, "Measures")
    assert any("No further set of images yet" in text.value for text in app.markdown)
    assert not evaluation_sets(audit)
    assert store.current(audit.id)


def test_corruptions_are_offered_with_their_time_and_drawn(
    audit: Audit, opened: Open, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"audit": audit.id, "view": "corruptions"}
    app = healthy(opened("measures", **where), "Measures")
    assert any("min on one core without a GPU" in text.value for text in app.markdown)
    assert not galleries(app)
    app.toggle(key="w_looks").set_value(True).run()
    cells = gallery(healthy(app, "Measures"))["pictures"]
    assert [len(cells), len({cell["photo"] for cell in cells})] == [12 * 6, 12 * 5 + 1]
    assert cells[5]["caption"] == "Gaussian noise 5"
    app.button(key="run-corruptions").click().run()
    request = MeasureRequest(audit.id, "corruptions")
    assert started == [request.arguments()]
    some = {name: CORRUPTIONS[name] for name in ("contrast", "jpeg")}
    with monkeypatch.context() as patch:
        patch.setattr("core.trials.corrupted.CORRUPTIONS", some)
        CORRUPTED.table(audit, tagged(audit), request)
    for part, lines in (("accuracy", 3), ("corrupted_gap", 3), ("nll", 4)):
        app = healthy(opened("measures", **where, part=part), "Measures")
        (chart,) = app.get("plotly_chart")
        traces = json.loads(chart.proto.spec)["data"]
        assert [len(trace["x"]) for trace in traces] == [6] * lines
    assert [t["name"] for t in traces[-2:]] == ["every kind", "every kind, at the temperature"]
    CALIBRATED.table(audit, tagged(audit), MeasureRequest(audit.id, "calibration"))
    where = {"audit": audit.id, "view": "calibration", "along": "severity of corruption"}
    app = healthy(opened("measures", **where), "Measures")
    lines = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
    assert [line["x"] for line in lines] == [list("012345")] * 3


def test_the_form_of_an_audit_takes_further_sets(
    audit: Audit, opened: Open, started: list[list[str]], tmp_path: Path
) -> None:
    app = opened("new")
    next(t for t in app.text_input if t.label == "Images").set_value(audit.manifest.data.source)
    for text in (f"v2={tmp_path}\n\n../x={tmp_path}", f"v2={tmp_path}\n"):
        sets = next(t for t in app.text_area if t.label == "Further sets of images")
        sets.set_value(text)
        next(b for b in app.button if b.label == "Start").click().run()
        assert any("call a set by letters" in e.value for e in app.error) == ("../x" in text)
    assert AuditRequest.parse(started[0]).also == {"v2": str(tmp_path)}
