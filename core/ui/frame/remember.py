"""What a person wrote that the browser keeps: it is no part of an address that one passes on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import streamlit as st

from core.ui.frame import state

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

LONGEST = 120
"""Characters that are taken back from a browser."""

_SCRIPT = """
export default function ({ data, setTriggerValue }) {
  try {
    const kept = window.localStorage.getItem(data.place);
    if (data.text) window.localStorage.setItem(data.place, data.text);
    else if (!data.fresh) window.localStorage.removeItem(data.place);
    else if (kept) setTriggerValue("kept", kept);
  } catch {
    // Storage is blocked: the text lasts as long as the page.
  }
}
"""


@cache
def _component() -> ComponentRenderer:
    return st.components.v2.component("spurioscope.remember", js=_SCRIPT)


def remember(name: str = state.ANNOTATOR, place: str = "spurioscope-annotator") -> None:
    """Restore a text from the browser once per visit, and keep it there when it changes.

    Parameters
    ----------
    name : the text in the session.
    place : what the browser keeps it under.
    """
    key = f"remember-{name}"
    text = str(st.session_state.get(name) or "")
    fresh = not text and not st.session_state.get(f"{key}-seen")
    if text:
        st.session_state[f"{key}-seen"] = True

    def restore() -> None:
        kept = st.session_state[key].get("kept")
        if fresh and isinstance(kept, str):
            st.session_state[name] = kept[:LONGEST]

    _component()(
        key=key,
        data={"text": text, "fresh": fresh, "place": place},
        height=1,
        on_kept_change=restore,
    )
