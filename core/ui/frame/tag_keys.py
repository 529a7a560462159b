"""Keys of the page Tagging that a person chose; the browser keeps them, as it keeps the name."""

from __future__ import annotations

import streamlit as st

from core.errors import InputError
from core.ui.frame.blocks import plain
from core.ui.frame.remember import remember

USUAL = "12345"
"""Keys of the answers, in their order, where nobody chose any."""

TAKEN = {
    "u": "takes the last answer back",
    "o": "hides heatmaps",
    "r": "draws the page again",
    "c": "empties caches",
}
"""Keys that mean something else on this page: what."""

CHOSEN = "tag_keys"
"""In the session: what was written."""


def checked(written: str) -> str:
    """One key for every answer, in their order, small letters.

    Raises
    ------
    InputError
        If these are not as many letters or digits as answers, or a key means two things.
    """
    keys = "".join(written.split()).replace(",", "").lower() or USUAL
    strange = [key for key in keys if not (key.isascii() and key.isalnum())]
    if strange or len(keys) != len(USUAL):
        raise InputError(
            f"Keys {written!r}: write {len(USUAL)} letters or digits, one for every answer"
        )
    for key in keys:
        if key in TAKEN:
            raise InputError(f"Keys {written!r}: {key} {TAKEN[key]}; choose another")
        if keys.count(key) > 1:
            raise InputError(f"Keys {written!r}: {key} would give two answers; choose another")
    return keys


def choose() -> None:
    """Where the keys are written, and why they cannot be."""
    with st.popover("Keys", icon=":material/keyboard:"):
        written = st.text_input(
            "Keys of the five answers, in their order",
            key=CHOSEN,
            persist_state="session",
            placeholder=USUAL,
            max_chars=20,
            help="Five letters or digits, such as asdfg. This browser keeps them; empty: 12345.",
        )
        try:
            checked(written or "")
        except InputError as error:
            st.error(plain(error), icon=":material/error:")
    remember(CHOSEN, "spurioscope-keys")


def keys() -> str:
    """The keys as they stand; the usual ones where those written cannot be."""
    try:
        return checked(str(st.session_state.get(CHOSEN) or ""))
    except InputError:
        return USUAL
