"""Blocks of the page Measures: what the model decides by, on images put together anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.measures.factors import DECIDED_BY, IMAGES, lacking, stored_factors
from core.measures.measure_requests import FactorsRequest
from core.measures.registry import MEASURES
from core.ui.frame import blocks, state, working
from core.ui.kit.palette import LOWERS, NEUTRAL, RAISES
from core.ui.kit.text import drawn
from core.ui.measures.figures import finished, interval

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator

ALL = "all classes"


def measured(audit: Audit) -> pd.DataFrame | None:
    """Choose the class asked about; its figures and their table, or an offer to measure it."""
    if why := lacking(audit):
        blocks.empty(
            "Object masks are missing",
            f"{blocks.plain(why[0].upper() + why[1:])}.",
            icon=":material/texture:",
        )
        return None
    names = blocks.class_names(audit)
    label = state.choose(
        st.selectbox, "Images of", "of", [ALL, *names], format_func=lambda v: names.get(v, v)
    )
    chosen = None if label == ALL else label
    table = stored_factors(audit, class_name=chosen)
    if table is None:
        blocks.empty(
            "Not measured yet",
            f"{_how_many(chosen)} are taken apart by their object masks and put "
            "together in eight ways, with shape, texture and background each the class's own or "
            "another class's. The model is asked about every one: some minutes without a GPU.",
            icon=":material/texture:",
        )
        working.offer(
            FactorsRequest(audit.id, chosen),
            f"{audit.name}: what it decides by ({names.get(label, label)})",
            "Measure what the model decides by",
            key="run-factors",
            primary=True,
        )
        return None
    headline(table)
    return table


def _how_many(label: str | None) -> str:
    if label is None:
        return f"Up to {IMAGES} held-out images"
    half = IMAGES // 2
    return f"Up to {half} held-out images of this class and as many of others to change them with"


def headline(table: pd.DataFrame) -> None:
    """The three main effects, shape bias and background gap, and a figure of all effects."""
    main = table[table["measure"] == "decided_by"].set_index("subject")
    cells = blocks.metrics(5, width=180)
    for cell, (name, found) in zip(cells, main.iterrows(), strict=False):
        _metric(cell, f"By {blocks.plain(name)}", found)
    for cell, name, title in zip(
        cells[3:], ("shape_bias", "background_gap"), ("Shape bias", "Background gap"), strict=True
    ):
        _metric(cell, title, table[table["measure"] == name].iloc[0])
    st.plotly_chart(effects_figure(table), width="stretch", key="factors")
    st.caption(
        f"{blocks.plain(DECIDED_BY.meaning)} 95 % intervals; n = "
        f"{int(main['n'].iloc[0]):,} images, {blocks.plain(str(main['split'].iloc[0]))}. "
        f"Source: {blocks.plain(DECIDED_BY.source)}."
    )


def _metric(cell: DeltaGenerator, title: str, found: pd.Series) -> None:
    meaning = MEASURES[found["measure"]]
    there = found["value"] == found["value"]
    cell.metric(
        title,
        f"{found['value']:.2f}" if there else "undefined",
        f"{found['low']:.2f} to {found['high']:.2f}" if there else None,
        delta_color="off",
        delta_arrow="off",
        border=True,
        help=blocks.plain(f"{meaning.meaning} n = {found['n']:,}. Source: {meaning.source}."),
    )


def effects_figure(table: pd.DataFrame) -> go.Figure:
    """Main effects and interactions with their intervals, 0 in the middle."""
    import plotly.graph_objects as go

    figure = go.Figure()
    kinds = {"decided_by": ("main effect", "circle"), "factor_interaction": ("interaction", "x")}
    for measure, (name, symbol) in kinds.items():
        rows = table[table["measure"] == measure]
        certain = (rows["low"] > 0) | (rows["high"] < 0)
        colours = [
            (RAISES if value > 0 else LOWERS) if sure else NEUTRAL
            for value, sure in zip(rows["value"], certain, strict=True)
        ]
        figure.add_trace(
            go.Scatter(
                x=rows["value"],
                y=[drawn(subject) for subject in rows["subject"]],
                mode="markers",
                name=name,
                error_x=interval(rows),
                marker={"size": 10, "symbol": symbol, "color": colours},
                hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            )
        )
    figure.add_vline(x=0, line_width=1, line_color=NEUTRAL)
    figure.update_xaxes(title="effect on the share still called the class", range=[-1.05, 1.05])
    figure.update_yaxes(autorange="reversed", zeroline=False)
    return finished(figure, height=330)
