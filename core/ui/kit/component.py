"""Elements of our own: each a style sheet and a script in ``assets``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

ASSETS = Path(__file__).resolve().parents[3] / "assets"
SHARED = "component.js"
"""Comes before the script of every component."""


@cache
def component(name: str) -> ComponentRenderer:
    """The component of ``assets/NAME.css`` and ``assets/NAME.js``."""
    return st.components.v2.component(
        f"spurioscope.{name}", css=_read(f"{name}.css"), js=_read(SHARED) + _read(f"{name}.js")
    )


def nothing() -> None:
    """Take no action: the name of the argument ``on_NAME_change`` is what declares a trigger."""


def _read(file: str) -> str:
    return (ASSETS / file).read_text(encoding="utf-8")
