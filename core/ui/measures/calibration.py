"""Blocks of the page Measures: whether the model is as sure as it is right, against the cue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.data.corruptions import SEVERITIES
from core.measures import decimals
from core.measures.calibrated import AT, BIN, LEAST_CUE, MOST_CUE
from core.measures.conditions import ALL, CUE, CUES, SPLIT
from core.measures.corruption_figures import CLEAN, CORRUPTED, EVERY, subject
from core.measures.measure_requests import MeasureRequest
from core.measures.registry import MEASURES
from core.ui.frame import blocks, opened, state, tagged
from core.ui.kit.palette import ACCURACY, LOWERS, NEUTRAL, RAISES
from core.ui.measures.asked import known_or_offer, points
from core.ui.measures.figures import finished, interval

if TYPE_CHECKING:
    import plotly.graph_objects as go

HEADLINE = {
    "accuracy": "Accuracy",
    "confidence": "Mean confidence",
    "calibration_error": "Calibration error",
    "nll": "NLL",
    "brier": "Brier score",
}
CURVES = {
    ALL: ("all", NEUTRAL, "circle"),
    LEAST_CUE: ("least of the cue", LOWERS, "diamond"),
    MOST_CUE: ("most of the cue", RAISES, "square"),
}
"""Images of the reliability diagram: what they are called, colour and shape."""


def show(audit: Audit) -> pd.DataFrame | None:
    """The stored figures, or an offer to measure them; of an ensemble where one is chosen."""
    others = opened.ensemble_members(audit)
    chosen = state.several("Averaged with (an ensemble)", "with", others) if others else []
    request = MeasureRequest(audit.id, "calibration", ensemble=tuple(chosen))
    table = known_or_offer(
        audit,
        request,
        "Confidence is held against accuracy: by how much of the tagged cues an image shows, by "
        "split and attribute, and where a cue was pasted. Seconds, on stored features.",
    )
    if table is None:
        return None
    _numbers(table)
    left, right = st.columns(2)
    with left:
        _along(audit, table)
    with right:
        _reliability(table)
    _temperature(table)
    if chosen:
        _ensemble(table, len(chosen) + 1)
    return table


def _numbers(table: pd.DataFrame) -> None:
    """The figures of all images with their intervals."""
    rows = table[table["subject"] == ALL].set_index("measure")
    for cell, (name, title) in zip(
        blocks.metrics(len(HEADLINE), width=160), HEADLINE.items(), strict=True
    ):
        row = rows.loc[name]
        cell.metric(
            title,
            decimals.figure(row["value"], row["unit"], row["low"], row["high"]),
            _ends(row),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=blocks.plain(f"{MEASURES[name].meaning} {row['note']}".strip()),
        )


def _ends(row: pd.Series) -> str:
    return decimals.interval(row["low"], row["high"], row["unit"])


SEVERITY = "severity of corruption"

SAID = {
    CUE: "Tenths of each class by spuriosity, all classes with tagged cues together. Intervals of "
    "the accuracy hold for all tenths at once.",
    SEVERITY: "Mean over all kinds of corruption; 0: the images as they were. The temperature is "
    "fitted on images as they were. Intervals of the accuracy hold each by itself.",
}
"""What groups are, where that needs words, and what their intervals hold for."""

LACKS = {
    CUE: "Tag a cue as spurious to see who is told with too much confidence.",
    SEVERITY: "Not measured with these tags yet: the view Corruptions offers it.",
}
"""What to do where there is no such group."""


def _along(audit: Audit, table: pd.DataFrame) -> None:
    """Accuracy and confidence by the tenths of the cue, by attribute, by split, by severity."""
    of = {CUE: "how much of the tagged cues an image shows", SPLIT: "split"}
    of |= {name: blocks.plain(name) for name in audit.summary.attributes}
    kinds = {kind: words for kind, words in of.items() if kind == CUE or groups_of(table, kind)}
    kinds[SEVERITY] = SEVERITY
    kind = state.choose(st.selectbox, "Accuracy and confidence by", "along", kinds)
    names = groups_of(table, kind)
    if kind == SEVERITY:
        table = _of_severities(audit)
        names = (
            {} if table is None else {"0": CLEAN} | {str(s): subject(EVERY, s) for s in SEVERITIES}
        )
    if table is None or not names:
        st.caption(LACKS[kind])
        return
    st.plotly_chart(along_figure(table, names), width="stretch", key=f"calibration-{kind}")
    held = "Intervals of the accuracy hold for all of these groups at once."
    st.caption(f"{SAID.get(kind, held)} The confidence of these images is known.")


def groups_of(table: pd.DataFrame, kind: str) -> dict[str, str]:
    """Subjects of the groups of a kind, by their names."""
    start = f"{kind} " if kind in (CUE, SPLIT) else f"{kind}="
    if kind == CUE:
        there = set(table["subject"])
        return {name: f"{start}{name}" for name in CUES if f"{start}{name}" in there}
    subjects = table.loc[table["measure"] == "accuracy", "subject"].unique()
    return {each.removeprefix(start): each for each in subjects if each.startswith(start)}


def _of_severities(audit: Audit) -> pd.DataFrame | None:
    request = MeasureRequest(audit.id, CORRUPTED.name)
    return CORRUPTED.known(audit, tagged.decisions(audit), request)


def along_figure(table: pd.DataFrame, names: Mapping[str, str]) -> go.Figure:
    """Accuracy, confidence and confidence at the temperature, of groups by their names."""
    import plotly.graph_objects as go

    figure = go.Figure()
    lines = (
        ("accuracy", "", "accuracy", ACCURACY, "circle"),
        ("confidence", "", "confidence", NEUTRAL, "diamond"),
        ("confidence", AT, "confidence, at the temperature", RAISES, "x"),
    )
    for measure, ends, name, colour, symbol in lines:
        rows = table[table["measure"] == measure].set_index("subject")
        there = [each for each, of in names.items() if f"{of}{ends}" in rows.index]
        if there:
            mine = rows.loc[[f"{names[each]}{ends}" for each in there]]
            trace = points(mine, there, name, colour, symbol)
            figure.add_trace(trace if name == "accuracy" else trace.update(error_y=None))
    figure.update_xaxes(type="category")
    figure.update_yaxes(range=[0, 1.02], title="share")
    return finished(figure, height=380)


def _reliability(table: pd.DataFrame) -> None:
    st.markdown("**Accuracy against confidence**")
    st.plotly_chart(reliability_figure(table), width="stretch", key="reliability")
    st.caption(
        "A calibrated model is on the diagonal; below it the model is surer than it is right. "
        "Intervals (Clopper-Pearson) hold for all bins of a curve at once; both ends of the cue "
        "are in the legend. Guo et al. 2017."
    )


def reliability_figure(table: pd.DataFrame) -> go.Figure:
    """Accuracy against mean confidence in bins, of all images and of both ends of the cue."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"width": 1, "color": NEUTRAL})
    right = table[table["measure"] == "bin_accuracy"]
    sure = table[table["measure"] == "bin_confidence"].set_index("subject")["value"]
    of = right["subject"].str.partition(BIN)[0]
    for name, (title, colour, symbol) in CURVES.items():
        rows = right[(of == name).to_numpy(bool)]
        if rows.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=sure.loc[rows["subject"]],
                y=rows["value"],
                mode="markers+lines",
                name=title,
                visible=True if name == ALL else "legendonly",
                line={"width": 1, "color": colour},
                marker={"size": 8, "symbol": symbol, "color": colour},
                error_y=interval(rows),
                customdata=rows["n"].tolist(),
                hovertemplate="confidence %{x:.2f}, accuracy %{y:.2f}, n = %{customdata}"
                "<extra></extra>",
            )
        )
    figure.update_xaxes(range=[0, 1.02], title="mean confidence")
    figure.update_yaxes(range=[0, 1.02], title="accuracy")
    return finished(figure, height=380)


