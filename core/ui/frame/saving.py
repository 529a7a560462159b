"""A button that gives the images on a page a name: they become a group of the audit."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.audits.audit import Audit
from core.errors import SpurioscopeError
from core.tags.people import LONGEST_CALLED
from core.types import count_of
from core.ui.frame import blocks, cards, opened

SAID = "group_said"
"""Key of what became of the last group, said once."""


def save_group(audit: Audit, image_ids: Sequence[str], how: str, key: str) -> None:
    """A name for some images; nothing where there are none, or nothing may be changed.

    Parameters
    ----------
    how : where they come from, in words; it is kept with the group.
    """
    if said := st.session_state.pop(SAID, None):
        st.toast(blocks.plain(said))
    if not image_ids or blocks.read_only():
        return
    n, field = count_of(len(image_ids), "image"), f"group-name-{key}"
    with st.popover(f"Save {n} as a group", icon=":material/bookmark_add:"):
        st.text_input(
            "Name of the group",
            key=field,
            max_chars=LONGEST_CALLED,
            placeholder="snow, wrong at night",
            help="A group is an attribute: Map, Ranking, Compare, Measures and Mitigate slice by "
            "it, and the page Data lists and exports it.",
        )
        st.button(
            "Save",
            key=f"group-save-{key}",
            type="primary",
            on_click=_save,
            args=(audit, tuple(image_ids), how, field),
        )


def _save(audit: Audit, image_ids: tuple[str, ...], how: str, field: str) -> None:
    try:
        group = opened.saved_groups().add(
            cards.annotator(), audit, st.session_state.get(field, ""), image_ids, how
        )
    except SpurioscopeError as error:
        st.session_state[SAID] = str(error)
        return
    n = count_of(len(image_ids), "image is", "images are")
    st.session_state[SAID] = f"{n} the group {group.name!r}."
