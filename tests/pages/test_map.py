from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.audits.audit import Audit
from core.audits.map import read_map
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from core.ui.map import map as maps
from tests.pages.conftest import (
    Open,
    address,
    gallery,
    healthy,
    scatter,
    scatters,
    send,
    trigger,
)

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Map of the images"
COMMAND = """
import argparse, sys
import numpy as np
import core.audits.map
from core.audits.audit_requests import MapRequest
from core.commands import maps as map_commands
from core.storage.workspace import Workspace

core.audits.map.umap_plane = lambda values, seed, report: np.asarray(values[:, :2], np.float32)
parser = argparse.ArgumentParser()
MapRequest.add_arguments(parser)
parser.add_argument("--workspace")
parser.add_argument("--job")
options = parser.parse_args(sys.argv[2:])
map_commands.run(options, Workspace(__import__("pathlib").Path(options.workspace)))
"""
"""Runs the command of a job with a UMAP that takes no time."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "command.py").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, str(tmp_path / "command.py")))


def select(app: AppTest, ids: list[str]) -> AppTest:
    """Run the page as it is after a lasso."""
    (proto,) = scatters(app)
    return trigger(app, proto, "selected", {"ids": ids, "turn": "|".join(ids)})


def ids_of(audit: Audit, label: str) -> list[str]:
    return audit.class_arrays(audit.class_facts(label).class_idx).image_ids


def words(app: AppTest) -> str:
    return "\n".join(e.value for e in (*app.markdown, *app.caption, *app.subheader, *app.info))


def test_small_map_is_there_at_once_by_pca(audit: Audit, opened: Open) -> None:
    app = healthy(opened("map", audit=audit.id), TITLE)
    points = scatter(app)["points"]
    assert points["id"].tolist() == audit.images.index.tolist()
    assert not points["chosen"].any()
    assert "66 of 66 images shown" in words(app)
    assert app.button(key="map_begin").label == "Compute UMAP"
    assert app.button(key="map_clear").disabled
    found = read_map(audit)
    assert found is not None
    assert found.umap is None


def test_deep_link_restores_the_view(audit: Audit, opened: Open) -> None:
    view = {"scope": "psi:eel", "projection": "umap", "colour": "alpha", "component": "pca-1"}
    app = healthy(opened("map", audit=audit.id, **view), TITLE)
    assert app.selectbox(key="w_scope").value == "psi:eel"
    assert app.selectbox(key="w_component").value == "pca-1"
    assert scatter(app)["points"]["id"].tolist() == ids_of(audit, "eel")
    assert scatter(app)["title"] == "α of component 2"
    assert address(app) == {"audit": audit.id, **view}


def test_invalid_parameters_fall_back(audit: Audit, opened: Open) -> None:
    wrong = {"scope": "psi:<b>", "projection": "pca", "colour": "x", "component": "pca-99"}
    app = healthy(opened("map", audit=audit.id, **wrong), TITLE)
    assert address(app)["scope"] == "features"
    assert address(app)["projection"] == "pca"
    assert address(app)["colour"] == "class"


@pytest.mark.parametrize(
    ("colour", "title"),
    [
        ("class", "Class"),
        ("prediction", "Prediction"),
        ("correct", "Prediction is"),
        ("attribute:snow", "snow"),
        ("alpha", "α of component 1"),
        ("spuriosity", "Spuriosity"),
    ],
)
def test_every_colour_is_drawn(audit: Audit, opened: Open, colour: str, title: str) -> None:
    more = {"component": "pca-0", "class_": "eel"} if colour == "alpha" else {}
    app = healthy(opened("map", audit=audit.id, colour=colour, **more), TITLE)
    data = scatter(app)
    assert data["title"] == title
    assert data["points"]["colour"].max() < len(data["palette"])


def test_group_is_told_apart_and_can_be_tagged(audit: Audit, opened: Open) -> None:
    app = opened("map", audit=audit.id)
    arrays = audit.class_arrays(audit.class_facts("eel").class_idx)
    strongest = np.argsort(-np.asarray(arrays.alpha[:, 1]))[:8]
    eels = [arrays.image_ids[i] for i in strongest]
    cats = ids_of(audit, "cat")[:2]
    select(app, [*eels, *cats])
    healthy(app, TITLE)
    assert "10 images selected" in words(app)
    assert "eel 8 of 22 · cat 2 of 22" in words(app)
    assert app.selectbox(key="w_group").value == "eel"
    assert "show **more of component 2** (AUROC 1.00)" in words(app)
    data = gallery(app)
    assert data["cards"][0]["name"] == "pca-1"
    assert data["cards"][0]["facts"].startswith("the group shows more of it · AUROC 1.00")
    shown = {p["image_id"] for p in data["cards"][0]["pictures"]}
    assert shown == set(eels)
    assert all(
        "/pca/1" in p["overlay"] or "pca" in p["overlay"] for p in data["cards"][0]["pictures"]
    )
    assert len(data["cards"]) <= 5
    points = scatter(app)["points"]
    assert set(points.loc[points["chosen"], "id"]) == {*eels, *cats}
    send(app, "tagged", "pca-1/spurious")
    (saved,) = TagStore.open(Workspace(audit.folder.parent.parent)).current(audit.id)
    assert (saved.label, saved.component, saved.tag) == ("eel", 1, Tag.SPURIOUS)


def test_neurons_and_other_classes_can_be_asked_for(audit: Audit, opened: Open) -> None:
    app = opened("map", audit=audit.id, kind="neuron")
    ids = [*ids_of(audit, "eel")[:5], *ids_of(audit, "cat")[:4]]
    select(app, ids)
    assert all(c["name"].startswith("neuron-") for c in gallery(app)["cards"])
    app.selectbox(key="w_group").select("cat").run()
    assert "4 images against the other 18 of the class" in words(app)


@pytest.mark.parametrize("n", [2, 20, 22])
def test_too_few_on_either_side_is_a_sentence(audit: Audit, opened: Open, n: int) -> None:
    app = opened("map", audit=audit.id)
    healthy(select(app, ids_of(audit, "eel")[:n]), TITLE)
    assert f"Of eel, {n} images are selected and {22 - n} are not" in words(app)
    assert "at least 3 on either side" in words(app)
    assert len(gallery(app)["pictures"]) == min(n, 12)


def test_names_are_text_and_not_markup(audit: Audit, opened: Open) -> None:
    app = opened("map", audit=audit.id)
    healthy(select(app, ids_of(audit, "dog_*x*")[:6]), TITLE)
    assert r"selected images of dog\_\*x\* differ" in words(app)


def test_selection_is_cleared_by_the_button(audit: Audit, opened: Open) -> None:
    app = select(opened("map", audit=audit.id), ids_of(audit, "eel")[:6])
    assert scatter(app)["points"]["chosen"].sum() == 6
    app.button(key="map_clear").click().run()
    assert "images selected" not in words(app)
    assert not scatter(app)["points"]["chosen"].any()


def test_selection_of_another_scope_is_not_shown(audit: Audit, opened: Open) -> None:
    app = select(opened("map", audit=audit.id), ids_of(audit, "eel")[:6])
    app.selectbox(key="w_scope").select("psi:eel").run()
    healthy(app, TITLE)
    assert "images selected" not in words(app)


@pytest.mark.usefixtures("command")
def test_umap_is_computed_by_a_job_and_then_drawn(audit: Audit, opened: Open) -> None:
    app = opened("map", audit=audit.id, scope="psi:eel")
    app.button(key="map_begin").click().run()
    (job,) = jobs.jobs(Workspace(audit.folder.parent.parent))
    assert job.arguments == ["map", audit.id, "--class", "eel"]
    assert not [b for b in app.button if b.key == "map_begin"]  # its progress instead
    deadline = time.monotonic() + 60
    while job.active and time.monotonic() < deadline:
        time.sleep(0.1)
        job = jobs.read(Workspace(audit.folder.parent.parent), job.id)
    assert job.state == "finished", job.message
    healthy(app.run(), TITLE)
    assert "UMAP: neighbours are similar" in words(app)
    assert not [b for b in app.button if b.key == "map_begin"]


def test_failed_job_says_why_and_can_be_started_again(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", "raise SystemExit('no room left')"))
    app = opened("map", audit=audit.id)
    app.button(key="map_begin").click().run()
    workspace = Workspace(audit.folder.parent.parent)
    deadline = time.monotonic() + 60
    while jobs.jobs(workspace)[0].active and time.monotonic() < deadline:
        time.sleep(0.1)
    app.run()
    assert app.error[0].value == "no room left"
    assert not app.button(key="map_begin").disabled


def test_large_audit_waits_for_the_job(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "AT_ONCE", 10)
    app = healthy(opened("map", audit=audit.id), TITLE)
    assert "No map yet" in words(app)
    assert app.button(key="map_begin").label == "Compute the map"
    assert not scatters(app)
    assert not audit.files.map_of(None).folder.exists()


def test_presentation_draws_and_writes_nothing(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("map", audit=audit.id), TITLE)
    assert len(scatter(app)["points"]) == 66
    assert not [b for b in app.button if b.key == "map_begin"]
    assert not audit.files.map_of(None).folder.parent.exists()


def test_no_audit_yet(empty: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = opened("map")
    assert not app.exception
    assert [t.value for t in app.title] == ["Spurioscope"]


def test_spuriosity_colours_the_tagged_classes(audit: Audit, opened: Open) -> None:
    app = healthy(opened("map", audit=audit.id, colour="spuriosity"), TITLE)
    assert "No class has a cue that is tagged as spurious yet" in words(app)
    store = TagStore.open(Workspace(audit.folder.parent.parent))
    store.add("Ada", audit.id, CandidateKey("eel", PCA, 0), Tag.SPURIOUS)
    healthy(app.run(), TITLE)
    assert "No class has a cue" not in words(app)
    assert scatter(app)["entries"] == [["#646870", "none (44)"]]


def test_ids_that_are_not_on_the_map_are_left_out(audit: Audit, opened: Open) -> None:
    app = opened("map", audit=audit.id)
    eels = ids_of(audit, "eel")[:4]
    select(app, [*reversed(eels), "0" * 16, "<b>"])
    healthy(app, TITLE)
    assert "4 images selected" in words(app)
    assert app.session_state[maps.SELECTED]["ids"] == eels
    assert scatter(app)["answered"].endswith("<b>")  # the browser may trust these data
    healthy(select(app, []), TITLE)  # a line around nothing selects nothing
    assert "images selected" not in words(app)


def test_click_on_a_point_opens_its_image(audit: Audit, opened: Open) -> None:
    app = opened("map", audit=audit.id)
    (proto,) = scatters(app)
    trigger(app, proto, "picked", "no-such-image")
    healthy(app, TITLE)
    image_id = ids_of(audit, "eel")[3]
    trigger(app, proto, "picked", image_id)
    assert not app.exception
    assert address(app)["image"] == image_id


def test_pointing_says_class_and_wrong_prediction(audit: Audit, opened: Open) -> None:
    data = scatter(opened("map", audit=audit.id))
    points = data["points"].set_index("id")
    name, predicted = (points[column].astype(str) for column in data["words"])
    assert name.tolist() == audit.images["label"].tolist()
    wrong = ~audit.images["correct"].astype(bool)
    assert ((predicted != "") == wrong).all()
    before, after = data["photo"]
    image_id = points.index[0]
    assert f"{before}{image_id}{after}".startswith(f"/pictures/photo/{audit.id}/{image_id}.jpg?")
