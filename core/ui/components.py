"""Blocks of the page Components."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.audit import Audit
from core.ui import state
from core.ui.blocks import undo_button

PARTS = {"both": "both signs", "positive": "what raises it", "negative": "what lowers it"}


def look(audit: Audit) -> dict[str, Any]:
    """How cards look: number of images, parts of the overlay, outlines."""
    with st.popover("Display", icon=":material/tune:", width="stretch"):
        top = state.number(st.slider, "Images per candidate", "n", 1, 24, 5)
        parts = state.choose(
            st.segmented_control, "Heatmap", "parts", list(PARTS), format_func=PARTS.__getitem__
        )
        outlines = False
        if audit.summary["masks"]:
            outlines = state.toggle("Outline masks and boxes", "outline")
        undo_button(audit)
    return {
        "top": top,
        "weakest": 2,
        "parts": parts,
        "contour": True,
        "outlines": outlines,
    }


def pager(total: int, per_page: int) -> int:
    """Page through candidates; returns the first one's position."""
    pages = -(-total // per_page)
    if pages < 2:
        return 0
    options = [str(n) for n in range(1, pages + 1)]
    page = state.choose(
        st.segmented_control, f"Page of {total} candidates", "page", options, default="1"
    )
    return (int(page) - 1) * per_page


def neighbours(labels: list[str]) -> None:
    """Buttons to the class before and after the shown one; they go round."""

    def step(by: int) -> None:
        now = state.get("class")
        place = labels.index(now) if now in labels else 0
        state.put("class", labels[(place + by) % len(labels)])
        state.put("page", "1")

    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        st.button(
            "Previous class",
            icon=":material/chevron_left:",
            on_click=step,
            args=(-1,),
            shortcut="left",
            help="the class before",
        )
        st.button(
            "Next class",
            icon=":material/chevron_right:",
            on_click=step,
            args=(1,),
            shortcut="right",
            help="the class after",
        )
