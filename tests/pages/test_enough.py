"""How little of an image is enough: closed until opened, offered, then shown and restored."""

from __future__ import annotations

import json
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.explained import explain, stored
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.jobs import jobs
from core.measures.ensemble_subsets import SIZE
from core.measures.on_demand import OnDemand
from core.measures.rows import as_table, row
from core.models.load import load_model
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.outcomes import Outcomes
from core.types import Tag
from core.ui.frame import pictures
from core.ui.kit.text import plain
from tests.pages.conftest import Open, address, gallery, healthy


def test_it_is_closed_offered_and_shown(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_id = str(audit.images.index[1])
    class_idx = int(audit.images.at[image_id, "prediction"]) % 3
    label = audit.head.outputs[class_idx]
    where = {"audit": audit.id, "image": image_id, "explain": label}
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "asked_of", lambda *_: pytest.fail("it is closed"))
        app = healthy(opened("image", **where), "Image")
    assert len(app.get("plotly_chart")) == 1

    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    app = healthy(opened("image", **where, enough="1", fill="grey"), "Image")
    (button,) = (b for b in app.button if b.label == "Find out")
    button.click().run()
    asked = pictures.asked_of(audit, class_idx, "grey")
    settings = ["--set", "fill=grey", "relative=true"]
    assert started[0][:2] == ["explain", audit.id]
    assert image_id in started[0]
    assert [t for t in settings if t not in started[0]] == []

    ((_, said),) = explain(audit, asked, [image_id], load_model("tiny:page-0").use_head(audit.head))
    app = healthy(opened("image", **where, enough="1", fill="grey", kept="30"), "Image")
    (slider,) = app.slider
    assert (slider.value, address(app)["kept"]) == (30, "30")
    charts = [json.loads(chart.proto.spec)["data"][0] for chart in app.get("plotly_chart")]
    assert [chart["type"] for chart in charts] == ["waterfall", "scatter"]
    assert any(plain(said.words[1:]) in text.value for text in app.markdown)
    cell = gallery(app, 1)["pictures"][0]
    assert f"/kept/{audit.id}/{class_idx}/grey/{image_id}.png" in cell["overlay"]
    drawn = pictures.render(
        "kept",
        f"{audit.id}/{class_idx}/grey/{image_id}.png",
        {"groups": "59", "dims": "1", "v": "0"},
    )
    assert drawn is not None
    inside = 1 - np.asarray(_alpha(drawn[0])) / 166
    assert inside.mean() == pytest.approx(59 / 196, abs=0.02)
    app = healthy(opened("image", **where, enough="1", fill="grey", exactly="1"), "Image")
    assert address(app)["exactly"] == "1"
    (button,) = (b for b in app.button if b.label.startswith("Find out exactly, about "))
    button.click().run()
    assert "exact=true" in started[-1]
    missing = f"{audit.id}/{class_idx}/blur/{image_id}.png"
    assert pictures.render("kept", missing, {"groups": "1", "dims": "1", "v": "0"}) is None
    assert stored(audit, asked, image_id) is not None


def test_several_models_are_asked_together(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = Audit.open(workspace, "second").id
    image_id = str(audit.images.index[2])
    where = {"audit": audit.id, "image": image_id, "explain": audit.head.outputs[0]}
    where |= {"enough": "1", "fill": "grey", "with": second}
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    app = healthy(opened("image", **where), "Image")
    (button,) = (b for b in app.button if b.label == "Find out")
    button.click().run()
    assert started[0][started[0].index("--also") + 1] == second
    assert main([*started[0], "--workspace", str(workspace.root)]) == 0
    app = healthy(opened("image", **where), "Image")
    assert address(app)["with"] == second
    assert any("This model alone: not asked yet" in c.value for c in app.caption)
    kept = unquote(gallery(app, 1)["pictures"][0]["overlay"])
    name = f"{audit.id}/0/grey_{second}/{image_id}.png"
    assert f"/kept/{name}" in kept
    params = {"groups": "20", "dims": "1", "v": "0"}
    assert pictures.render("kept", name, params) is not None
    assert pictures.render("kept", name.replace(second, "../x"), params) is None

    view = {"audit": audit.id, "view": "subsets", "with": second}
    app = healthy(opened("measures", **view), "Measures")
    app.button(key="run-remedies").click().run()
    assert started[1] == ["measure", audit.id, "--what", "remedies", "--ensemble", second]
    rows = [
        row(audit.classes[0], SIZE, 0.2, interval=(0.1, 0.3), n=3, subject=who, split="test")
        for who in ("together", "first alone")
    ]
    monkeypatch.setattr(OnDemand, "known", lambda *_: as_table(rows))
    app = healthy(opened("measures", **view), "Measures")
    (chart,) = app.get("plotly_chart")
    traces = json.loads(chart.proto.spec)["data"]
    assert [trace["name"] for trace in traces] == ["together", "first alone"]


def test_where_it_lies_on_average_is_a_view_of_measures(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = audit.classes[0].label
    TagStore.open(Workspace(audit.folder.parents[1])).add(
        "ann", audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS
    )
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    app = healthy(opened("measures", audit=audit.id, view="subsets"), "Measures")
    app.button(key="subsets").click().run()
    assert started == [["measure", audit.id, "--what", "subsets"]]
    table = pd.DataFrame(
        {
            **{"removed": [list(range(196))[::-1]] * 12, "left": [2] * 12, "size": [2 / 196] * 12},
            **{"border": [1.0] * 12, "fill": ["own"] * 12},
        }
    )
    found = {facts.label: table for facts in audit.classes[:2]}
    monkeypatch.setattr(Outcomes, "subsets", lambda _, of: found.get(of))
    app = healthy(opened("measures", audit=audit.id, view="subsets"), "Measures")
    said, other = (m.value for m in app.markdown if "row 1, column 1 of 14" in m.value)
    assert other.startswith(f"- {plain(audit.classes[1].name)}: ")
    assert "1.0 % of an image on average, filled with the image's own mean colour" in plain(said)
    assert "100 % of it at the border; most often" in said
    assert "in 12 of 12 images, p" in said
    assert said.endswith("0.001")
    names = [facts.name for facts in audit.classes[:2]]
    captions = [cell["caption"] for cell in gallery(app)["pictures"]]
    assert captions == [f"{name} · 12 images" for name in names]
    assert address(app)["view"] == "subsets"


def _alpha(png: bytes) -> object:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(png)).getchannel("A")
