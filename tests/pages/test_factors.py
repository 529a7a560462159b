"""What the model decides by, as a view of the page Measures."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.measures.factors import factor_table
from core.measures.measure_requests import FactorsRequest
from core.storage.files import write_frame
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Open, healthy


def test_it_is_measured_by_a_job(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    app = healthy(opened("measures", audit=audit.id, view="factors"), "Measures")
    assert any("Not measured yet" in m.value for m in app.markdown)
    app.button(key="run-factors").click().run()
    label = audit.classes[1].label
    app = healthy(opened("measures", audit=audit.id, view="factors", of=label), "Measures")
    app.button(key="run-factors").click().run()
    assert started == [["factors", audit.id], ["factors", audit.id, "--class", label]]
    assert started[1] == FactorsRequest(audit.id, label).arguments()


def test_numbers_figure_and_table(audit: Audit, opened: Open) -> None:
    table = factor_table(audit)
    app = healthy(opened("measures", audit=audit.id, view="factors"), "Measures")
    titles = [m.label for m in app.metric]
    assert titles == ["By shape", "By texture", "By background", "Shape bias", "Background gap"]
    main = table[table["measure"] == "decided_by"]
    assert [m.value for m in app.metric[:3]] == [f"{v:.2f}" for v in main["value"]]
    assert [m.delta for m in app.metric[:3]] == [
        f"{low:.2f} to {high:.2f}" for low, high in zip(main["low"], main["high"], strict=True)
    ]
    (chart,) = app.get("plotly_chart")
    effects, interactions = json.loads(chart.proto.spec)["data"]
    assert effects["y"] == ["shape", "texture", "background"]
    assert len(interactions["y"]) == 4
    (shown,) = [h.proto.body for h in app.get("html") if "<table" in h.proto.body]
    assert shown.count("<tr") == 1 + len(table)
    assert "Direction: in [-1, 1]; positive: the model decides by it" in shown
    assert "Source: Xiao et al. 2021" in shown


def test_without_masks_it_says_so_and_offers_nothing(audit: Audit, opened: Open) -> None:
    path = audit.folder / "images.parquet"
    write_frame(path, pd.read_parquet(path).drop(columns="object_mask"))
    app = healthy(opened("measures", audit=audit.id, view="factors"), "Measures")
    assert any("Object masks are missing" in m.value for m in app.markdown)
    assert any("add the column object" in m.value for m in app.markdown)
    assert "run-factors" not in [b.key for b in app.button]


def test_tags_have_no_part_in_it(audit: Audit, opened: Open) -> None:
    app = healthy(opened("measures", audit=audit.id, view="factors"), "Measures")
    assert not app.info
    label = audit.classes[0].label
    TagStore.open(workspace_of(audit)).add(
        "Ann", audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS
    )
    app = healthy(opened("measures", audit=audit.id, view="factors"), "Measures")
    assert any("Not measured yet" in m.value for m in app.markdown)


def workspace_of(audit: Audit) -> Workspace:
    return Workspace(audit.folder.parent.parent)
