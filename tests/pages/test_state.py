"""The view in the address bar, on pages made for it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.markdown import visible
from tests.hostile import UNSEEN
from tests.pages.conftest import address


def page() -> None:
    import streamlit as st

    from core.ui.frame import state

    name = st.session_state.get("test_page", "one")
    state.arrive(name)
    early = (
        state.peek("colour", ["red", "blue"]),
        state.peek_number("n", 1, 9, 5),
        state.peek_toggle("loud", default=True),
    )
    colour = state.choose(st.segmented_control, "Colour", "colour", ["red", "blue"], resets=["n"])
    n = state.number(st.slider, "Number", "n", 1, 9, 5)
    loud = state.toggle("Loud", "loud", default=True)
    word = state.text("Word", "word")
    some = state.several("Some", "some", ["a", "b", "c"])
    state.publish(["colour", "n", "loud", "word", "some"])
    st.text(repr((colour, n, loud, word, some)))
    st.caption(str(early == (colour, n, loud)))


def open_page(**params: str) -> AppTest:
    app = AppTest.from_function(page)
    for name, value in params.items():
        app.query_params[name] = value
    return app.run()


def shown(app: AppTest) -> object:
    assert not app.exception
    assert app.caption[0].value == "True", "peek differs from what was drawn"
    return eval(app.text[0].value)


def test_defaults_are_written_to_the_address() -> None:
    app = open_page()
    assert shown(app) == ("red", 5, True, "", [])
    assert address(app) == {"colour": "red", "n": "5", "loud": "1"}


def test_the_address_is_taken_over() -> None:
    app = open_page(colour="blue", n="7", loud="0", word="x y", some="c,a")
    assert shown(app) == ("blue", 7, False, "x y", ["c", "a"])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"colour": "green"}, ("red", 5, True, "", [])),
        ({"n": "99"}, ("red", 9, True, "", [])),
        ({"n": "-1"}, ("red", 1, True, "", [])),
        ({"n": "1e3"}, ("red", 5, True, "", [])),
        ({"n": "³"}, ("red", 5, True, "", [])),
        ({"loud": "yes"}, ("red", 5, True, "", [])),
        ({"some": "a,z,,a b"}, ("red", 5, True, "", ["a"])),
        ({"other": "1"}, ("red", 5, True, "", [])),
    ],
    ids=str,
)
def test_invalid_values_fall_back(params: dict[str, str], expected: object) -> None:
    assert shown(open_page(**params)) == expected


def test_a_link_that_names_what_is_not_here_says_so_once() -> None:
    app = open_page(colour="*green*")
    (said,) = app.toast
    assert "colour “\\*green\\*”. Shown instead: “red”" in said.value
    assert not app.run().toast
    assert not open_page(colour="blue").toast
    assert not open_page(n="7").toast


def test_what_another_choice_took_away_is_not_the_links_fault() -> None:
    app = open_page(colour="blue")
    app.session_state["view"]["colour"] = "green"  # such as a class of the audit that was shown
    app.session_state["test_page"] = "two"
    assert not app.run().toast


def test_a_choice_is_written_and_resets_what_depends_on_it() -> None:
    app = open_page(n="7")
    app.segmented_control(key="w_colour").set_value("blue").run()
    assert shown(app) == ("blue", 5, True, "", [])
    assert address(app)["colour"] == "blue"
    app.slider(key="w_n").set_value(3).run()
    assert shown(app) == ("blue", 3, True, "", [])


def test_a_cleared_control_keeps_its_choice() -> None:
    app = open_page(colour="blue")
    app.segmented_control(key="w_colour").set_value(None).run()
    assert shown(app) == ("blue", 5, True, "", [])


def test_going_back_clears_what_the_address_leaves_out() -> None:
    app = open_page(word="first")
    app.text_input(key="w_word").set_value("second").run()
    assert address(app)["word"] == "second"
    app.query_params.clear()
    app.query_params["colour"] = "blue"
    app.run()
    assert shown(app) == ("blue", 5, True, "", [])


def test_an_address_without_parameters_keeps_the_view() -> None:
    app = open_page(word="kept", n="8")
    app.query_params.clear()
    app.session_state["test_page"] = "two"
    app.run()
    assert shown(app) == ("red", 8, True, "kept", [])


def options() -> None:
    import streamlit as st

    from core.ui.frame import state
    from tests.hostile import UNSEEN

    names = {"a": UNSEEN, "b": "B"}
    state.choose(st.selectbox, "By table", "x", names)
    state.choose(st.selectbox, "By function", "y", list(names), format_func=names.__getitem__)
    state.several("By table", "z", names)
    state.choose(st.selectbox, "As they are", "w", [UNSEEN])


def test_options_show_what_cannot_be_seen() -> None:
    app = AppTest.from_function(options).run()
    assert not app.exception
    shown = visible(UNSEEN)
    assert [box.options for box in app.selectbox] == [[shown, "B"], [shown, "B"], [shown]]
    assert app.multiselect[0].options == [shown, "B"]
