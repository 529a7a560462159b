"""How it is shown where something is: one choice for every page, kept in the address."""

from __future__ import annotations

from typing import cast

import streamlit as st

from core.audits.audit import Audit
from core.explain.overlays import Parts, Style
from core.ui.frame import blocks, state
from core.ui.frame.pictures import Look
from core.ui.frame.words import help_on

PARAMETERS = ("look", "parts", "contour", "outline")
STYLES = {"spotlight": "Spotlight", "colour": "Colours"}


def now(audit: Audit) -> Look:
    """What is chosen, before it is drawn; an audit without masks has no outlines."""
    return Look(
        cast(Style, state.peek("look", list(STYLES))),
        cast(Parts, state.peek("parts", list(blocks.PARTS))),
        state.peek_toggle("contour", default=True),
        bool(audit.summary.masks) and state.peek_toggle("outline"),
    )


def style() -> None:
    """Spotlight or colours, a click away."""
    state.choose(
        st.segmented_control,
        "Shown as",
        "look",
        STYLES,
        help=f"{help_on('spotlight', 'exact map')}\n\nPointing at a picture, or holding the key "
        "**o**, shows the bare photo.",
        width="content",
    )


def details(audit: Audit) -> None:
    """Everything else about it, in whatever container this is called."""
    dims = now(audit).dims
    state.choose(
        st.segmented_control,
        "Shown is",
        "parts",
        blocks.PARTS,
        help="A spotlight shows one sign: what raises it, unless what lowers it is chosen.",
    )
    state.toggle("Line at half of the maximum", "contour", default=True, disabled=dims)
    if audit.summary.masks:
        state.toggle("Outline masks and boxes", "outline")
