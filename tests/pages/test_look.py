"""One look for every page: a spotlight, or colours a click away, kept in the address."""

from __future__ import annotations

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.leaning import measure_leaning
from core.types import Tag
from tests.pages.conftest import Open, address, galleries, gallery, healthy

TITLES = {
    "components": "Components of a class",
    "tagging": "Tagging",
    "ranking": "Ranking",
    "image": "Image",
    "overview": "first",
    "findings": "Findings",
}


def overlays(data: dict[str, object]) -> list[str]:
    """Addresses of what lies over the photos of a gallery or of cards."""
    cards = data.get("cards") or [data]
    return [p["overlay"] for card in cards for p in card["pictures"]]  # type: ignore[attr-defined]


@pytest.fixture
def view(audit: Audit, workspace: Workspace) -> dict[str, str]:
    """An image to be explained, and a spurious cue, in an audit whose candidates were tried."""
    measure_leaning(audit)
    store = TagStore.open(workspace)
    store.add("anna", audit.id, CandidateKey("eel", PCA, 0), Tag.SPURIOUS)
    return {"audit": audit.id, "image": str(audit.images.index[0])}


@pytest.mark.parametrize("page", TITLES)
def test_every_page_is_lit_first_and_in_colours_on_demand(
    page: str, view: dict[str, str], opened: Open
) -> None:
    app = healthy(opened(page, **view), TITLES[page])
    lit = gallery(app)
    assert lit["dims"] is True
    assert lit["opacity"] == 1.0
    assert {url.split("/")[2] for url in overlays(lit)} == {"spotlight"}
    widget = next(w for w in app.get("button_group") if w.key == "w_look")
    assert widget.value == "spotlight"
    widget.set_value("colour").run()
    coloured = gallery(app)
    assert coloured["dims"] is False
    assert {url.split("/")[2] for url in overlays(coloured)} == {"heat"}
    assert len(overlays(coloured)) == len(overlays(lit))
    assert address(app)["look"] == "colour"


@pytest.mark.parametrize("page", TITLES)
def test_an_address_restores_the_look(page: str, view: dict[str, str], opened: Open) -> None:
    look = {"look": "colour", "parts": "positive", "contour": "0"}
    app = healthy(opened(page, **view, **look), TITLES[page])
    for one in range(len(galleries(app))):
        for url in overlays(gallery(app, one)):
            assert "/heat/" in url
            assert "parts=positive&contour=0" in url
    assert {name: address(app)[name] for name in look} == look


@pytest.mark.parametrize("look", ["<b>", "heat", ""])
def test_no_such_look_is_a_spotlight(look: str, view: dict[str, str], opened: Open) -> None:
    app = healthy(opened("components", **view, look=look), TITLES["components"])
    assert gallery(app)["dims"] is True
    assert address(app)["look"] == "spotlight"
