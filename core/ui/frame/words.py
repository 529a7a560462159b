"""Help on words: the glossary as tooltips and as a page."""

from __future__ import annotations

import streamlit as st

from core.explain.attribution import ATTRIBUTIONS
from core.glossary import TERMS, Term
from core.measures.measure import Measure
from core.measures.registry import MEASURES
from core.ui.frame import blocks, frame, state
from core.ui.kit.text import html


def measure_terms() -> dict[str, Term]:
    """Every measure as a term of the glossary."""
    return {found.name: _of_measure(found) for found in MEASURES.values()}


def _of_measure(found: Measure) -> Term:
    return Term(found.name, found.text, found.unit, found.higher, found.source)


def _methods() -> dict[str, Term]:
    return {
        a.title: Term(a.title, a.text, source=a.source)
        for a in ATTRIBUTIONS.values()
        if a.title.casefold() not in TERMS  # the exact map
    }


def _terms() -> dict[str, Term]:
    """The terms, and the methods of attribution among them, by the alphabet."""
    known = {**TERMS, **_methods()}
    return {name: known[name] for name in sorted(known, key=str.casefold)}


def help_on(*names: str) -> str:
    """Terms as the text of a tooltip, one paragraph each.

    Raises
    ------
    KeyError
        If one of them is neither a term nor a measure.
    """
    known = [_term(name) for name in names]
    said = [f"**{blocks.plain(t.name)}**: {blocks.plain(t.text)}" for t in known]
    return "\n\n".join(said)


def _term(name: str) -> Term:
    if name in TERMS:
        return TERMS[name]
    return _of_measure(MEASURES[name]) if name in MEASURES else _methods()[name]


def glossary() -> None:
    """Every term and every measure, filtered by what is typed."""
    query = state.text("Search", "word", placeholder="a word").casefold()
    state.publish(["word"])
    found = False
    for title, known in (("Terms", _terms()), ("Measures", measure_terms())):
        shown = [t for t in known.values() if query in f"{t.name} {t.definition}".casefold()]
        if shown:
            found = True
            st.subheader(title)
            st.html("<dl class='glossary'>" + "".join(map(_entry, shown)) + "</dl>")
    if not found:
        blocks.empty("No term matches", "Type less of the word, or clear the search.")


def _entry(known: Term) -> str:
    said = "".join(
        f"<span><b>{title}</b> {html(text)}</span>"
        for title, text in (
            ("Unit", known.unit),
            ("Reading", known.direction),
            ("Source", known.source),
        )
        if text
    )
    more = f"<div class='more'>{said}</div>" if said else ""
    return f"<dt>{html(known.name)}</dt><dd>{html(known.definition)}{more}</dd>"


def tour_again() -> None:
    """A button that shows the tour from its first step."""
    if not blocks.read_only():
        st.button("Show the tour again", icon=":material/tour:", on_click=frame.restart_tour)
