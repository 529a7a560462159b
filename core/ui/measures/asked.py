"""A table that is measured where it is asked for: itself, or an offer to measure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from core.audits.audit import Audit
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.ui.frame import blocks, tagged, working
from core.ui.kit.text import drawn
from core.ui.measures.figures import interval

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
        y=rows["value"],
        mode="lines+markers",
        name=drawn(name),
        line={"width": 1, "color": colour},
        marker={"size": 8, "symbol": symbol, "color": colour},
        error_y=interval(rows),
        customdata=rows["n"].tolist(),
        hovertemplate="%{x}: %{y:.3f}, n = %{customdata}<extra>%{fullData.name}</extra>",
    )
