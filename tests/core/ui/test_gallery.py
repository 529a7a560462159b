import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from core.ui.kit.gallery import Picture, gallery

    pictures = [
        Picture("a", "/p/a.jpg", "/p/a.png", None, "first", "a cat", badge="1", good=True),
        Picture("b", "/p/b.jpg", None, "/p/o.png", "<script>alert(1)</script>", "a dog"),
    ]
    picked = gallery(
        pictures,
        key="grid",
        columns=3,
        opacity=7.0,
        size=96,
        label="Cats",
        token="t",
        controls=True,
    )
    st.text(f"picked {picked}")


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_function(page).run()


def component(app: AppTest) -> Any:
    (found,) = app.get("bidi_component")
    return found.proto


def click(app: AppTest, value: object) -> AppTest:
    """Run the page as the browser does after a click; AppTest has no method for components."""
    trigger = f"$$STREAMLIT_INTERNAL_KEY_{component(app).id}__events"
    states = app._tree.get_widget_states()
    state = states.widgets.add()
    state.id = trigger
    state.json_trigger_value = json.dumps([{"event": "picked", "value": value}])
    return app._run(states)


def test_sends_everything_to_the_browser_as_data(app: AppTest) -> None:
    assert not app.exception
    data = json.loads(component(app).json)
    first, second = data.pop("pictures")
    assert data == {
        "columns": 3,
        "opacity": 1.0,  # 7.0 is beyond the end of the scale
        "dims": False,
        "size": 96,
        "label": "Cats",
        "controls": True,
        "enlarge": None,
        "token": "t",
    }
    assert first["photo"] == "/p/a.jpg"
    assert first["good"] is True
    assert second["caption"] == "<script>alert(1)</script>"
    assert second["overlay"] is None


def test_carries_its_own_style_and_script_in_isolation(app: AppTest) -> None:
    proto = component(app)
    assert proto.isolate_styles
    assert "export default mounting(" in proto.js_content
    assert ".grid" in proto.css_content


def test_nothing_is_picked_before_a_click(app: AppTest) -> None:
    assert app.text[0].value == "picked None"


def test_click_is_reported_in_one_run_only(app: AppTest) -> None:
    assert click(app, "b").text[0].value == "picked b"
    assert app.run().text[0].value == "picked None"


@pytest.mark.parametrize("value", ["gone", 3, None, {"image_id": "a"}, ["a"]])
def test_click_on_what_is_not_in_the_gallery_counts_for_nothing(
    app: AppTest, value: object
) -> None:
    assert click(app, value).text[0].value == "picked None"
    assert not app.exception


def test_script_never_writes_markup(app: AppTest) -> None:
    script = component(app).js_content
    assert not [word for word in ("innerHTML", "insertAdjacentHTML", "eval(") if word in script]


def page_of_cards() -> None:
    import streamlit as st

    from core.ui.kit.gallery import Card, Picture, cards

    pictures = (Picture("a", "/p/a.jpg", None, None, "first", "a cat"),)
    shown = [
        Card(name, f"Title {name}", "facts", pictures, "/f.svg", "figure", "note")
        for name in ("x-1", "x-2")
    ]
    said = st.session_state.setdefault("said", [])
    clicked = cards(
        shown,
        key="cards",
        tags=["core", "unsure"],
        chosen=["core", None],
        on_tag=lambda *answer: said.append(answer),
        locked=st.session_state.get("locked", False),
        legend=("low", "high", "remark"),
        token="t",
    )
    st.text(f"clicked {clicked}, said {said}")


def send(app: AppTest, event: str, value: object) -> str:
    trigger = f"$$STREAMLIT_INTERNAL_KEY_{component(app).id}__events"
    states = app._tree.get_widget_states()
    state = states.widgets.add()
    state.id = trigger
    state.json_trigger_value = json.dumps([{"event": event, "value": value}])
    return str(app._run(states).text[0].value)


@pytest.fixture
def two_cards() -> AppTest:
    return AppTest.from_function(page_of_cards).run()


def test_cards_carry_their_texts_and_tags(two_cards: AppTest) -> None:
    first, second = json.loads(component(two_cards).json)["cards"]
    assert (first["title"], first["tag"], second["tag"]) == ("Title x-1", "core", None)
    assert first["pictures"][0]["photo"] == "/p/a.jpg"


def test_a_picture_on_a_card_is_reported_with_the_card(two_cards: AppTest) -> None:
    assert send(two_cards, "picked", "x-2/a") == "clicked ('x-2', 'a'), said []"


def test_a_tag_is_reported_before_the_run(two_cards: AppTest) -> None:
    assert send(two_cards, "tagged", "x-2/unsure") == "clicked None, said [('x-2', 'unsure')]"
    assert send(two_cards, "tagged", "x-2/").endswith("('x-2', None)]")


@pytest.mark.parametrize("value", ["x-3/core", "x-1/other", "core", None, 5, ["x-1/core"]])
def test_answers_that_were_not_offered_count_for_nothing(two_cards: AppTest, value: object) -> None:
    assert send(two_cards, "tagged", value) == "clicked None, said []"
    assert send(two_cards, "picked", value) == "clicked None, said []"
    assert not two_cards.exception


def test_locked_cards_save_nothing(two_cards: AppTest) -> None:
    two_cards.session_state["locked"] = True
    two_cards.run()
    assert send(two_cards, "tagged", "x-1/unsure") == "clicked None, said []"
