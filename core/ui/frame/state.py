"""The view in the address bar: every choice is a query parameter, and survives page changes.

One dictionary per browser session holds the newest text of every parameter. An address that the
user opens (or goes back to) wins over it; widgets are seeded from it; after a run the page's own
parameters are written to the address. A value that is not among the choices is replaced by the
default; where an address names it, as a link that somebody sent may, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from core.ui.kit.text import plain, visible

ROOT = Path(__file__).resolve().parents[3]
ANNOTATOR = "annotator"
PAGE = "shown_page"
ASKED = "asked"
"""Names of what the address of this visit said, of choices that were not drawn yet."""
NAMED = 60
"""Characters of a choice that is not there, in the sentence that says so."""


def _kept(name: str) -> dict[str, Any]:
    kept: dict[str, Any] = st.session_state.setdefault(name, {})
    return kept


def _view() -> dict[str, str]:
    return _kept("view")


def _forget(name: str) -> None:
    st.session_state.pop(f"w_{name}", None)


def arrive(page: str) -> None:
    """Take over what the address says; called once per run of a page, before any widget.

    An address without parameters, as a link of the navigation has it, changes nothing. One that
    the user went back to also clears what this page had left out of it.
    """
    address = dict(st.query_params.items())
    st.session_state[ASKED] = []
    if address and address != _kept("published"):
        for name in _kept("own").get(page, []):
            if name not in address:
                _view().pop(name, None)
                _forget(name)
        for name, value in address.items():
            if _view().get(name) != value:
                put(name, value)
        st.session_state["published"] = address
        st.session_state[ASKED] = list(address)
    if st.session_state.get(PAGE) != page:  # a widget of another page may have the same key
        for key in [k for k in st.session_state if str(k).startswith("w_")]:
            del st.session_state[key]
        st.session_state[PAGE] = page


def publish(names: Sequence[str]) -> None:
    """Write the parameters of this page to the address; others leave it."""
    view = _view()
    wanted = {name: view[name] for name in names if view.get(name)}
    if dict(st.query_params.items()) != wanted:
        st.query_params.from_dict(wanted)
    st.session_state["published"] = wanted
    _kept("own")[str(st.session_state.get(PAGE))] = list(names)


def get(name: str) -> str | None:
    """The newest text of a parameter."""
    return _view().get(name)


def put(name: str, value: str) -> None:
    """Choose a value from outside its widget, before the widget is drawn."""
    _view()[name] = value
    _forget(name)


def peek(name: str, options: Sequence[str], default: str | None = None) -> str:
    """What :func:`choose` will return, before it is drawn: cards are sent before their controls."""
    value = st.session_state.get(f"w_{name}") or get(name)
    fallback = default if default in options else options[0]
    return str(value) if value in options else str(fallback)


def choose(
    widget: Callable[..., Any],
    label: str,
    name: str,
    options: Sequence[str] | Mapping[str, str],
    *,
    default: str | None = None,
    resets: Sequence[str] = (),
    **more: Any,
) -> str:
    """A select box or segmented control whose choice is the parameter ``name``.

    Parameters
    ----------
    options : the texts that stand in the address, with what is shown for each of them; without,
        ``format_func`` shows them.
    default : what is chosen where the address says nothing; else the first option.
    resets : parameters that go back to their default when another option is chosen.
    """
    options = _shown(options, more)
    key = f"w_{name}"
    value = peek(name, options, default)
    if name in st.session_state.get(ASKED, ()):
        st.session_state[ASKED].remove(name)
        _say_unless_there(label, str(get(name) or ""), value, options, more["format_func"])
    if st.session_state.get(key) != value:  # a segmented control may be cleared, too
        st.session_state[key] = value
    widget(label, options, key=key, on_change=_reset, args=(resets,), **more)
    _view()[name] = value
    return value


def _say_unless_there(
    label: str, asked: str, value: str, options: Sequence[str], shown: Callable[[str], str]
) -> None:
    """That a link names what is not here: whoever opens it would take the default for it."""
    if asked and asked not in options:
        name = asked if len(asked) <= NAMED else f"{asked[:NAMED]}…"
        st.toast(
            f"This link names what is not here, {plain(label.lower())} “{plain(name)}”. "
            f"Shown instead: “{plain(shown(value))}”.",
            icon=":material/link_off:",
            duration="infinite",
        )


def _reset(names: Sequence[str]) -> None:
    for name in names:
        put(name, "")


def peek_number(name: str, low: int, high: int, default: int) -> int:
    """What :func:`number` will return, before it is drawn."""
    given = st.session_state.get(f"w_{name}", get(name))
    try:
        value = int(given)
    except (TypeError, ValueError):
        value = default
    return min(max(value, low), high)


def number(
    widget: Callable[..., Any],
    label: str,
    name: str,
    low: int,
    high: int,
    default: int,
    **more: Any,
) -> int:
    """A slider or number input whose value is the parameter ``name``."""
    value = peek_number(name, low, high, default)
    if st.session_state.get(f"w_{name}") != value:
        st.session_state[f"w_{name}"] = value
    widget(label, low, high, key=f"w_{name}", **more)
    _view()[name] = str(value)
    return value


def peek_toggle(name: str, *, default: bool = False) -> bool:
    """What :func:`toggle` will return, before it is drawn."""
    stored = {"1": True, "0": False}.get(get(name) or "", default)
    return bool(st.session_state.get(f"w_{name}", stored))


def toggle(label: str, name: str, *, default: bool = False, **more: Any) -> bool:
    """A switch whose state is the parameter ``name``."""
    st.session_state.setdefault(f"w_{name}", peek_toggle(name, default=default))
    found = bool(st.toggle(label, key=f"w_{name}", **more))
    _view()[name] = str(int(found))
    return found


def text(label: str, name: str, *, default: str = "", **more: Any) -> str:
    """A text field whose content is the parameter ``name``."""
    st.session_state.setdefault(f"w_{name}", get(name) or default)
    found = str(st.text_input(label, key=f"w_{name}", **more))
    _view()[name] = found
    return found


def _shown(options: Sequence[str] | Mapping[str, str], more: dict[str, Any]) -> list[str]:
    """The texts of the address; what is shown for each goes to the widget."""
    titles = options if isinstance(options, Mapping) else {}
    show = more.get("format_func", lambda value: titles.get(value, value))
    more["format_func"] = lambda value: visible(show(value))
    return list(options)


def several(
    label: str, name: str, options: Sequence[str] | Mapping[str, str], **more: Any
) -> list[str]:
    """A multiple choice whose choices, joined by commas, are the parameter ``name``.

    Parameters
    ----------
    options : as of :func:`choose`.
    """
    options = _shown(options, more)
    key = f"w_{name}"
    if key not in st.session_state or not set(st.session_state[key]) <= set(options):
        wanted = (get(name) or "").split(",")
        st.session_state[key] = [w for w in wanted if w in options]
    found = list(st.multiselect(label, options, key=key, **more))
    _view()[name] = ",".join(found)
    return found


def go(page: str, **params: str) -> None:
    """Open another page with these parameters."""
    for name, value in params.items():
        put(name, value)
    st.switch_page(ROOT / page)
