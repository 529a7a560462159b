"""Blocks of the page Measures: what looks anomalous to the model, against the cue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from core.audits.audit import Audit
from core.audits.evaluation_set import evaluation_sets
from core.measures.conditions import CUE, CUES, VALUES
from core.measures.measure_requests import MeasureRequest
from core.statistics.anomaly import TITLES
from core.ui.frame import blocks, opened, state
from core.ui.kit.palette import CLASSES, NEUTRAL
from core.ui.measures.asked import known_or_offer, points
from core.ui.measures.figures import finished

if TYPE_CHECKING:
    import plotly.graph_objects as go

EVERY = "the tagged cues, splits and attributes"
FIRST = ("max_logit", "knn", "typicality")
"""Scores that are drawn at once; the others at a click in the legend."""

SYMBOLS = ("circle", "diamond", "square", "x", "triangle-up", "cross")


def show(audit: Audit) -> pd.DataFrame | None:
    """The stored figures of the chosen set, or an offer to measure them."""
    against = state.choose(st.selectbox, "Held-out images against", "set", _sets(audit))
    request = MeasureRequest(audit.id, "ood", against=against)
    table = known_or_offer(
        audit,
        request,
        "Six scores say how far images are from what the model knows: of its probabilities, its "
        "logits and its features. They are held against the tagged cues and against other sets. "
        "Seconds for a few thousand images, on stored features.",
    )
    if table is None:
        return None
    if not against:
        _against_cue(table)
    _told(table)
    return table


def _sets(audit: Audit) -> dict[str, str]:
    """What can be held against the held-out images."""
    images = audit.images
    names = sorted(images["split"].astype(str).unique())
    found = {"": EVERY, **{name: f"split {name}" for name in names}}
    for name in audit.summary.attributes:
        values = sorted(images[name].dropna().astype(str).unique())
        found |= {f"{name}={v}": f"{name} = {v}" for v in values[:VALUES]}
    found |= {name: f"evaluation set {name}" for name in evaluation_sets(audit)}
    weights = audit.manifest.parts.weights
    others = [m for m in opened.finished_audits() if m.id != audit.id]
    found |= {m.id: f"audit {m.name}" for m in others if m.parts.weights == weights}
    return {key: blocks.plain(words) for key, words in found.items()}


def _against_cue(table: pd.DataFrame) -> None:
    """Where images stand in their class by how much of the cue they show."""
    rows = table[(table["measure"] == "ood_without_cue") & (table["label"] == "")]
    control = table[(table["measure"] == "ood_without_cue_control") & (table["label"] == "")]
    beside = control.set_index("subject")["value"]
    if rows.empty:
        blocks.no_cue("This tells whether images look typical because of")
        return
    st.markdown("**How anomalous an image looks in its class, by how much of the cue it shows**")
    st.plotly_chart(place_figure(table), width="stretch", key="ood-cue")
    st.caption(
        "0.5 is the middle of the class. A line that falls means that the cue looks typical, and "
        "that images without it look like strangers. Any direction with a share of the logit does "
        "that to scores of the logits: only what is beyond random directions is the cue's. Bars "
        "hold for the ten tenths of a score; three more scores are in the legend."
    )
    blocks.table(
        pd.DataFrame(
            {
                "score": [TITLES[name] for name in rows["subject"]],
                "least of the cue more anomalous (AUROC)": [
                    f"{r['value']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
                    for _, r in rows.iterrows()
                ],
                "random directions with the same share of the logit": [
                    f"{beside[name]:.2f}" for name in rows["subject"]
                ],
            }
        ).set_index("score")
    )


def place_figure(table: pd.DataFrame) -> go.Figure:
    """Mean place by anomaly within the class, a line per score over the tenths of the cue."""
    import plotly.graph_objects as go

    figure = go.Figure()
    rows = table[table["measure"] == "ood_place"].set_index("subject")
    for (score, title), colour, symbol in zip(TITLES.items(), CLASSES, SYMBOLS, strict=False):
        there = [name for name in CUES if f"{score}: {CUE} {name}" in rows.index]
        mine = rows.loc[[f"{score}: {CUE} {name}" for name in there]]
        trace = points(mine, there, title, colour, symbol)
        figure.add_trace(trace.update(visible=True if score in FIRST else "legendonly"))
    figure.add_hline(y=0.5, line_width=1, line_color=NEUTRAL)
    figure.update_yaxes(range=[0, 1], title="share of the class less anomalous")
    return finished(figure, height=420)


def _told(table: pd.DataFrame) -> None:
    """How well every score tells every set from the others."""
    rows = table[table["measure"] == "ood_auroc"]
    if rows.empty:
        return
    st.markdown("**How well the scores tell sets from the other held-out images (AUROC)**")
    st.plotly_chart(told_figure(rows), width="stretch", key="ood-told")
    st.caption(
        "0.5 is chance; below it a set looks more typical than the rest. 95 % intervals, each by "
        "itself; AUPR with its chance level and FPR95 are in the table."
    )


def told_figure(rows: pd.DataFrame) -> go.Figure:
    """AUROC of every set, a line per score."""
    import plotly.graph_objects as go

    figure = go.Figure()
    parts = rows["subject"].str.partition(": ")
    for (score, title), colour, symbol in zip(TITLES.items(), CLASSES, SYMBOLS, strict=False):
        mine = (parts[0] == score).to_numpy(bool)
        names = parts[2][mine].tolist()
        figure.add_trace(points(rows[mine], names, title, colour, symbol))
    figure.add_hline(y=0.5, line_width=1, line_color=NEUTRAL)
    figure.update_yaxes(range=[0, 1.02], title="AUROC")
    return finished(figure, height=400)
