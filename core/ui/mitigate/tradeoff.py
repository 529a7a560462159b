"""Blocks of the page Mitigate: the trade-off, and the commands that make or measure more."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.corrections.corrected import facts_of, tradeoff_table
from core.corrections.methods import METHODS
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.tradeoff import SWEPT, WORST
from core.measures.scope import NOT_ASKED
from core.storage.guard import permitted
from core.ui.frame import blocks, working
from core.ui.kit.figures import tradeoff_scatter


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
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        table if there else table[SWEPT],
        hide_index=True,
        width="stretch",
        column_config={
            "chosen_flips": st.column_config.NumberColumn("flips (training)", format="percent"),
            "chosen_accuracy": st.column_config.NumberColumn(
                "accuracy without cue (training)", format="percent"
            ),
            WORST: st.column_config.NumberColumn("worst group (training)", format="percent"),
            **dict.fromkeys(
                ("accuracy", "accuracy_with_cue", "accuracy_without_cue", "flip_rate", "agreement"),
                percent,
            ),
            "gap": st.column_config.NumberColumn(format="%+.1f points"),
        },
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
