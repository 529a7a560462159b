"""Figures of the page Compare: classes by models, models on logit axes, parts of a logit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.measures.registry import subject_in_words
from core.types import FloatArray, count_of
from core.ui.kit.palette import ACCURACY, CLASSES, DIVERGING, INK, NEUTRAL, PALE, PAPER
from core.ui.kit.text import drawn

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from core.measures.effective_robustness import Robustness
    from core.statistics.robustness import Line


NAMED = 40
"""Characters of a name beside the heat map; all of it is shown on pointing at a cell."""


def class_heat(
    table: pd.DataFrame, labels: Sequence[str], names: dict[str, str], *, signed: bool
) -> go.Figure:
    """Classes x models as coloured squares; every cell carries (audit, label).

    Parameters
    ----------
    table : :data:`core.measures.classes.COLUMNS`.
    labels : rows from top to bottom; ``names`` of the audits by id, columns from left to right.
    signed : whether zero is the middle of the colours.
    """
    import plotly.graph_objects as go

    across = {audit: place for place, audit in enumerate(names)}
    down = {label: place for place, label in enumerate(labels)}
    classes = dict(zip(table["label"], table["class_name"], strict=True))
    top = float(table["value"].abs().max()) or 1.0
    low = -top if signed else float(table["value"].min())
    pale = [(0.0, PALE), (1.0, ACCURACY)]  # dark numbers can be read on all of it
    scale = DIVERGING if signed else pale
    words = [
        f"{drawn(name)}, {drawn(names[audit])}<br>{value:+.1f} [{least:+.1f}, {most:+.1f}]"
        + f"<br>{count_of(n, 'image')}"
        + (f"<br>{drawn(subject_in_words(subject))}" if subject else "")
        for name, audit, value, least, most, n, subject in zip(
            *(table[c] for c in ("class_name", "audit", "value", "low", "high", "n", "subject")),
            strict=True,
        )
    ]
    height = 26 if len(labels) > 20 else 40
    grid = np.full((len(labels), len(names)), np.nan)
    for audit, label, value in zip(table["audit"], table["label"], table["value"], strict=True):
        grid[down[label], across[audit]] = value
    figure = go.Figure(
        go.Heatmap(
            z=grid,
            colorscale=scale,
            zmin=low,
            zmax=top,
            xgap=3,
            ygap=3,
            hoverinfo="skip",
            colorbar={"thickness": 12, "title": {"text": "points" if signed else "%"}},
        )
    )
    figure.add_trace(  # carries the clicks, which a heat map does not report
        go.Scatter(
            x=[across[audit] for audit in table["audit"]],
            y=[down[label] for label in table["label"]],
            mode="markers+text",
            text=[f"{value:+.0f}" if signed else f"{value:.0f}" for value in table["value"]],
            textfont={
                "size": 12,
                "color": [
                    PAPER if signed and value < -top / 2 else INK for value in table["value"]
                ],
            },
            hovertext=words,
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=table[["audit", "label"]].to_numpy().tolist(),
            selected={"marker": {"opacity": 1.0}},
            unselected={"marker": {"opacity": 1.0}},
            marker={"symbol": "square", "size": height - 6, "color": "rgba(0,0,0,0.003)"},
        )
    )
    figure.update_xaxes(
        tickvals=list(across.values()),
        side="top",
        ticktext=[drawn(name, most=NAMED) for name in names.values()],
        range=[-0.6, len(names) - 0.4],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(
        tickvals=list(down.values()),
        ticktext=[drawn(classes[label], most=NAMED) for label in labels],
        range=[len(labels) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_layout(
        height=max(90 + height * len(labels), 200),
        width=300 + 150 * len(names),
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        hoverdistance=80,
        clickmode="event+select",
        dragmode=False,
    )
    return figure


TICKS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""Accuracies that are written along a logit axis."""


def robustness_figure(found: Robustness) -> go.Figure:
    """Models on logit axes with their bars, y = x dashed, and the line with its band."""
    import plotly.graph_objects as go

    from core.measures.effective_robustness import RHO
    from core.statistics.robustness import logit

    points, figure = found.points, go.Figure()
    place = {
        name: logit(points[name].to_numpy(), points[f"n_{name[0]}"].to_numpy())
        for name in ("x", "x_low", "x_high", "y", "y_low", "y_high")
    }
    ends = [
        min(place["x_low"].min(), place["y_low"].min()) - 0.2,
        max(place["x_high"].max(), place["y_high"].max()) + 0.2,
    ]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="y = x",
        hoverinfo="skip",
        line={"dash": "dot", "color": NEUTRAL, "width": 1},
    )
    if found.line is not None:
        _line(figure, found.line, ends)
    figure.add_scatter(
        x=place["x"],
        y=place["y"],
        mode="markers+text",
        name="models",
        text=[drawn(name) for name in points["name"]],
        textposition="top center",
        customdata=points[["x", "y", *RHO]].to_numpy(),
        hovertemplate="%{text}<br>x %{customdata[0]:.1%}, y %{customdata[1]:.1%}<br>"
        "off the line: %{customdata[2]:+.1f} points "
        "[%{customdata[3]:+.1f}, %{customdata[4]:+.1f}]<extra></extra>",
        error_x=_bars(place, "x"),
        error_y=_bars(place, "y"),
        marker={
            "size": 10,
            "color": CLASSES[0],
            "symbol": ["circle" if used else "circle-open" for used in points["in_line"]],
        },
    )
    for update, title in ((figure.update_xaxes, found.x), (figure.update_yaxes, found.y)):
        update(
            title=f"accuracy, {drawn(title)}",
            tickvals=[float(logit(t, 1e9)) for t in TICKS],
            ticktext=[f"{100 * t:g} %" for t in TICKS],
            range=ends,
            zeroline=False,
        )
    figure.update_layout(height=460, margin={"l": 10, "r": 10, "t": 24, "b": 10}, showlegend=False)
    return figure


def _bars(place: dict[str, FloatArray], axis: str) -> Mapping[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": place[f"{axis}_high"] - place[axis],
        "arrayminus": place[axis] - place[f"{axis}_low"],
        "thickness": 1,
        "color": NEUTRAL,
    }


def _line(figure: go.Figure, line: Line, ends: Sequence[float]) -> None:
    """The line, and its band: where it passes, at every place by itself."""
    from scipy.special import expit

    from core.statistics.robustness import logit

    across = np.linspace(ends[0], ends[1], 50)
    low, high = line.bounds(expit(across), 1e9)
    figure.add_scatter(
        x=[*across, *across[::-1]],
        y=[*logit(low, 1e9), *logit(high, 1e9)[::-1]],
        fill="toself",
        mode="none",
        fillcolor="rgba(138,148,163,.25)",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=across,
        y=line.slope * across + line.intercept,
        mode="lines",
        hoverinfo="skip",
        line={"color": NEUTRAL},
    )


def terms_figure(names: Sequence[str], a: Sequence[float], b: Sequence[float]) -> go.Figure:
    """Parts of a logit in two models as pairs of bars, from top to bottom."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for values, name, colour in ((a, "A", CLASSES[0]), (b, "B", CLASSES[1])):
        figure.add_bar(
            y=list(map(drawn, names)),
            x=list(values),
            name=name,
            orientation="h",
            marker_color=colour,
        )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="logit", zeroline=True)
    figure.update_layout(
        height=80 + 38 * len(names),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        barmode="group",
        legend={"orientation": "h", "y": 1.08},
    )
    return figure
