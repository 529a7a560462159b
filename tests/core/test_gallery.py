import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from core.ui.gallery import Picture, gallery

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
        "size": 96,
        "label": "Cats",
        "controls": True,
        "token": "t",
    }
    assert first["photo"] == "/p/a.jpg"
    assert first["good"] is True
    assert second["caption"] == "<script>alert(1)</script>"
    assert second["overlay"] is None


def test_carries_its_own_style_and_script_in_isolation(app: AppTest) -> None:
    proto = component(app)
    assert proto.isolate_styles
    assert "export default function" in proto.js_content
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
