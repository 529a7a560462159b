"""The page Components of a network without exact maps offers approximate parts, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.core.audits.test_approximate_parts  # noqa: F401  (tiny:largest)
from core.audits.approximate_parts import find_approximate_parts
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.jobs import jobs
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.pages.conftest import Open, gallery, healthy

TITLE = "Components of a class"


@pytest.fixture
def inexact(folder: Path, empty: Workspace) -> Audit:
    return run_audit(tiny_request(folder, model="tiny:largest"), empty)


def test_they_are_found_on_demand_and_labelled(
    inexact: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    asked = {"audit": inexact.id, "class_": "red", "kind": "part"}
    app = healthy(opened("components", **asked), TITLE)
    (button,) = (b for b in app.button if "approximate parts" in b.label)
    button.click().run()
    assert started == [["parts", inexact.id, "--class", "red"]]
    find_approximate_parts(inexact, "red", 4)
    app = healthy(opened("components", **asked), TITLE)
    assert len(gallery(app)["cards"]) == 4
    assert any("Approximate: activation times gradient" in c.value for c in app.caption)


def test_image_explains_by_components_and_overlays_them(inexact: Audit, opened: Open) -> None:
    find_approximate_parts(inexact, "red", 4)
    image_id = inexact.images.index[0]
    more = {"sum": "part", "explain": "red", "component": "part-1"}
    app = healthy(opened("image", audit=inexact.id, image=image_id, **more), "Image")
    assert any("do not add up to the margin" in c.value for c in app.caption)
