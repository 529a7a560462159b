from __future__ import annotations

import json

import pytest

from core.audits.audit import Audit
from core.candidates.linear_kinds import PCA
from core.storage.files import read_json, write_frame, write_json
from core.tags.log import TagStore
from core.trials.leaning import measure_leaning
from core.types import Tag
from core.ui.kit.text import plain
from tests.pages.conftest import Open, address, galleries, gallery, healthy, send

TITLE = "Components of a class"


def test_cards_show_pictures_with_overlays(audit: Audit, opened: Open) -> None:
    app = healthy(opened("components", audit=audit.id), TITLE)
    data = gallery(app)
    assert len(data["cards"]) == 6
    card = data["cards"][0]
    assert card["title"].startswith("1. Component ")
    assert "% of the logit's variance" in card["facts"]
    assert "accuracy" in card["note"]
    assert card["figure"].startswith("/pictures/histogram/")
    pictures = card["pictures"]
    assert [p["badge"] for p in pictures] == [""] * 5 + ["weakest"] * 2
    assert all(p["overlay"].startswith("/pictures/spotlight/") for p in pictures)
    app = healthy(opened("components", audit=audit.id, look="colour"), TITLE)
    pictures = gallery(app)["cards"][0]["pictures"]
    assert all(p["overlay"].startswith("/pictures/heat/") for p in pictures)
    assert data["tags"] == ["core", "spurious", "unsure"]


def test_the_whole_page_of_cards_is_one_element(audit: Audit, opened: Open) -> None:
    app = opened("components", audit=audit.id)
    assert len(galleries(app)) == 1


def test_deep_link_restores_everything(audit: Audit, opened: Open) -> None:
    view = {"class_": "eel", "kind": "neuron", "rank": "gap", "n": "3", "page": "2"}
    look = {"look": "colour", "parts": "positive", "contour": "0", "outline": "1"}
    app = healthy(opened("components", audit=audit.id, **view, **look), TITLE)
    assert app.selectbox(key="w_class").value == "eel"
    assert app.selectbox(key="w_rank").value == "gap"
    data = gallery(app)
    eel = audit.class_facts("eel").class_idx
    assert data["token"] == f"{audit.id}/{eel}/neuron/gap/6"
    picture = data["cards"][0]["pictures"][0]
    assert "parts=positive&contour=0" in picture["overlay"]
    assert picture["outline"].startswith("/pictures/outline/")
    assert address(app)["page"] == "2"


def test_invalid_parameters_fall_back(audit: Audit, opened: Open) -> None:
    wrong = {"class_": "<b>", "kind": "x", "rank": "y", "n": "nine", "page": "-4", "parts": "z"}
    app = healthy(opened("components", audit=audit.id, **wrong), TITLE)
    assert gallery(app)["token"] == f"{audit.id}/0/pca/page/0"
    assert address(app)["n"] == "5"


def test_another_class_starts_at_its_first_page(audit: Audit, opened: Open) -> None:
    app = opened("components", audit=audit.id, kind="neuron", page="2")
    app.selectbox(key="w_class").select("eel").run()
    assert address(app)["class"] == "eel"
    assert address(app)["page"] == "1"
    next(b for b in app.button if b.label == "Next class").click().run()
    assert address(app)["class"] == "cat"


def test_tag_is_saved_under_the_name_and_undo_takes_it_back(audit: Audit, opened: Open) -> None:
    from core.ui.frame import opened as held

    app = opened("components", audit=audit.id, class_="eel")
    app.text_input(key="annotator").set_value("Ada").run()
    name = gallery(app)["cards"][0]["name"]
    send(app, "tagged", f"{name}/spurious")
    assert gallery(app)["cards"][0]["tag"] == "spurious"
    store = TagStore.open(held.workspace())
    (saved,) = store.current(audit.id)
    assert (saved.annotator, saved.label, saved.tag) == ("Ada", "eel", Tag.SPURIOUS)
    assert (saved.kind, saved.component) == (PCA, int(name.partition("-")[2]))
    again = opened("components", audit=audit.id, class_="eel")
    assert gallery(again)["cards"][0]["tag"] is None  # nobody's, until a name is given
    next(b for b in app.button if b.label == "Undo last tag").click().run()
    assert gallery(app)["cards"][0]["tag"] is None
    assert "without a tag again" in app.toast[0].value
    assert store.current(audit.id) == []
    next(b for b in app.button if b.label == "Undo last tag").click().run()
    assert app.toast[0].value == "There is nothing to undo."


@pytest.mark.parametrize("value", ["pca-99/spurious", "pca-0/awful", "", "pca-0", "/", "a/b/c"])
def test_tags_that_are_not_offered_are_not_saved(audit: Audit, opened: Open, value: str) -> None:
    from core.ui.frame import opened as held

    app = send(opened("components", audit=audit.id), "tagged", value)
    assert not app.exception
    events = TagStore.open(held.workspace()).current(audit.id)
    assert events == []


