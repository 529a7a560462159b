"""A table that is measured where it is asked for: itself, or an offer to measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from core.audits.audit import Audit
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.ui.frame import blocks, tagged, working
from core.ui.kit.palette import CLASSES, NEUTRAL
from core.ui.kit.text import drawn
from core.ui.measures.figures import finished, interval

if TYPE_CHECKING:
    import plotly.graph_objects as go

SYMBOLS = ("circle", "diamond", "square", "x", "triangle-up", "cross", "star")


def known_or_offer(audit: Audit, request: MeasureRequest, text: str) -> pd.DataFrame | None:
    """The stored table; where there is none, what it would say and a button."""
    demand = ON_DEMAND[request.what]
    table = demand.known(audit, tagged.decisions(audit), request)
    if table is None:
        blocks.empty(
            "Not measured with these tags yet", blocks.plain(text), icon=":material/monitoring:"
        )
        working.offer(
            request,
            f"{audit.name}: {demand.title}",
            f"Measure {blocks.plain(demand.title)}",
            key=f"run-{request.what}",
            primary=True,
        )
    return table


def points(rows: pd.DataFrame, x: list[str], name: str, colour: str, symbol: str) -> go.Scatter:
    """Figures with their intervals, joined by a faint line."""
    import plotly.graph_objects as go

    return go.Scatter(
        x=[drawn(text) for text in x],
        y=rows["value"].tolist(),
        mode="lines+markers",
        name=drawn(name),
        line={"width": 1, "color": colour},
        marker={"size": 8, "symbol": symbol, "color": colour},
        error_y=interval(rows),
        customdata=rows["n"].tolist(),
        hovertemplate="%{x}: %{y:.3f}, n = %{customdata}<extra>%{fullData.name}</extra>",
    )


def dots(
    rows: pd.DataFrame, title: str, ends: list[float] | None = None, *, zero: bool = False
) -> go.Figure:
    """Values with their intervals, a line of dots per ``place``, a symbol per subject."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for place, (subject, part) in enumerate(rows.groupby("subject", sort=False)):
        figure.add_trace(
            go.Scatter(
                x=part["value"].tolist(),
                y=[drawn(name) for name in part["place"]],
                name=drawn(subject),
                mode="markers",
                orientation="h",
                error_x=interval(part),
                marker={
                    "size": 10,
                    "symbol": SYMBOLS[place % len(SYMBOLS)],
                    "color": CLASSES[place % len(CLASSES)],
                },
                hovertemplate="%{y}: %{x:.2f}<extra>%{fullData.name}</extra>",
            )
        )
    if zero:
        figure.add_vline(x=0, line_width=1, line_color=NEUTRAL)
    figure.update_layout(scattermode="group", scattergap=0.4)  # none lies on another
    figure.update_xaxes(title=title, range=ends, zeroline=False)
    figure.update_yaxes(autorange="reversed", zeroline=False)
    lines = rows["place"].nunique() * rows["subject"].nunique()
    return finished(figure, height=170 + 16 * lines)
