from __future__ import annotations

import shutil

from core.audit import Audit
from core.store import Workspace
from tests.pages.conftest import Open, address, gallery, healthy, send

TITLE = "Compare two models"


def test_one_audit_says_what_to_do(audit: Audit, workspace: Workspace, opened: Open) -> None:
    shutil.rmtree(workspace.folder(Audit.open(workspace, "second").id))
    app = healthy(opened("compare", audit=audit.id), TITLE)
    assert any("Nothing to compare with" in text.value for text in app.markdown)
    assert address(app) == {"audit": audit.id}


def test_both_models_on_the_same_images(audit: Audit, workspace: Workspace, opened: Open) -> None:
    second = Audit.open(workspace, "second")
    app = healthy(opened("compare", audit=audit.id, class_="eel"), TITLE)
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Shared images"] == "66"
    a, b = gallery(app, 0), gallery(app, 1)
    assert [p["image_id"] for p in a["pictures"]] == [p["image_id"] for p in b["pictures"]]
    assert all(audit.id in p["overlay"] for p in a["pictures"])
    assert all(second.id in p["overlay"] for p in b["pictures"])
    assert address(app)["other"] == second.id


def test_images_that_flip(audit: Audit, workspace: Workspace, opened: Open) -> None:
    second = Audit.open(workspace, "second")
    differ = audit.images["prediction"] != second.images["prediction"].loc[audit.images.index]
    label = str(audit.images.loc[differ, "label"].iloc[0])
    app = healthy(opened("compare", audit=audit.id, class_=label, flip="differ"), TITLE)
    pictures = gallery(app, 2)["pictures"]
    expected = audit.images.index[differ & (audit.images["label"] == label)]
    assert {p["image_id"] for p in pictures} == set(expected)
    assert pictures[0]["caption"].startswith("A: ")
    send(app, "picked", pictures[0]["image_id"], 2)
    assert app.title[0].value == "Image"


def test_invalid_parameters_fall_back(audit: Audit, opened: Open) -> None:
    app = opened("compare", audit=audit.id, other="x", class_="y", pair="z", flip="w")
    healthy(app, TITLE)
    assert address(app)["class"] == "cat"
    assert address(app)["flip"] == "lost"