def test_presentation_changes_nothing(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.ui.frame import opened as held

    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("components", audit=audit.id), TITLE)
    assert gallery(app)["locked"] is True
    send(app, "tagged", f"{gallery(app)['cards'][0]['name']}/core")
    assert TagStore.open(held.workspace()).current(audit.id) == []
    assert not [b for b in app.button if b.label == "Undo last tag"]


def test_a_tag_that_cannot_be_saved_is_a_sentence(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.errors import WorkspaceError

    def full(*_: object, **__: object) -> None:
        raise WorkspaceError("the disk is full")

    app = opened("components", audit=audit.id)
    monkeypatch.setattr(TagStore, "add", full)
    send(app, "tagged", f"{gallery(app)['cards'][0]['name']}/core")
    assert app.toast[0].value == "the disk is full"


def test_damaged_class_is_a_sentence(audit: Audit, opened: Open) -> None:
    (audit.folder / "classes" / "00000" / "class.json").write_text("{")
    app = opened("components", audit=audit.id)
    assert not app.exception
    assert "class.json" in app.error[0].value


def test_class_with_one_image_says_why_it_has_nothing(audit: Audit, opened: Open) -> None:
    import pandas as pd

    path = audit.folder / "candidates.parquet"
    table = pd.read_parquet(path)
    write_frame(path, table[table["class_idx"] != 0])
    app = healthy(opened("components", audit=audit.id), TITLE)
    assert any("cat has no components" in text.value for text in app.markdown)


def test_names_are_text_and_not_markup(audit: Audit, opened: Open) -> None:
    summary = read_json(audit.folder / "summary.json")
    summary["classes"][0]["definition"] = "**bold** $x$ :red[y]"
    write_json(audit.folder / "summary.json", summary)
    app = healthy(opened("components", audit=audit.id), TITLE)
    assert app.caption[-1].value == plain("cat: **bold** $x$ :red[y]")


def test_the_browser_gives_the_name_back(audit: Audit, opened: Open) -> None:
    app = opened("components", audit=audit.id)
    (memory,) = [
        element.proto
        for element in app.get("bidi_component")
        if element.proto.component_name == "spurioscope.remember"
    ]
    states = app._tree.get_widget_states()
    state = states.widgets.add()
    state.id = f"$$STREAMLIT_INTERNAL_KEY_{memory.id}__events"
    state.json_trigger_value = json.dumps([{"event": "kept", "value": "Ada"}])
    app._run(states)
    assert app.text_input(key="annotator").value == "Ada"


def test_a_name_on_a_card(audit: Audit, opened: Open) -> None:
    from core.ui.frame import opened as held

    store = TagStore.open(held.workspace())
    app = opened("components", audit=audit.id, class_="eel")
    name = gallery(app)["cards"][0]["name"]
    number = int(name.partition("-")[2]) + 1
    send(app, "called", f"{name}/snow")
    assert store.history(audit.id) == []  # nothing is tagged, so nothing can be named
    send(app, "tagged", f"{name}/spurious")
    send(app, "called", f"{name}/<b>ice</b> / snow")
    card = gallery(app)["cards"][0]
    assert card["called"] == "<b>ice</b> / snow"
    assert card["title"] == f"1. <b>ice</b> / snow (component {number})"
    assert card["figure_alt"].startswith("<b>ice</b> / snow: Histogram")
    assert gallery(app)["names"] == ["<b>ice</b> / snow"]
    send(app, "called", f"{name}/{'s' * 81}")
    assert "give at most 80" in app.toast[0].value
    send(app, "called", f"{name}/")
    assert gallery(app)["cards"][0]["title"] == f"1. Component {number}"
    assert [e.tag for e in store.current(audit.id)] == [Tag.SPURIOUS]


def test_a_presentation_shows_names_and_changes_none(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.ui.frame import opened as held

    store = TagStore.open(held.workspace())
    app = opened("components", audit=audit.id, class_="eel")
    name = gallery(app)["cards"][0]["name"]
    send(app, "tagged", f"{name}/spurious")
    send(app, "called", f"{name}/snow")
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("components", audit=audit.id, class_="eel"), TITLE)
    assert gallery(app)["cards"][0]["title"].startswith("1. snow (component")
    send(app, "called", f"{name}/ice")
    assert [e.called for e in store.current(audit.id)] == ["snow"]


def test_a_card_says_what_its_candidate_does_in_the_maps(audit: Audit, opened: Open) -> None:
    before = gallery(opened("components", audit=audit.id, class_="eel", kind="part"))["cards"]
    assert not any("put in" in card["facts"] for card in before)
    table = measure_leaning(audit)
    app = healthy(opened("components", audit=audit.id, class_="eel", kind="part"), TITLE)
    eel = audit.class_facts("eel").class_idx
    row = table[(table["class_idx"] == eel) & (table["kind"] == "part")].iloc[0]
    said = {card["name"]: card["facts"] for card in gallery(app)["cards"]}
    assert said[f"part-{row['component']}"].startswith(f"put in {100 * row['put_in']:.0f} %, the")
