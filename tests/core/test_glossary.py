"""The glossary: every term is defined once, in a way that a page can show."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from core.errors import InputError
from core.glossary import TERMS, Term, term
from core.measures.registry import MEASURES

ROOT = Path(__file__).resolve().parents[2]


def test_terms_are_in_alphabetical_order_and_none_is_twice() -> None:
    assert list(TERMS) == sorted(TERMS, key=str.casefold)
    names = [name.casefold() for name in TERMS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("known", TERMS.values(), ids=list(TERMS))
def test_a_definition_is_a_sentence(known: Term) -> None:
    assert known.definition.endswith(".")
    for part in (known.unit, known.direction, known.source):
        assert not part.endswith(".")


def test_the_text_holds_every_part() -> None:
    known = Term("n", "A number.", "points", "higher is better", "Someone 1999")
    assert known.text == "A number. Unit: points. Higher is better. Source: Someone 1999."


def test_an_unknown_term_is_named() -> None:
    with pytest.raises(InputError, match="'karma' is no term"):
        term("karma")


def test_every_help_on_a_page_names_a_term() -> None:
    asked = set()
    for path in [*(ROOT / "core" / "ui").rglob("*.py"), *(ROOT / "pages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("help_on")
            if named and isinstance(node.args[0], ast.Constant):
                asked.add(node.args[0].value)
    assert asked
    assert asked <= set(TERMS) | set(MEASURES)
