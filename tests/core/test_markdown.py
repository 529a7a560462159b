"""Text of people and data as Markdown, as text, in figures and in HTML."""

from __future__ import annotations

import html
import re

import pytest

from core.markdown import UNKNOWN, escaped, visible
from core.ui.kit import text
from tests.hostile import NAMES, UNSEEN

ORDINARY = [
    "n01440764_a-b (old)",
    "crane (machine), 2nd",
    "P-ClArC: 0.5, 3.5 %",
    "a=b + c; d's",
    "",
]


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert escaped(name) == text.plain(name) == visible(name) == name


def test_a_name_stays_on_its_line() -> None:
    broken = "  a \r\n\n    ![x](y)\u2028b\t\tc\x1f"
    assert visible(broken) == "a ![x](y) b c"
    assert escaped(broken) == r"a \!\[x\](y) b c"


def test_what_cannot_be_seen_is_shown() -> None:
    assert visible(UNSEEN) == f"gp{UNKNOWN}gnp.exe{UNKNOWN * 3}"
    assert visible(UNSEEN).encode()
    kept = "نام\N{ZERO WIDTH NON-JOINER}ها \N{LEFT-TO-RIGHT MARK}5\N{NO-BREAK SPACE}%"
    assert visible(kept) == kept


@pytest.mark.parametrize("name", NAMES)
def test_without_its_backslashes_and_seams_an_escaped_name_is_the_name(name: str) -> None:
    for markdown in (escaped(name), text.plain(name).replace(text.SEAM, "")):
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown) == name


@pytest.mark.parametrize("name", NAMES)
def test_html_and_figures_hold_a_name_as_text(name: str) -> None:
    for found in (text.html(name), text.drawn(name)):
        assert html.unescape(found) == name
        assert not {"<", ">"} & set(found)
    assert not {'"', "'"} & set(text.html(name))
    assert not {"%", "$"} & set(text.drawn(name))


def test_a_long_name_is_cut_before_it_is_escaped() -> None:
    assert text.drawn("<" * 9, most=4) == "&lt;&lt;&lt;…"
    assert text.drawn("<<<<", most=4) == "&lt;" * 4
