"""The mean of several models' probabilities on the page Compare: accuracy, calibration, the cue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.measures import decimals
from core.measures.cells import Context
from core.measures.conditions import ALL, CUE, CUES
from core.measures.ensembles import MEAN, MODEL, along_cue, ensembled
from core.measures.registry import MEASURES
from core.storage.spreadsheet import csv_bytes
from core.ui.compare import compare
from core.ui.frame.blocks import no_cue, plain, sentences, table
from core.ui.kit.palette import CLASSES, NEUTRAL
from core.ui.kit.text import drawn

if TYPE_CHECKING:
    import plotly.graph_objects as go

FIGURES = ("accuracy", "calibration_error", "overconfidence", "nll", "brier")
CHANGES = ("ensemble_accuracy", "ensemble_nll", "ensemble_brier")
ENDS = {ALL: "", **{f"{CUE} {name}": f", {name} of the cue" for name in (CUES[0], CUES[-1])}}
"""Images that changes are told of."""


def show(context: Context, baseline: Audit) -> None:
    """Every model beside their mean, what the mean changes, and both along the cue."""
    audits = [baseline, *(a for a in context.audits if a.id != baseline.id)]
    with sentences():
        found = _ensembled(compare.state_of(audits), context, audits)
        names = {MEAN: f"mean of the {len(audits)}", **{a.id: a.name for a in audits}}
        st.markdown("**Every model alone, and the mean of their probabilities**")
        _grid(found[found["subject"] == ALL], FIGURES, names, "model")
        st.markdown("**What the mean changes, image by image**")
        for subject, words in ENDS.items():
            _grid(found[found["subject"] == subject], CHANGES, names, f"against{words}")
        if context.has_tags(baseline):
            _along(found, names, baseline)
        else:
            no_cue("This tells whether the mean helps where models lack")
        st.download_button(
            "Download the whole table",
            lambda: csv_bytes(found.assign(model=found[MODEL].map(names))),
            file_name="ensemble.csv",
            mime="text/csv",
            icon=":material/download:",
        )


@st.cache_resource(max_entries=8, show_spinner="Averaging probabilities …")
def _ensembled(state_of: str, _context: Context, _audits: list[Audit]) -> pd.DataFrame:
    del state_of  # part of the key only
    return ensembled(_audits, _context.decisions[_audits[0].id])


def _grid(rows: pd.DataFrame, measures: tuple[str, ...], names: dict[str, str], head: str) -> None:
    """Figures with their intervals, a row per model."""
    rows = rows[rows["measure"].isin(measures)]
    if rows.empty:
        return
    shown = [
        f"{decimals.figure(r['value'], r['unit'], r['low'], r['high'])} "
        f"{decimals.interval(r['low'], r['high'], r['unit'])}"
        for _, r in rows.iterrows()
    ]
    titles = {name: MEASURES[name].title.removeprefix("Ensemble: ") for name in measures}
    cells = rows.assign(shown=shown).pivot(index=MODEL, columns="measure", values="shown")
    order = [model for model in names if model in cells.index]
    cells = cells.loc[order, list(measures)].rename(columns=titles)
    table(cells.set_axis([names[model] for model in order], axis=0).rename_axis(head))


def _along(found: pd.DataFrame, names: dict[str, str], baseline: Audit) -> None:
    """Accuracy by tenth of the baseline's cues, a line per model."""
    if along_cue(found, MEAN).empty:
        st.caption("Too few shared held-out images to put any into tenths by the tagged cues.")
        return
    st.markdown(
        f"**Accuracy by how much of the cues tagged in {plain(baseline.name)} images show**"
    )
    st.plotly_chart(along_figure(found, names), width="stretch", key="ensemble-cue")
    st.caption(
        "Models that lean on one cue err together where it is missing, and their mean with them. "
        "95 % intervals (Clopper-Pearson) hold for the ten tenths of a model."
    )


def along_figure(found: pd.DataFrame, names: dict[str, str]) -> go.Figure:
    """Accuracy by tenth of the cue, the mean thick and grey."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for place, (model, name) in enumerate(names.items()):
        rows = along_cue(found, model)
        mean = model == MEAN
        colour = NEUTRAL if mean else CLASSES[(place - 1) % len(CLASSES)]
        figure.add_trace(
            go.Scatter(
                x=[text.removeprefix(f"{CUE} ") for text in rows["subject"]],
                y=rows["value"].tolist(),
                name=drawn(name),
                mode="lines+markers",
                line={"width": 4 if mean else 1.5, "color": colour},
                error_y={
                    "symmetric": False,
                    "array": (rows["high"] - rows["value"]).tolist(),
                    "arrayminus": (rows["value"] - rows["low"]).tolist(),
                    "thickness": 1,
                    "width": 0,
                },
            )
        )
    figure.update_yaxes(range=[0, 1.02], title="accuracy")
    figure.update_layout(height=380, margin={"l": 10, "r": 10, "t": 10, "b": 10})
    return figure
