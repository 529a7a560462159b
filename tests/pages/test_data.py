"""The page Data: what is offered, the queue of doubted labels, copies, properties."""

from __future__ import annotations

import pandas as pd
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.quality.cheap_shortcuts import cheap_shortcuts
from core.quality.decodable import decodable
from core.quality.error_slices import COMBINATION
from core.quality.label_problems import COLUMNS
from core.quality.near_duplicates import near_duplicates
from core.storage.workspace import Workspace
from core.tags.image_verdicts import KEEP, RELABEL, ImageVerdicts
from core.tags.log import TagStore
from core.tags.saved_groups import SavedGroups
from core.types import Tag
from core.ui.data import data
from core.ui.data.data import DRAWN
from tests.pages.conftest import Open, address, galleries, gallery, healthy


@pytest.fixture
def doubted(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three images whose labels are doubted."""
    found = audit.images.reset_index()[["image_id", "label", "split"]].iloc[[0, 1, 30, 31, 50]]
    others = {"cat": "eel", "dog_*x*": "cat", "eel": "cat"}
    rows = found.assign(suggested=found["label"].map(others), confidence=0.1, margin=0.2)
    rows = rows.assign(problem=[True, True, True, False, False], by="the head")
    monkeypatch.setattr(data, "_known", lambda *_: rows[list(COLUMNS)])
    return rows["image_id"].head(3).tolist()


def test_what_is_not_looked_at_is_offered(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    app = healthy(opened("data", audit=audit.id, look_at="strategies"), "Data")
    app.button(key="run-discover").click().run()
    assert started.pop() == ["discover", audit.id]
    monkeypatch.setattr("core.ui.data.slices.lacks_strategies", lambda _: False)
    for view in DRAWN:
        app = healthy(opened("data", audit=audit.id, look_at=view), "Data")
        app.button(key=f"run-data-{view}").click().run()
    assert started == [["data", audit.id, "--what", v] for v in DRAWN]


def test_keys_say_what_becomes_of_a_label(
    audit: Audit, workspace: Workspace, opened: Open, doubted: list[str]
) -> None:
    app = healthy(opened("data", audit=audit.id), "Data")
    assert [p["image_id"] for p in gallery(app)["pictures"]] == doubted[:1]
    app = healthy(app.button(key=f"verdict-{RELABEL}").click().run(), "Data")
    assert address(app)["doubt"] == "2"
    app = healthy(app.button(key=f"verdict-{KEEP}").click().run(), "Data")
    said = ImageVerdicts(TagStore.open(workspace)).standing(audit.id)
    assert [(e.image_id, e.verdict, e.label) for e in said] == [
        (doubted[0], RELABEL, "eel"),
        (doubted[1], KEEP, None),
    ]
    app = healthy(app.button(key="doubt-left").click().run(), "Data")
    assert "2 of 3" in next(m.value for m in app.markdown if " of 3" in m.value)
    healthy(app.button(key=f"verdict-{KEEP}").click().run(), "Data")
    said = ImageVerdicts(TagStore.open(workspace)).standing(audit.id)
    assert [e.image_id for e in said] == doubted[:1]


def test_doubts_stand_beside_tagged_cues(
    audit: Audit, workspace: Workspace, opened: Open, doubted: list[str]
) -> None:
    TagStore.open(workspace).add("ann", audit.id, CandidateKey("cat", PCA, 0), Tag.SPURIOUS)
    app = healthy(opened("data", audit=audit.id), "Data")
    assert "of those looked at, wrong" in app.table[0].value.columns


def test_copies_and_properties(audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    copies, told = near_duplicates(audit), cheap_shortcuts(audit)
    app = healthy(opened("data", audit=audit.id, look_at="copies"), "Data")
    assert any("snow" in m.value and "2 of 2 values" in m.value for m in app.markdown)
    assert (not copies.empty) == bool(galleries(app))
    app = healthy(opened("data", audit=audit.id, look_at="shortcuts"), "Data")
    assert len(app.table[0].value) == len(told) - 1  # all together stand above it
    assert any("together tell the label of" in m.value for m in app.markdown)
    assert "snow (attribute)" in app.table[0].value.index
    assert decodable(audit)["attribute"].tolist() == ["snow"]
    app = healthy(opened("data", audit=audit.id, look_at="attributes"), "Data")
    assert app.table[0].value.index.tolist() == ["snow = 1"]


def test_slices_say_where_a_class_errs(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = audit.images.index[audit.images["label"] == "cat"][:3].tolist()
    row = {"label": "cat", "errs": 0.6, "rest": 0.1, "low": 0.2, "high": 0.8, "certain": True}
    row |= {"n": 3, "judged": 2, "component": 1, "shows": "shows less", "auroc": 0.1}
    table = pd.DataFrame([{**row, "words": "snow: 1", "image_ids": ids}])
    monkeypatch.setattr(data, "_known", lambda *_: table)
    app = healthy(opened("data", audit=audit.id, look_at="slices"), "Data")
    said = next(m.value for m in app.markdown if "3 images" in m.value)
    assert "60 % wrong, the rest of the class 10 %" in said
    assert "shows less of component 2" in said
    assert [p["image_id"] for p in gallery(app)["pictures"]] == ids
    by = table[list(COMBINATION)].assign(words="snow: 1 and site: *a*")
    monkeypatch.setattr(data, "_known", lambda *_: by)
    app = healthy(opened("data", audit=audit.id, look_at="combinations"), "Data")
    assert any("one value of an attribute, or two at once, errs" in m.value for m in app.markdown)
    assert any(r"In words: snow: 1 and site: \*a\*" in m.value for m in app.markdown)
    assert any("errs by construction" in c.value for c in app.caption)
    grouped = by.assign(words="", number=2, space="heatmap")
    monkeypatch.setattr(data, "_known", lambda *_: grouped)
    monkeypatch.setattr("core.ui.data.slices.lacks_strategies", lambda _: False)
    app = healthy(opened("data", audit=audit.id, look_at="strategies"), "Data")
    assert any("They are cluster 3, by places." in m.value for m in app.markdown)
    monkeypatch.setattr(data, "_known", lambda *_: by.head(0))
    for view, why in (("attributes", "at least 10 images have it"), ("slices", "No class has")):
        app = healthy(opened("data", audit=audit.id, look_at=view), "Data")
        assert any(why in m.value for m in app.markdown)


def test_a_group_is_saved_and_sliced_by(
    audit: Audit, workspace: Workspace, opened: Open, doubted: list[str]
) -> None:
    app = healthy(opened("data", audit=audit.id), "Data")
    app.text_input(key="group-name-doubted").set_value("a *star* <b>")
    healthy(app.button(key="group-save-doubted").click().run(), "Data")
    groups = SavedGroups(TagStore.open(workspace))
    assert set(groups.standing(audit.id)["a *star* <b>"].image_ids or ()) == set(doubted)
    view = {"look_at": "groups", "saved": "a *star* <b>"}
    app = healthy(opened("data", audit=audit.id, **view), "Data")
    assert {p["image_id"] for p in gallery(app)["pictures"]} == set(doubted)
    assert address(app)["saved"] == "a *star* <b>"
    app = healthy(opened("map", audit=audit.id, saved="a *star* <b>"), "Map of the images")
    assert "3 images selected" in [s.value for s in app.subheader]
    colours = app.selectbox(key="w_colour").options
    assert any("group a" in str(option) for option in colours)
    app = healthy(opened("data", audit=audit.id, **view), "Data")
    next(b for b in app.button if b.label == "Take the group back").click().run()
    assert groups.standing(audit.id) == {}
    assert "No group yet" in " ".join(m.value for m in healthy(app, "Data").markdown)


def test_many_tagged_classes_are_placed_when_asked(
    audit: Audit,
    workspace: Workspace,
    opened: Open,
    doubted: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    TagStore.open(workspace).add("ann", audit.id, CandidateKey("cat", PCA, 0), Tag.SPURIOUS)
    monkeypatch.setattr(data, "AT_ONCE", 0)
    app = healthy(opened("data", audit=audit.id), "Data")
    assert not app.table
    app = healthy(app.toggle(key="w_tenths").set_value(True).run(), "Data")
    assert any("tenth" in str(place) for place in app.table[0].value.index)
    assert address(app)["tenths"] == "1"
