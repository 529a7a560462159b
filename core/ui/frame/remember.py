"""The user's name, kept by the browser: it is no part of an address that one passes on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import streamlit as st

from core.ui.frame import state

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

_SCRIPT = """
const KEY = "spurioscope-annotator";

export default function ({ data, setTriggerValue }) {
  try {
    if (data.name) window.localStorage.setItem(KEY, data.name);
    else if (!data.fresh) window.localStorage.removeItem(KEY);
    else if (window.localStorage.getItem(KEY)) {
      setTriggerValue("kept", window.localStorage.getItem(KEY));
    }
  } catch {
    // Storage is blocked: the name lasts as long as the page.
  }
}
"""


@cache
def _component() -> ComponentRenderer:
    return st.components.v2.component("spurioscope.remember", js=_SCRIPT)


def remember() -> None:
    """Restore the name from the browser once per visit, and keep it there when it changes."""
    name = str(st.session_state.get(state.ANNOTATOR) or "")
    fresh = not name and not st.session_state.get("named")
    if name:
        st.session_state["named"] = True

    def restore() -> None:
        kept = st.session_state["remember"].get("kept")
        if fresh and isinstance(kept, str):
            st.session_state[state.ANNOTATOR] = kept[:120]

    _component()(
        key="remember", data={"name": name, "fresh": fresh}, height=1, on_kept_change=restore
    )
