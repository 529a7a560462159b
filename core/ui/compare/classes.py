"""Classes x models on the page Compare: a heat map that leads to the images, and correlations."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core.measures.cells import Context
from core.measures.classes import ACCURACY, KINDS, TAGGED, WIDEST, class_table, correlations
from core.ui.compare import compare
from core.ui.compare.figures import class_heat
from core.ui.frame import state
from core.ui.frame.blocks import empty, plain
from core.ui.kit.columns import filled

PARAMETERS = ["of", "of_model"]
PAGES = {TAGGED: "ranking", WIDEST: "components", ACCURACY: "image"}
"""Where the images behind a cell are."""

MOST = 60
"""Classes in the heat map: those that differ most from nothing."""


def show(context: Context) -> None:
    """The heat map, what a cell leads to, and how alike the models are."""
    kind = state.choose(
        st.segmented_control,
        "Of every class",
        "of",
        list(KINDS),
        default=TAGGED if context.tagged else WIDEST,
        format_func=KINDS.__getitem__,
    )
    table = class_table(context, kind)
    if table.empty:
        empty(
            "No class is tagged in every tagged model",
            "Tag cues as **spurious** on the page **Tagging**, then carry them over under **Carry "
            "tags**; or look at the largest gaps, which need no tags.",
            icon=":material/sell:",
        )
        return
    names = {audit.id: audit.name for audit in context.audits}
    clicked = _heat(table, names, kind)
    _by_keyboard(table, names, kind)
    _alike(context, names, kind)
    if clicked:
        compare.open_class(clicked[0], clicked[1], PAGES[kind])


def _heat(table: pd.DataFrame, names: dict[str, str], kind: str) -> tuple[str, str] | None:
    """Draw it; returns the audit and label of a clicked cell."""
    order = table.groupby("label")["value"].mean().sort_values(ascending=kind == ACCURACY)
    shown = order.index[:MOST].tolist()
    if len(order) > MOST:
        st.caption(f"{MOST} of {len(order)} classes, those with the largest mean.")
    figure = class_heat(table[table["label"].isin(shown)], shown, names, signed=kind != ACCURACY)
    key = f"heat-{kind}"
    event: Any = st.plotly_chart(
        figure, key=key, on_select="rerun", selection_mode="points", width="content"
    )
    st.caption(
        "Click a cell to see its images. The interval of each is shown on pointing at it"
        + (", corrected for the candidates of its class." if kind == WIDEST else ".")
    )
    points = event["selection"]["points"] if event else []
    found = [p["customdata"] for p in points if p.get("customdata")]
    return (str(found[0][0]), str(found[0][1])) if found else None


def _by_keyboard(table: pd.DataFrame, names: dict[str, str], kind: str) -> None:
    """The same without pointing."""
    classes = dict(zip(table["label"], table["class_name"], strict=True))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = state.choose(st.selectbox, "Class", "class", classes)
        having = table.loc[table["label"] == label, "audit"].tolist()
        audit = state.choose(
            st.selectbox, "Model", "of_model", having, format_func=lambda v: names.get(v, v)
        )
        if st.button("Show its images", icon=":material/photo_library:"):
            compare.open_class(audit, label, PAGES[kind])


def _alike(context: Context, names: dict[str, str], kind: str) -> None:
    """How alike every two models are."""
    st.markdown("**Is it in the data or in the model?** Correlation over the classes")
    rows = [
        {
            "models": f"{names[c.first]} and {names[c.second]}",
            "classes": c.n,
            "Pearson": c.pearson,
            "from": c.low,
            "to": c.high,
            "Spearman": c.spearman,
            "reading": c.reading,
        }
        for c in correlations(context, kind)
    ]
    if not rows:
        st.caption(plain("Fewer than two models have such figures."))
        return
    number = {
        name: st.column_config.NumberColumn(format="%.2f")
        for name in ("Pearson", "from", "to", "Spearman")
    }
    number["reading"] = st.column_config.TextColumn(width="large")
    table = filled(pd.DataFrame(rows))
    st.dataframe(table, hide_index=True, width="stretch", placeholder="", column_config=number)
    st.caption(
        "Models that lean on cues in the same classes have it from the data they share. Gaps of "
        "few images are noisy, which pulls correlations towards zero."
    )
