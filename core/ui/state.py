"""The view in the address bar: every choice is a query parameter, and survives page changes.

One dictionary per browser session holds the newest text of every parameter. An address that the
user opens (or goes back to) wins over it; widgets are seeded from it; after a run the page's own
parameters are written to the address. A value that is not among the choices is replaced by the
default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
ANNOTATOR = "annotator"


def _view() -> dict[str, str]:
    view: dict[str, str] = st.session_state.setdefault("view", {})
    return view


def _published() -> dict[str, str]:
    published: dict[str, str] = st.session_state.setdefault("published", {})
    return published


def arrive() -> None:
    """Take over what the address says; called once per run, before any widget."""
    for name, value in st.query_params.items():
        if _published().get(name) != value:
            _view()[name] = value
            st.session_state.pop(f"w_{name}", None)
            _published()[name] = value


def publish(names: Sequence[str]) -> None:
    """Write the parameters of this page to the address; others leave it."""
    wanted = {name: _view()[name] for name in names if _view().get(name)}
    if dict(st.query_params.items()) != wanted:
        st.query_params.from_dict(wanted)
    st.session_state["published"] = wanted


def get(name: str) -> str | None:
    """The newest text of a parameter."""
    return _view().get(name)


def put(name: str, value: str) -> None:
    """Choose a value from outside its widget, before the widget is drawn."""
    _view()[name] = value
    st.session_state.pop(f"w_{name}", None)


def choose(
    widget: Callable[..., Any],
    label: str,
    name: str,
    options: Sequence[str],
    *,
    default: str | None = None,
    **more: Any,
) -> str:
    """A select box or segmented control whose choice is the parameter ``name``.

    ``options`` are the texts that stand in the address; ``format_func`` shows them.
    """
    key = f"w_{name}"
    fallback = default if default in options else options[0]
    if st.session_state.get(key) not in options:
        wanted = get(name)
        st.session_state[key] = wanted if wanted in options else fallback
    value = widget(label, options, key=key, **more)
    if value is None:  # a segmented control may be cleared
        value = fallback
    _view()[name] = value
    return str(value)


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
    key = f"w_{name}"
    if key not in st.session_state:
        text = get(name) or ""
        value = int(text) if text.lstrip("-").isdigit() else default
        st.session_state[key] = min(max(value, low), high)
    found = int(widget(label, low, high, key=key, **more))
    _view()[name] = str(found)
    return found


def toggle(label: str, name: str, *, default: bool = False, **more: Any) -> bool:
    """A switch whose state is the parameter ``name``."""
    key = f"w_{name}"
    if key not in st.session_state:
        st.session_state[key] = {"1": True, "0": False}.get(get(name) or "", default)
    found = bool(st.toggle(label, key=key, **more))
    _view()[name] = str(int(found))
    return found


def text(label: str, name: str, *, default: str = "", **more: Any) -> str:
    """A text field whose content is the parameter ``name``."""
    key = f"w_{name}"
    if key not in st.session_state:
        st.session_state[key] = get(name) or default
    found = str(st.text_input(label, key=key, **more))
    _view()[name] = found
    return found


def several(label: str, name: str, options: Sequence[str], **more: Any) -> list[str]:
    """A multiple choice whose choices, joined by commas, are the parameter ``name``."""
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
