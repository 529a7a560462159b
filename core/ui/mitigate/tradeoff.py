"""Blocks of the page Mitigate: the trade-off, and the commands that make or measure more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.corrections.corrected import facts_of, tradeoff_table
from core.corrections.methods import METHODS
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.tradeoff import SWEPT
from core.measures.scope import NOT_ASKED
from core.storage.guard import permitted
from core.ui.frame import blocks, working
from core.ui.kit.figures import tradeoff_scatter


def _share(title: str, width: int, of: str) -> Any:
    return st.column_config.NumberColumn(
        title, format="%.1f %%", width=width, help=blocks.plain(of)
    )


LEARNT, TESTED = "on training images that the choice was made by", "on the images reported on"
SHARES = {
    "chosen_worst": _share("Worst group", 94, f"Of class and cue, {LEARNT}"),
    "chosen_flips": _share("Flips", 70, f"Images that the cue turns, {LEARNT}"),
    "chosen_accuracy": _share("Without cue", 92, f"Accuracy without the cue, {LEARNT}"),
    "accuracy": _share("Accuracy", 76, f"Of all classes, {TESTED}"),
    "accuracy_with_cue": _share("With the cue", 92, f"Accuracy with the cue, {TESTED}"),
    "accuracy_without_cue": _share("Without it", 78, f"Accuracy without the cue, {TESTED}"),
    "flip_rate": _share("Flip rate", 74, f"Images that the cue turns, {TESTED}"),
    "agreement": _share("Agreement", 84, f"Predictions that stay as they were, {TESTED}"),
}
COLUMNS = {
    "strength": st.column_config.NumberColumn("Strength", format="%g", width=70, pinned=True),
    "chosen": st.column_config.CheckboxColumn("Taken", width=58),
    "pareto": st.column_config.CheckboxColumn(
        "Unbeaten", width=76, help="No other strength is better in flips and in accuracy"
    ),
    "gap": st.column_config.NumberColumn(
        "Gap, points", format="%+.1f", width=86, help=f"Of accuracy, {TESTED}"
    ),
    "n": st.column_config.NumberColumn("Images", width=62, help=TESTED),
    **SHARES,
}


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Shares as percentages."""
    return table.assign(**{name: 100 * table[name] for name in SHARES if name in table})


def tradeoff(audit: Audit) -> float | None:
    """Every strength tried; returns another one when it is asked for."""
    table = tradeoff_table(audit)
    if table is None:
        st.info(
            "No strengths were tried. Choose so under Strength, options and the published setting.",
            icon=":material/info:",
        )
        return None
    st.plotly_chart(tradeoff_scatter(table), width="stretch", key="tradeoff")
    there = bool(table["accuracy"].notna().any())
    st.caption(
        f"Points are strengths, on {blocks.plain(facts_of(audit).chosen_on)}. The line joins "
        "those that no other beats in both; the star was taken. "
        + (
            "The table says what every strength does to the images that are reported on, which "
            "were not used for the choice. It has no intervals, since strengths are compared on "
            "the same images; those of the strength taken stand in *before and after*."
            if there
            else "What the others do to the images that are reported on would take an audit of "
            "each."
        )
    )
    st.dataframe(
        _in_words(table if there else table[SWEPT]),
        hide_index=True,
        width="stretch",
        column_config=COLUMNS,
        placeholder="",
    )
    method = METHODS.get(facts_of(audit).method)
    low = method.strengths[0] if method else 0.0  # the model as it is may be no strength of it
    strengths = [f"{value:g}" for value in table["strength"] if value >= low]
    if not blocks.may_run():
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.selectbox("Another strength", strengths, key="another")
        pressed = st.button("Make it", icon=":material/play_arrow:", key="make")
    return float(wanted) if pressed else None


def measure_more(audit: Audit, table: pd.DataFrame) -> None:
    """Offer what was left out: everything that needs pictures, and images of a cue alone."""
    if not blocks.may_run():
        return
    same = MitigateRequest.again(facts_of(audit), audit.name)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if (table["note"] == NOT_ASKED).any():
            working.offer(
                same,
                f"{audit.name}: flips, scores and maps",
                "Measure what needs pictures",
                key="pictures",
            )
        _cue_images(audit, same)


def _cue_images(audit: Audit, same: MitigateRequest) -> None:
    """Name a folder with images of a cue alone, and score both models with it."""
    names = blocks.class_names(audit)
    with st.popover("Images of a cue alone", icon=":material/add_photo_alternate:"):
        st.markdown(
            "A folder of images that show the cue of a class and not its object gives the "
            "spurious score before and after."
        )
        label = st.selectbox(
            "Class", list(names), format_func=lambda v: names.get(v, v), key="cue-class"
        )
        folder = st.text_input("Folder", placeholder="/path/to/images", key="cue-folder")
        if folder:
            path = permitted(folder)
            working.offer(
                replace(same, cue_images={label: path}),
                f"{audit.name}: spurious score with {path.name}",
                "Score both models",
                key="score",
            )
