"""Figures of the page Measures: classes by their gap, and gaps against accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from core.ui.kit.palette import LOWERS, NEUTRAL, RAISES
from core.ui.kit.text import drawn

if TYPE_CHECKING:
    import plotly.graph_objects as go

NAMED = 60
"""Classes up to which every one is named on the axis."""

COLOURS = {"clarifying": RAISES, "confusing": LOWERS, "not certain": NEUTRAL}
"""By reading of the interval; more intense never means more certain."""

SHAPES = {"clarifying": "circle", "confusing": "diamond", "not certain": "circle-open"}
"""So that nothing depends on colour alone."""


def ranked_gaps(gaps: pd.DataFrame) -> go.Figure:
    """Every class's spurious gap with its interval, largest first.

    Parameters
    ----------
    gaps : the rows ``spurious_gap`` of the table of measures.
    """
    import plotly.graph_objects as go

    gaps = gaps.sort_values("value", kind="stable", ignore_index=True)
    named = len(gaps) <= NAMED
    figure = go.Figure()
    for reading, rows in gaps.groupby("reading", sort=True):
        places = rows["class_name"].map(drawn) if named else rows.index
        figure.add_trace(
            _trace(rows, str(reading), y=places, x=rows["value"], error_x=interval(rows))
        )
    figure.add_vline(x=0, line_width=1, line_color=NEUTRAL)
    figure.update_xaxes(title="spurious gap, percentage points", zeroline=False)
    order = gaps["class_name"].map(drawn).tolist() if named else None
    figure.update_yaxes(
        title=None if named else "classes, by gap",
        categoryorder="array" if named else None,
        categoryarray=order,
        showticklabels=named,
        zeroline=False,
    )
    return finished(figure, height=140 + (24 * len(gaps) if named else 560))


def gap_and_accuracy(gaps: pd.DataFrame, accuracy: dict[str, float | None]) -> go.Figure:
    """The spurious gap of every class against its accuracy.

    Parameters
    ----------
    gaps : the rows ``spurious_gap`` of the table of measures.
    accuracy : of every class on the held-out images in [0, 1], by raw label.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for reading, rows in gaps.groupby("reading", sort=True):
        x = [_percent(accuracy.get(label)) for label in rows["label"]]
        error = interval(rows) | {"visible": len(gaps) <= NAMED}
        figure.add_trace(_trace(rows, str(reading), x=x, y=rows["value"], error_y=error))
    figure.add_hline(y=0, line_width=1, line_color=NEUTRAL)
    figure.update_xaxes(title="accuracy of the class on held-out images, %", zeroline=False)
    figure.update_yaxes(title="spurious gap, percentage points", zeroline=False)
    return finished(figure, height=460)


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share


def _trace(rows: pd.DataFrame, reading: str, **places: Any) -> go.Scatter:
    import plotly.graph_objects as go

    said = [
        f"{drawn(name)}<br>gap {value:+.0f} points [{low:+.0f}, {high:+.0f}]<br>{drawn(note)}"
        for name, value, low, high, note in rows[
            ["class_name", "value", "low", "high", "note"]
        ].itertuples(index=False)
    ]
    return go.Scatter(
        mode="markers",
        name=reading,
        text=said,
        customdata=rows["label"].tolist(),
        hovertemplate="%{text}<extra></extra>",
        marker={
            "size": 9,
            "color": COLOURS.get(reading, NEUTRAL),
            "symbol": SHAPES.get(reading, "circle-open"),
        },
        **places,
    )


def interval(rows: pd.DataFrame) -> dict[str, object]:
    """Error bars from ``value`` to ``low`` and ``high``."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (rows["high"] - rows["value"]).tolist(),
        "arrayminus": (rows["value"] - rows["low"]).tolist(),
        "thickness": 1,
        "width": 0,
        "color": NEUTRAL,
    }


def finished(figure: go.Figure, *, height: int) -> go.Figure:
    """The figure with this page's margins and legend."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    )
    return figure
