"""Images like others on Image and Map, and like a text where an image-text model is set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.audits.alike import matching, more_like
from core.audits.audit import Audit
from core.jobs import jobs
from core.models.text_image import VARIABLE, TextImageModel
from tests.core.text_model import save_text_model
from tests.pages.conftest import Open, galleries, gallery, healthy
from tests.pages.test_map import ids_of, select


def shown(app: object, place: int) -> list[str]:
    return [picture["image_id"] for picture in gallery(app, place)["pictures"]]


def test_image_shows_more_like_it_on_demand(audit: Audit, opened: Open) -> None:
    image_id = audit.images.index[5]
    app = healthy(opened("image", audit=audit.id, image=image_id), "Image")
    before = len(galleries(app))
    app = healthy(opened("image", audit=audit.id, image=image_id, alike="1"), "Image")
    assert len(galleries(app)) == before + 1
    assert shown(app, before) == more_like(audit, [image_id], 12)["image_id"].tolist()


def test_map_shows_more_like_a_group(audit: Audit, opened: Open) -> None:
    eels = ids_of(audit, "eel")[:6]
    app = select(opened("map", audit=audit.id, alike="1"), eels)
    found = more_like(audit, eels, 12)["image_id"].tolist()
    assert shown(app, len(galleries(app)) - 1) == found


def test_map_has_no_search_without_a_model(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    app = healthy(opened("map", audit=audit.id), "Map of the images")
    assert not [field for field in app.text_input if "Search" in field.label]


def test_map_searches_by_a_text(
    audit: Audit, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    folder = save_text_model(tmp_path / "model")
    monkeypatch.setenv(VARIABLE, str(folder))
    app = healthy(opened("map", audit=audit.id, seek="a red thing"), "Map of the images")
    (button,) = (b for b in app.button if "image-text model" in b.label)
    button.click().run()
    assert started == [["search", audit.id, "--text", "a red thing"]]
    found = matching(audit, TextImageModel(folder), "a red thing", 12)
    app = healthy(opened("map", audit=audit.id, seek="a red thing"), "Map of the images")
    assert shown(app, 0) == found["image_id"].tolist()


def test_a_model_that_cannot_be_read_is_a_sentence(
    audit: Audit, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    app = opened("map", audit=audit.id, seek="a red thing")
    assert not app.exception
    assert [e.value for e in app.error if "give a folder as open" in e.value]
