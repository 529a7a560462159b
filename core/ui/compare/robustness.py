"""Effective robustness on the page Compare."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.measures.cells import Context
from core.measures.decimals import places
from core.measures.effective_robustness import DROP, RHO, Robustness, axes, robustness
from core.measures.measure import POINTS
from core.measures.published_line import published_line, published_table
from core.statistics.robustness import Line
from core.ui.compare.figures import robustness_figure
from core.ui.frame import state
from core.ui.frame.blocks import empty, plain, sentences
from core.ui.frame.words import help_on
from core.ui.kit.columns import percent

PARAMETERS = ["x", "y", "line"]


def show(context: Context) -> None:
    """Models between two sets of images, and their distance from the line."""
    names = axes(context)
    if len(names) < 2:
        empty(
            "There is only one set of images",
            "Tag cues as **spurious**, or bring data with several held-out splits or with "
            "attributes, so that there are two accuracies to compare.",
        )
        return
    chosen = _choose(context, names)
    found = robustness(context, *chosen, published=_published())
    if found.points.empty:
        empty("No model has both accuracies", "Choose other sets of images.")
        return
    st.plotly_chart(robustness_figure(found), width="stretch", key="robustness")
    if found.note:
        st.info(plain(found.note), icon=":material/info:")
    _numbers(found)


def _choose(context: Context, names: list[str]) -> tuple[str, str, list[str]]:
    """Both sets of images, and the models that make the line."""
    models = {audit.id: audit.name for audit in context.audits}
    if not state.get("line"):
        usual = [a.id for a in context.audits if a.manifest.mitigation is None]
        state.put("line", ",".join(usual or models))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        x = state.choose(st.selectbox, "Across: accuracy on", "x", names)
        y = state.choose(
            st.selectbox,
            "Up: accuracy on",
            "y",
            names,
            default=names[1],
            help=help_on("effective robustness"),
        )
        line = state.several(
            "Models that make the line",
            "line",
            models,
            help="The usual ones. Leave out a model with a remedy to see how far it moves from "
            "what they let expect.",
        )
    return x, y, line


def _published() -> Line | None:
    """A line through models of a table that the user has, instead of one through these."""
    line = None
    with st.expander("A line through published models"), sentences():
        given = st.file_uploader(
            "Table of accuracies",
            type="csv",
            help="A row per model and a column per set of images, as the ImageNet testbed has it. "
            "Leave only standard models in it. Nothing of it is kept.",
        )
        if given is not None:
            line = _chosen_line(published_table(given.getvalue()))
    return line


def _chosen_line(table: pd.DataFrame) -> Line:
    columns = list(map(str, table.columns))
    across, up = st.columns(2)
    x = across.selectbox("Its column across", columns)
    return published_line(table, x, up.selectbox("Its column up", columns, index=1))


ENDS = ("from", "to")
"""What columns of the ends of a 95 % interval are called, behind that of the figure."""


def _numbers(found: Robustness) -> None:
    """The same in numbers."""
    ends = [[name, f"{name}_low", f"{name}_high"] for name in ("x", "y")]
    drop = [name for name in DROP if name in found.points]
    order = ["name", *ends[0], "n_x", *ends[1], "n_y", *RHO, *drop, "in_line"]
    points = found.points[order].copy()
    points[[*ends[0], *ends[1]]] *= 100
    shown = {}
    for of in (RHO, DROP):
        if of[0] in points:
            decimals = places(points[of[1]], points[of[2]], POINTS)
            points[[*of]] = points[[*of]].round(decimals) + 0.0  # no minus before nothing
            shown[of[0]] = f"%+.{decimals}f points"
    st.dataframe(
        points,
        hide_index=True,
        width="stretch",
        placeholder="",
        column_config={
            **{
                name: percent(title, places(points[low], points[high], POINTS))
                for way, (own, low, high) in zip(("Across", "Up"), ends, strict=True)
                for title, name in zip((way, *ENDS), (own, low, high), strict=True)
            },
            **{name: st.column_config.NumberColumn("images") for name in ("n_x", "n_y")},
            "name": "Model",
            "in_line": "In the line",
            "rho": st.column_config.NumberColumn(
                "Effective robustness",
                format=shown["rho"],
                help="Accuracy up minus what the line gives for the accuracy across.",
            ),
            "drop": st.column_config.NumberColumn(
                "Drop",
                format=shown.get("drop"),
                help="Accuracy across minus accuracy up, of two samples of images (Newcombe 1998).",
            ),
            **{
                name: st.column_config.NumberColumn(end, format=shown.get(of[0]))
                for of in (RHO, DROP)
                for name, end in zip(of[1:], ENDS, strict=True)
            },
        },
    )
    fit = ""
    if found.line:
        fit = (
            f" Line: logit(y) = {found.line.slope:.2f} logit(x) {found.line.intercept:+.2f}, "
            f"R² {found.line.r2:.2f} over {found.line.n:,} models."
        )
    st.caption(
        "Logit axes, 95 % Clopper-Pearson bars (Taori et al. 2020); the band is where the line "
        "passes, at 95 % for every place by itself. High and low spuriosity are each model's own "
        "ends of its ranking." + fit
    )
