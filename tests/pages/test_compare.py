from __future__ import annotations

import shutil
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.measures.availability import make_trials, missing
from core.measures.several_audits import compare, compared, open_context
from core.storage.files import write_frame
from core.storage.workspace import Workspace
from core.tags.carry import ANNOTATOR, match_parts
from core.tags.log import TagStore
from core.types import Tag
from core.ui.compare import table as compare_table
from tests.pages.conftest import Open, address, galleries, gallery, healthy, send

TITLE = "Compare models"


@pytest.fixture
def second(workspace: Workspace) -> Audit:
    return Audit.open(workspace, "second")


@pytest.fixture
def tagged(audit: Audit, workspace: Workspace) -> Audit:
    """The first audit, with a component of every class tagged."""
    store = TagStore.open(workspace)
    for facts in audit.classes:
        store.add("ann", audit.id, CandidateKey(facts.label, PCA, 0), Tag.SPURIOUS)
    return audit


def html(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def swiped(app: AppTest) -> list[Any]:
    found = [element.proto for element in app.get("bidi_component")]
    return [proto for proto in found if proto.component_name == "spurioscope.swipe"]


def test_one_audit_says_what_to_do(
    audit: Audit, workspace: Workspace, second: Audit, opened: Open
) -> None:
    shutil.rmtree(second.folder)
    app = healthy(opened("compare", audit=audit.id), TITLE)
    assert any("Nothing to compare with" in text.value for text in app.markdown)
    assert address(app) == {"audit": audit.id}


def test_other_data_with_the_same_ids_is_not_compared_unasked(
    audit: Audit, second: Audit, opened: Open
) -> None:
    """Drawn audits count their images alike; four models were compared, and none could be."""
    table = pd.read_parquet(second.files.images)
    write_frame(second.files.images, table.assign(digest="0" * 32))
    app = healthy(opened("compare", audit=audit.id), TITLE)
    assert any("Nothing to compare with" in text.value for text in app.markdown)


def test_table_without_tags_says_what_is_missing(audit: Audit, second: Audit, opened: Open) -> None:
    app = healthy(opened("compare", audit=audit.id), TITLE)
    shown = html(app)
    assert all(measure.title in shown for measure in compared())
    assert "needs tags" in shown
    assert "needs images of a cue alone" in shown
    held = audit.images[audit.images["split"] == "test"]
    assert f"<i>{held['fair'].mean():.2f}</i> <i>[" in shown
    assert "24 held out in all of them" in app.caption[0].value
    assert address(app)["models"] == second.id
    assert address(app)["view"] == "table"


def test_table_with_everything_measured(
    tagged: Audit, second: Audit, workspace: Workspace, opened: Open
) -> None:
    context = open_context([tagged, second], workspace)
    for audit in (tagged, second):
        decisions = context.decisions[audit.id]
        make_trials(audit, decisions, missing(audit, decisions))
    app = healthy(opened("compare", audit=tagged.id), TITLE)
    assert "parameters" in html(app).lower()
    assert "not measured yet" not in html(app)
    assert not [b for b in app.button if b.label.startswith("Measure")]


def test_many_models_get_short_cells(
    audit: Audit, second: Audit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context([audit, second], workspace)
    table = compare(context)
    full = compare_table.html(context, table, audit)
    monkeypatch.setattr(compare_table, "FULL", 1)
    short = compare_table.html(context, table, audit)
    cell = table.rows["accuracy", second.id]
    assert f"{cell.value:.2f}</i> <i>[{cell.low:.2f}" in full
    assert f'<span class="value">{cell.value:.2f}</span>' in short
    assert f'title="{cell.value:.2f} [{cell.low:.2f}, {cell.high:.2f}]; ' in short
    assert short.count('<td colspan="2">') == full.count('<td colspan="2">') > 0


def test_names_from_data_are_escaped(
    audit: Audit, second: Audit, workspace: Workspace, opened: Open
) -> None:
    workspace.update(second.id, name="<b>x")
    app = healthy(opened("compare", audit=audit.id), TITLE)
    assert "&lt;b&gt;x" in html(app)
    assert "<b>x" not in html(app)


def test_classes_lead_to_their_images(audit: Audit, second: Audit, opened: Open) -> None:
    app = healthy(opened("compare", audit=audit.id, view="classes", class_="eel"), TITLE)
    assert address(app)["of"] == "widest"
    assert len(app.get("plotly_chart")) == 1
    app.selectbox(key="w_of_model").set_value(second.id).run()
    next(b for b in app.button if b.label == "Show its images").click().run()
    assert app.title[0].value == "Components of a class"
    assert address(app)["audit"] == second.id
    assert address(app)["class"] == "eel"


def test_tagged_gaps_ask_for_tags(audit: Audit, opened: Open) -> None:
    app = healthy(opened("compare", audit=audit.id, view="classes", of="tagged"), TITLE)
    assert any("No class is tagged" in text.value for text in app.markdown)


def test_models_stand_beside_their_mean(
    tagged: Audit, second: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.measures.conditions.LEAST", 1)
    app = healthy(opened("compare", audit=tagged.id, view="ensemble"), TITLE)
    alone, changes, *ends = (element.value for element in app.table)
    assert list(alone.index) == ["mean of the 2", "first", "second"]
    assert list(changes.index) == ["first", "second"]
    assert len(ends) == 1  # of few images none is in the most tenth
    assert len(app.get("plotly_chart")) == 1


def test_robustness_between_groups(audit: Audit, opened: Open) -> None:
    app = healthy(
        opened("compare", audit=audit.id, view="robustness", x="snow = 0", y="snow = 1"), TITLE
    )
    assert len(app.get("plotly_chart")) == 1
    assert any("a line needs 3" in info.value for info in app.info)
    assert address(app)["y"] == "snow = 1"


def test_tags_are_carried_over(
    tagged: Audit, second: Audit, workspace: Workspace, opened: Open
) -> None:
    app = healthy(opened("compare", audit=tagged.id, view="tags"), TITLE)
    table = app.dataframe[0].value
    assert len(table) == len(tagged.classes)
    next(b for b in app.button if b.label.startswith("Carry")).click().run()
    healthy(app, TITLE)
    carried = TagStore.open(workspace).current(second.id)
    assert len(carried) == int((table["verdict"] == "carried over").sum())
    assert all(e.annotator == f"{ANNOTATOR}first" for e in carried)


def test_without_tags_there_is_nothing_to_carry(audit: Audit, opened: Open) -> None:
    app = healthy(opened("compare", audit=audit.id, view="tags"), TITLE)
    assert any("No model has decided tags" in text.value for text in app.markdown)


def test_both_models_on_the_same_images(audit: Audit, second: Audit, opened: Open) -> None:
    app = healthy(opened("compare", audit=audit.id, view="pair", class_="eel"), TITLE)
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Shared images"] == "66"
    both = audit.held_out & second.held_out[second.rows_of(audit.images.index)]
    assert 0 < both.sum() < 66
    for which, of in (("A", audit), ("B", second)):
        accuracy = of.images.loc[audit.images.index[both], "fair"].mean()
        assert shown[f"Accuracy of {which}"] == f"{100 * accuracy:.1f} %"
    assert any(f"of the {both.sum()} images held out" in each.value for each in app.caption)
    a, b = gallery(app, 0), gallery(app, 1)
    assert [p["image_id"] for p in a["pictures"]] == [p["image_id"] for p in b["pictures"]]
    assert all(audit.id in p["overlay"] for p in a["pictures"])
    assert all(second.id in p["overlay"] for p in b["pictures"])
    assert address(app)["other"] == second.id


def test_an_image_that_flips_opens_in_both(audit: Audit, second: Audit, opened: Open) -> None:
    differ = audit.images["prediction"] != second.images["prediction"].loc[audit.images.index]
    label = str(audit.images.loc[differ, "label"].iloc[0])
    app = healthy(
        opened("compare", audit=audit.id, view="pair", class_=label, flip="differ"), TITLE
    )
    pictures = gallery(app, 2)["pictures"]
    expected = audit.images.index[differ & (audit.images["label"] == label)]
    assert {p["image_id"] for p in pictures} == set(expected)
    assert pictures[0]["caption"].startswith("A: ")
    send(app, "picked", pictures[0]["image_id"], len(galleries(app)) - 1)
    healthy(app, TITLE)
    assert address(app)["view"] == "image"
    assert address(app)["image"] == pictures[0]["image_id"]
    assert len(swiped(app)) == 1


def test_one_image_in_two_models(audit: Audit, second: Audit, opened: Open) -> None:
    image_id = str(audit.images.query("label == 'cat'").index[0])
    app = healthy(
        opened(
            "compare", audit=audit.id, view="image", image=image_id, explain="cat", against="eel"
        ),
        TITLE,
    )
    (swipe,) = swiped(app)
    assert audit.id in swipe.json
    assert second.id in swipe.json
    numbers = app.dataframe[1].value
    index = [audit.head.index(label) for label in ("cat", "eel")]
    logits = second.head.logits(second.features([image_id]))[0]
    assert numbers["in B"].sum() == pytest.approx(logits[index[0]] - logits[index[1]], abs=1e-3)
    assert numbers["difference"].abs().is_monotonic_decreasing


def test_an_unknown_image_offers_those_that_flip(audit: Audit, opened: Open) -> None:
    app = healthy(opened("compare", audit=audit.id, view="image", image="x"), TITLE)
    assert any("not in both audits" in text.value for text in app.warning)


def test_invalid_parameters_fall_back(audit: Audit, opened: Open) -> None:
    app = opened(
        "compare",
        audit=audit.id,
        other="x",
        class_="y",
        pair="z",
        flip="w",
        view="pair",
        models="q",
        baseline="r",
    )
    if len(app.selectbox) < 2:  # none of the named models exists
        assert any("at least one other model" in info.value for info in app.info)
    healthy(app, TITLE)


@pytest.mark.parametrize(
    "view", ["table", "classes", "robustness", "ensemble", "tags", "pair", "image", "x"]
)
def test_every_view_opens(audit: Audit, opened: Open, view: str) -> None:
    app = healthy(opened("compare", audit=audit.id, view=view), TITLE)
    assert address(app)["view"] == (view if view != "x" else "table")


def test_matched_parts_are_listed_and_looked_at(
    audit: Audit, second: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.tags.carry.FEWEST", 4)
    table = match_parts(audit, second, "eel")
    asked = {"audit": audit.id, "view": "pair", "class_": "eel"}
    app = healthy(opened("compare", **asked), TITLE)
    shown = next(f.value for f in app.dataframe if "Part of A" in f.value)
    assert shown["Part of A"].tolist() == [f"part {n + 1}" for n in table["part_a"]]
    before = len(galleries(app))
    part = str(table["part_a"].iloc[0])
    app = healthy(opened("compare", **asked, matched=part), TITLE)
    assert len(galleries(app)) == before + 2