def _temperature(table: pd.DataFrame) -> None:
    """The temperature in words, and what it does to other images."""
    rows = table[table["measure"] == "temperature"]
    if rows.empty:
        return
    row = rows.iloc[0]
    errors = table[table["measure"] == "calibration_error"].set_index("subject")["value"]
    there = [name for name in (ALL, f"{ALL}{AT}") if name in errors.index]
    moved = " to ".join(f"{errors[name]:.3f}" for name in there)
    on = blocks.plain(str(row["split"]))
    st.markdown(
        f"**Temperature {row['value']:.2f}** {_ends(row)}, fitted on {on}: on the others it takes "
        f"the calibration error from {moved}. It is one number for all images: the tenths by the "
        "cue show what it leaves."
    )


def _ensemble(table: pd.DataFrame, models: int) -> None:
    """What the mean of probabilities changes, overall and at both ends of the cue."""
    rows = table[table["measure"].isin(["ensemble_accuracy", "ensemble_nll", "ensemble_brier"])]
    rows = rows[rows["subject"].isin([ALL, f"{CUE} {CUES[0]}", f"{CUE} {CUES[-1]}"])]
    st.markdown(f"**The mean of {models:d} models' probabilities against this model alone**")
    cells = rows.assign(
        shown=[
            f"{decimals.figure(r['value'], r['unit'], r['low'], r['high'])} {_ends(r)}"
            for _, r in rows.iterrows()
        ],
        title=[MEASURES[name].title.removeprefix("Ensemble: ") for name in rows["measure"]],
    )
    blocks.table(
        cells.pivot(index="subject", columns="title", values="shown").rename_axis("images")
    )
