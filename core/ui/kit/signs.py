"""Core and spurious at one glance: an icon, a colour and a word each, the same on every page.

Buttons get theirs from ``assets/app.css`` and ``assets/gallery.css``, badges in texts from here.
"""

from __future__ import annotations

from core.types import Tag
from core.ui.kit.text import plain

ICONS = {
    Tag.CORE: ":material/check_circle:",
    Tag.SPURIOUS: ":material/warning:",
    Tag.UNSURE: ":material/help:",
}
MARKS = {Tag.CORE: "✓ core", Tag.SPURIOUS: "⚠ spurious", Tag.UNSURE: "? unsure"}
"""In cells of tables, which hold no icon."""

COLOURS = {Tag.CORE: "green", Tag.SPURIOUS: "violet", Tag.UNSURE: "gray"}
"""As Streamlit calls them."""


def signed(tag: str, count: int | None = None) -> str:
    """A tag as Markdown, with how many said it; what is no tag is a word in bold."""
    if tag not in set(Tag):
        return f"**{plain(tag)}**"
    known = Tag(tag)
    number = "" if count is None else f"{count:d} "
    return f":{COLOURS[known]}-badge[{ICONS[known]} {number}{plain(known.value)}]"


def cell(tag: str) -> str:
    """A tag in a cell of a table."""
    return MARKS[Tag(tag)] if tag in set(Tag) else tag
