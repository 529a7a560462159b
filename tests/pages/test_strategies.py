"""Strategies and drawn pictures on the pages Components and Map, closed until somebody asks."""

from __future__ import annotations

import numpy as np
import pytest

from core.audits.audit import Audit
from core.audits.audit_requests import DiscoverRequest
from core.audits.looks import draw, leading_keys
from core.audits.strategies import discover, strategies
from core.candidates.cluster_kind import CLUSTER
from core.candidates.cluster_search import Asked
from core.candidates.key import CandidateKey
from core.storage.workspace import Workspace
from core.ui.frame import pictures
from tests.pages.conftest import Open, gallery, healthy, scatter
from tests.pages.test_map import ids_of

TITLE = "Components of a class"


@pytest.fixture
def told(audit: Audit) -> Audit:
    """The audit with clusters of eel."""
    discover(audit, ["eel"], Asked(("heatmap", "psi"), 2))
    return Audit(audit.folder)


def test_strategies_are_a_click_away(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("core.jobs.jobs.start", lambda _, given, title: started.append(given))
    app = healthy(opened("components", audit=audit.id, class_="eel", kind=CLUSTER), TITLE)
    assert any("Nobody looked for clusters" in each.value for each in app.markdown)
    assert not [b for b in app.button if str(b.key).startswith("discover")]
    app.toggle(key="w_strategies").set_value(True).run()
    app.button(key=f"discover-{audit.class_facts('eel').class_idx}").click().run()
    assert DiscoverRequest.parse(started[0]) == DiscoverRequest(audit.id, class_name="eel")


def test_clusters_are_on_cards_and_on_the_map(told: Audit, opened: Open) -> None:
    view = {"audit": told.id, "class_": "eel", "kind": CLUSTER, "strategies": "1"}
    app = healthy(opened("components", **view), TITLE)
    assert {card["name"] for card in gallery(app)["cards"]} == {f"cluster-{i}" for i in range(4)}
    said = " ".join(each.value for each in (*app.markdown, *app.caption))
    first = strategies(told, told.class_facts("eel").class_idx)[0]
    assert f"by places: {len(first.members)} images" in said
    assert f"accuracy {100 * first.accuracy:.0f} %" in said
    assert "a cloud without groups" in said

    app = healthy(
        opened(
            "map", audit=told.id, scope="psi:eel", projection="spectral-psi", colour="spectral-psi"
        ),
        "Map of the images",
    )
    drawn = scatter(app)
    assert drawn["title"] == "Cluster"
    assert "two eigenvectors" in " ".join(each.value for each in app.caption)
    image = ids_of(told, "eel")[0]
    app = opened("image", audit=told.id, image=image, explain="eel", component="cluster-1")
    assert healthy(app, "Image").selectbox(key="w_component").value == "cluster-1"
    healthy(opened("tagging", audit=told.id, queue_kind=CLUSTER), "Tagging")


def test_pictures_stand_on_the_cards_once_they_are_drawn(
    audit: Audit, opened: Open, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = leading_keys(audit, "eel", "pca", 2)
    assert keys == [CandidateKey("eel", "pca", i) for i in range(2)]
    found = draw(audit, keys, "look", model=audit.load_model())
    odds = [one.probability for one in found]
    assert odds == sorted(odds, reverse=True)
    assert all(np.isfinite(one.real) for one in found)
    assert draw(audit, keys, "look") == found  # from what is stored, without the network

    closed = healthy(opened("components", audit=audit.id, class_="eel"), TITLE)
    cells = [p["image_id"] for card in gallery(closed)["cards"] for p in card["pictures"]]
    assert "drawn" not in cells
    view = {"audit": audit.id, "class_": "eel", "looks": "1", "rank": "picture"}
    app = healthy(opened("components", **view), TITLE)
    cards = gallery(app)["cards"]
    assert [card["name"] for card in cards[:2]] == [one.key.short for one in found]
    assert [card["pictures"][0]["image_id"] for card in cards[:2]] == ["drawn"] * 2
    said = " ".join(each.value for each in app.markdown)
    assert "99th percentile of the class's training images" in said
    assert "withstand a push" in said
    assert any(str(b.key).startswith("draw-") for b in app.button)

    path, _, query = pictures.look_url(audit, keys[0], "look").partition("?")
    name = path.removeprefix("/pictures/look/")
    params = dict(pair.split("=") for pair in query.split("&"))
    png, kind = pictures.render("look", name, params)
    assert kind == "image/png"
    assert png.startswith(b"\x89PNG")
    assert pictures.render("look", name.replace("pca/0", "pca/3"), params) is None
