"""How little of a class's images is enough: where on average, and whether that is one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.audits.audit import Audit
from core.explain.fills import WORDS
from core.explain.overlays import heat_png
from core.measures.measure_requests import MeasureRequest
from core.trials.outcomes import Outcomes
from core.trials.subset_trial import most_often, where
from core.types import count_of
from core.ui.frame import blocks, opened, state, tagged, working
from core.ui.kit.gallery import Picture, gallery, inline
from core.ui.measures.asked import dots, known_or_offer

if TYPE_CHECKING:
    import pandas as pd

SIZE = 160
"""Pixels of a map along a side."""

READING = (
    "A map is brightest where most images of the class keep a patch of what is enough for nine "
    "tenths of their confidence. A subset that lay anywhere would keep every patch as often as it "
    "is large; p: the chance of so many images at one patch, corrected for all patches. What is in "
    "the middle may be the object; what is in a corner is seldom all of it."
)


def section(audit: Audit) -> pd.DataFrame | None:
    """A map of every class that was looked at, or a button; then what an ensemble does to it."""
    _where(audit)
    return _together(audit)


def _where(audit: Audit) -> None:
    outcomes = Outcomes(audit, tagged.decisions(audit))
    if not outcomes.decisions.spurious:
        blocks.no_cue("What is enough is held against")
        return
    found = {label: outcomes.subsets(label) for label in outcomes.subset_labels}
    tables = {label: table for label, table in found.items() if table is not None and len(table)}
    if not tables:
        working.offer(
            MeasureRequest(audit.id, "subsets"),
            f"{audit.name}: how little of an image is enough",
            "Look for what is enough, in the tagged classes and some others",
            key="subsets",
            icon=":material/crop_free:",
            help="Some hundred passes for each of up to 16 images a class: minutes",
        )
        return
    cells = [_cell(audit, label, table) for label, table in tables.items()]
    gallery(cells, key="where-enough", size=SIZE, enlarge="", label="Where what is enough lies")
    for label, table in tables.items():
        st.markdown(f"- {blocks.plain(words(audit, label, table))}")
    st.caption(READING)


def _together(audit: Audit) -> pd.DataFrame | None:
    """What the mean of several models' probabilities needs of an image; None where none is chosen.

    The classes are the tagged ones, or some where nothing is tagged.
    """
    others = opened.ensemble_members(audit)
    chosen = state.several("Averaged with (an ensemble)", "with", others) if others else []
    if not chosen:
        return None
    request = MeasureRequest(audit.id, "remedies", ensemble=tuple(chosen))
    table = known_or_offer(
        audit,
        request,
        "The share that is enough for each model alone and for the mean of their probabilities, on "
        "the same images. A remedy needs more of an image than each alone. Minutes.",
    )
    if table is None:
        return None
    sizes = table[table["measure"] == "ensemble_subset_size"]
    rows = sizes.assign(place=sizes["class_name"].replace("", "all classes"))
    figure = dots(rows, "share of an image that is enough", [0, 1.02])
    st.plotly_chart(figure, width="stretch", key="remedies")
    return table


def _cell(audit: Audit, label: str, table: pd.DataFrame) -> Picture:
    name = audit.class_facts(label).name
    shown = where(table)
    png = heat_png(shown, float(shown.max()) or 1.0, size=SIZE, parts="positive", contour=False)
    alt = f"Where what is enough lies in images of {name}"
    return Picture(label, inline(png), None, None, f"{name} · {count_of(len(table), 'image')}", alt)


def words(audit: Audit, label: str, table: pd.DataFrame) -> str:
    """What a map says, in a sentence."""
    name, fill = audit.class_facts(label).name, WORDS[str(table["fill"].iloc[0])]
    often = most_often(table)
    row, column = often.place
    chance = f"p = {often.p:.2g}" if often.p >= 0.001 else "p < 0.001"
    edge = table["border"].mean()
    border = "" if edge != edge else f", {100 * edge:.0f} % of it at the border"
    return (
        f"{name}: {100 * table['size'].mean():.1f} % of an image on average, filled with {fill}"
        f"{border}; most often row {row + 1}, column {column + 1} of 14, in {often.images} of "
        f"{count_of(len(table), 'image')}, {chance}"
    )
