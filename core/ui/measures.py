"""Blocks of the page Measures: every number with what it means."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.audit import Audit
from core.measures.rows import DEFINITIONS
from core.measures.table import measure
from core.types import Progress
from core.ui import blocks, opened, state
from core.ui.tagged import decisions
from core.ui.words import help_on

QUICK = ("gap", "groups")
SLOW = {"noise": "noise on the tagged cues", "flip": "cues pasted on other classes' images"}
UNITS = {"points": "%+.1f points", "share": "%.3f"}


def tables(audit: Audit) -> pd.DataFrame:
    """What follows from stored numbers, and what was measured with the model in this session."""
    kept = _measured()
    key = _key(audit)
    parts = [measure(audit, opened.workspace(), what) for what in QUICK]
    parts += [kept[f"{key}/{what}"] for what in SLOW if f"{key}/{what}" in kept]
    table = pd.concat([p for p in parts if len(p)] or [parts[0]], ignore_index=True)
    return table.drop_duplicates(ignore_index=True)


def _measured() -> dict[str, pd.DataFrame]:
    """What this browser session has measured with the model."""
    kept: dict[str, pd.DataFrame] = st.session_state.setdefault("measured", {})
    return kept


def _key(audit: Audit) -> str:
    """Changes with the audit and with its tags."""
    found = decisions(audit)
    tagged = {
        label: [(c.kind.value, c.component) for c in candidates]
        for label, candidates in [*found.spurious.items(), *found.core.items()]
    }
    return f"{audit.id}/{opened.version(audit)}/{tagged}"


def run_slow(audit: Audit) -> None:
    """Buttons for what needs the model; none in a presentation."""
    if blocks.read_only():
        return
    with st.container(horizontal=True):
        for what, words in SLOW.items():
            if st.button(f"Measure {words}", icon=":material/play_arrow:", key=f"run-{what}"):
                bar = st.progress(0.0, text="Loading the model")

                def report(progress: Progress, bar: DeltaGenerator = bar) -> None:
                    done = progress.done / progress.total if progress.total else 0.0
                    bar.progress(min(done, 1.0), text=progress.stage)

                found = measure(audit, opened.workspace(), what, report=report)
                _measured()[f"{_key(audit)}/{what}"] = found
                st.rerun()


def show(audit: Audit) -> None:
    """The table, filtered, with definitions."""
    table = tables(audit)
    notes = table[table["measure"] == "note"]
    table = table[table["measure"] != "note"]
    for text in notes["note"].unique():
        st.info(blocks.plain(text), icon=":material/info:")
    if table.empty:
        return
    left, right = st.columns(2)
    with left:
        chosen = state.several("Measures", "what", sorted(table["measure"].unique()))
    with right:
        classes = state.several("Classes", "classes", sorted(set(table["class_name"]) - {""}))
    if chosen:
        table = table[table["measure"].isin(chosen)]
    if classes:
        table = table[table["class_name"].isin(classes)]
    st.dataframe(
        table.drop(columns=["class_idx", "label"]),
        hide_index=True,
        width="stretch",
        column_config={
            "class_name": "class",
            "value": st.column_config.NumberColumn(format="%.3g"),
            "low": st.column_config.NumberColumn(format="%.3g", help=help_on("interval")),
            "high": st.column_config.NumberColumn(format="%.3g", help=help_on("interval")),
            "split": st.column_config.TextColumn(help=help_on("split", "held-out images")),
        },
    )
    with st.expander("What the measures mean"):
        for name in sorted(table["measure"].unique()):
            meaning = DEFINITIONS[name]
            st.markdown(
                f"**{name}**: {blocks.plain(meaning.text)} {blocks.plain(meaning.direction)}. "
                f"{blocks.plain(meaning.source)}."
            )
    st.download_button(
        "Download the table",
        table.to_csv(index=False),
        file_name=f"measures-{audit.id}.csv",
        mime="text/csv",
        icon=":material/download:",
    )
    state.publish(["audit", "what", "classes"])
