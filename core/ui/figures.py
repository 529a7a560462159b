"""Figures: small ones as SVG, large ones by plotly; colours from :mod:`core.ui.palette`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.types import BoolArray, FloatArray
from core.ui.palette import ACCURACY, CLASSES, DIVERGING, LOWERS, NEUTRAL, QUIET, RAISES

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from core.comparison.robustness import Robustness
    from core.measure.robustness import Line


def histogram_svg(
    alpha: FloatArray,
    correct: BoolArray,
    *,
    bins: int = 24,
    width: int = 210,
    height: int = 90,
) -> str:
    """Histogram of alpha with the accuracy along it, as an SVG picture for light and dark.

    Bars: number of images per bin, blue below zero, orange above. Line: accuracy of the images of
    each sixth, from lowest to highest alpha, on the scale 0 to 100 % at the right.

    Parameters
    ----------
    alpha : (n,) logit units; correct : (n,) the same images.
    """
    if not len(alpha):
        return ""
    counts, edges = np.histogram(alpha, bins=bins)
    left, right, top, bottom = 4, width - 30, 8, height - 18
    low, high = float(edges[0]), float(edges[-1])

    def across(value: float) -> float:
        return left + (value - low) / max(high - low, 1e-12) * (right - left)

    tallest = max(int(counts.max()), 1)
    bars = "".join(
        f'<rect x="{across(a) + 0.5:.1f}" y="{bottom - c / tallest * (bottom - top):.1f}" '
        f'width="{max(across(b) - across(a) - 1, 0.5):.1f}" '
        f'height="{c / tallest * (bottom - top):.1f}" '
        f'fill="{RAISES if a + b > 0 else LOWERS}" opacity="0.55"/>'
        for c, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
        if c
    )
    order = np.argsort(alpha, kind="stable")
    parts = [p for p in np.array_split(order, min(6, max(1, len(order) // 5))) if len(p)]
    points = [
        (across(float(np.median(alpha[p]))), bottom - float(correct[p].mean()) * (bottom - top))
        for p in parts
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{ACCURACY}"/>' for x, y in points
    )
    text = f'font-size="10" font-family="sans-serif" fill="{QUIET}"'
    return (
        f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">{bars}'
        f'<line x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="{QUIET}"/>'
        f'<polyline points="{line}" fill="none" stroke="{ACCURACY}" '
        f'stroke-width="1.8"/>{dots}'
        f'<text x="{left}" y="{height - 5}" {text}>{low:.2g}</text>'
        f'<text x="{right}" y="{height - 5}" text-anchor="end" {text}>{high:.2g}</text>'
        f'<text x="{width - 27}" y="{top + 6}" {text}>100%</text>'
        f'<text x="{width - 27}" y="{bottom}" {text}>0%</text></svg>'
    )


def along_svg(
    places: Sequence[float],
    lines: Mapping[str, tuple[str, Sequence[float]]],
    *,
    title: str,
    width: int = 900,
    height: int = 200,
) -> tuple[str, str]:
    """Shares along a ranking as an SVG picture for light and dark, and what it shows in words.

    Painted without plotly, which takes a browser a second to load.

    Parameters
    ----------
    places : (n,) where each slice lies, in the unit that ``title`` names.
    lines : name to colour and the (n,) shares in [0, 1].
    """
    left, right, top, bottom = 46, width - 12, 26, height - 38
    low, high = min(places), max(places)

    def across(value: float) -> float:
        return left + (value - low) / max(high - low, 1e-12) * (right - left)

    def down(share: float) -> float:
        return bottom - share * (bottom - top)

    text = f'font-size="13" font-family="sans-serif" fill="{NEUTRAL}"'
    parts = [
        f'<line x1="{left}" x2="{right}" y1="{down(s):.1f}" y2="{down(s):.1f}" stroke="{NEUTRAL}" '
        f'stroke-width="0.5"/><text x="{left - 6}" y="{down(s) + 4:.1f}" text-anchor="end" {text}>'
        f"{100 * s:.0f} %</text>"
        for s in (0.0, 0.5, 1.0)
    ]
    for number, (name, (colour, shares)) in enumerate(lines.items()):
        at = [(across(x), down(y)) for x, y in zip(places, shares, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in at]
        x = left + 8 + 130 * number
        parts.append(
            f'<circle cx="{x}" cy="10" r="5" fill="{colour}"/>'
            f'<text x="{x + 10}" y="14" {text}>{name}</text>'
        )
    for x, anchor, value in ((left, "start", low), (right, "end", high)):
        parts.append(
            f'<text x="{x}" y="{height - 20}" text-anchor="{anchor}" {text}>{value:+.2f}</text>'
        )
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{height - 4}" text-anchor="middle" {text}>{title}</text>')
    said = "; ".join(
        f"{name} from {100 * s[0]:.0f} % to {100 * s[-1]:.0f} %" for name, (_, s) in lines.items()
    )
    drawn = f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">'
    return f"{drawn}{''.join(parts)}</svg>", f"Along the ranking: {said}"


def waterfall(
    names: Sequence[str], values: Sequence[float], *, start: float, end: float
) -> go.Figure:
    """The logit as a sum: class mean, component contributions, residual, logit; it adds up."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Waterfall(
            x=["class mean", *names, "logit"],
            y=[start, *values, 0],
            measure=["absolute", *["relative"] * len(values), "total"],
            text=[f"{v:+.2f}" if i else f"{v:.2f}" for i, v in enumerate([start, *values])]
            + [f"{end:.2f}"],
            textposition="outside",
            increasing={"marker": {"color": RAISES}},
            decreasing={"marker": {"color": LOWERS}},
            totals={"marker": {"color": NEUTRAL}},
            connector={"line": {"width": 1}},
        )
    )
    return _plain(figure, height=360, y_title="logit")


def gap_scatter(classes: Sequence[dict[str, Any]]) -> go.Figure:
    """Accuracy against the largest gap of every class, the interval drawn."""
    import plotly.graph_objects as go

    shown = [c for c in classes if c.get("top_gap") is not None]
    figure = go.Figure(
        go.Scatter(
            x=[100 * c["accuracy"] for c in shown],
            y=[c["top_gap"] for c in shown],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [c["top_gap_high"] - c["top_gap"] for c in shown],
                "arrayminus": [c["top_gap"] - c["top_gap_low"] for c in shown],
                "thickness": 1,
                "color": NEUTRAL,
            },
            mode="markers+text" if len(shown) <= 20 else "markers",
            text=[c["name"] for c in shown],
            customdata=[c["label"] for c in shown],
            textposition="top center",
            marker={
                "size": 9,
                "color": [RAISES if c["top_gap_low"] > 0 else NEUTRAL for c in shown],
            },
            hovertemplate="%{text}<br>accuracy %{x:.1f} %<br>gap %{y:+.1f} points<extra></extra>",
        )
    )
    figure.add_hline(y=0, line_width=1, line_color=NEUTRAL)
    figure.update_xaxes(title="accuracy of the class, %")
    return _plain(figure, height=420, y_title="largest gap, percentage points")


def tradeoff_scatter(table: pd.DataFrame) -> go.Figure:
    """Accuracy without the cue against flips, one point per strength; the Pareto set joined."""
    import plotly.graph_objects as go

    table = table[table["chosen_flips"].notna()]
    x, y = 100 * table["chosen_flips"], 100 * table["chosen_accuracy"]
    best = table["pareto"].to_numpy(bool)
    front = sorted(zip(x[best], y[best], strict=True))
    figure = go.Figure(
        [
            go.Scatter(
                x=[p[0] for p in front],
                y=[p[1] for p in front],
                mode="lines",
                line={"color": NEUTRAL, "width": 1},
                hoverinfo="skip",
            ),
            go.Scatter(
                x=x,
                y=y,
                mode="markers+text",
                text=[f"{v:g}" for v in table["strength"]],
                textposition="top center",
                marker={
                    "size": [15 if c else 9 for c in table["chosen"]],
                    "symbol": ["star" if c else "circle" for c in table["chosen"]],
                    "color": [RAISES if c else NEUTRAL for c in table["chosen"]],
                },
                hovertemplate="strength %{text}<br>flips %{x:.1f} %<br>accuracy %{y:.1f} %"
                "<extra></extra>",
            ),
        ]
    )
    figure.update_xaxes(title="flips by the cue, % (left is better)")
    return _plain(figure, height=360, y_title="accuracy without the cue, %")


def _plain(figure: go.Figure, *, height: int, y_title: str) -> go.Figure:
    figure.update_yaxes(title=y_title, zeroline=False)
    figure.update_layout(
        height=height, margin={"l": 10, "r": 10, "t": 24, "b": 10}, showlegend=False
    )
    return figure


def class_heat(
    table: pd.DataFrame, labels: Sequence[str], names: dict[str, str], *, signed: bool
) -> go.Figure:
    """Classes x models as coloured squares; every cell carries (audit, label).

    Parameters
    ----------
    table : :data:`core.comparison.classes.COLUMNS`.
    labels : rows from top to bottom; ``names`` of the audits by id, columns from left to right.
    signed : whether zero is the middle of the colours.
    """
    import plotly.graph_objects as go

    across = {audit: place for place, audit in enumerate(names)}
    down = {label: place for place, label in enumerate(labels)}
    classes = dict(zip(table["label"], table["class_name"], strict=True))
    top = float(table["value"].abs().max()) or 1.0
    low = -top if signed else float(table["value"].min())
    pale = [(0.0, "#eef1f5"), (1.0, ACCURACY)]  # dark numbers can be read on all of it
    scale = DIVERGING if signed else pale
    words = [
        f"{name}, {names[audit]}<br>{value:+.1f} [{least:+.1f}, {most:+.1f}]<br>{n} images"
        + (f"<br>{subject}" if subject else "")
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
            z=grid, colorscale=scale, zmin=low, zmax=top, xgap=3, ygap=3, hoverinfo="skip",
            colorbar={"thickness": 12, "title": {"text": "points" if signed else "%"}},
        )
    )  # fmt: skip
    figure.add_trace(  # carries the clicks, which a heat map does not report
        go.Scatter(
            x=[across[audit] for audit in table["audit"]],
            y=[down[label] for label in table["label"]],
            mode="markers+text",
            text=[f"{value:+.0f}" if signed else f"{value:.0f}" for value in table["value"]],
            textfont={
                "size": 12,
                "color": [
                    "#ffffff" if signed and value < -top / 2 else "#10141a"
                    for value in table["value"]
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
        tickvals=list(across.values()), ticktext=list(names.values()), side="top",
        range=[-0.6, len(names) - 0.4], showgrid=False, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(down.values()), ticktext=[classes[label] for label in labels],
        range=[len(labels) - 0.5, -0.5], showgrid=False, zeroline=False,
    )  # fmt: skip
    figure.update_layout(
        height=max(90 + height * len(labels), 200), width=300 + 150 * len(names),
        margin={"l": 10, "r": 10, "t": 40, "b": 10}, hoverdistance=80,
        clickmode="event+select", dragmode=False,
    )  # fmt: skip
    return figure


TICKS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
"""Accuracies that are written along a logit axis."""


def robustness_figure(found: Robustness) -> go.Figure:
    """Models on logit axes with their bars, y = x dashed, and the line with its band."""
    import plotly.graph_objects as go

    from core.measure.robustness import logit

    points, figure = found.points, go.Figure()
    place = {
        name: logit(points[name].to_numpy(), points[f"n_{name[0]}"].to_numpy())
        for name in ("x", "x_low", "x_high", "y", "y_low", "y_high")
    }
    ends = [min(place["x_low"].min(), place["y_low"].min()) - 0.2,
            max(place["x_high"].max(), place["y_high"].max()) + 0.2]  # fmt: skip
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="y = x", hoverinfo="skip",
        line={"dash": "dot", "color": NEUTRAL, "width": 1},
    )  # fmt: skip
    if found.line is not None:
        _line(figure, found.line, ends)
    figure.add_scatter(
        x=place["x"],
        y=place["y"],
        mode="markers+text",
        name="models",
        text=points["name"],
        textposition="top center",
        customdata=points[["x", "y", "rho"]].to_numpy(),
        hovertemplate="%{text}<br>x %{customdata[0]:.1%}, y %{customdata[1]:.1%}<br>"
        "off the line: %{customdata[2]:+.1f} points<extra></extra>",
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
            title=f"accuracy, {title}", tickvals=[float(logit(t, 1e9)) for t in TICKS],
            ticktext=[f"{100 * t:g} %" for t in TICKS], range=ends, zeroline=False,
        )  # fmt: skip
    figure.update_layout(height=460, margin={"l": 10, "r": 10, "t": 24, "b": 10}, showlegend=False)
    return figure


def _bars(place: dict[str, FloatArray], axis: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": place[f"{axis}_high"] - place[axis],
        "arrayminus": place[axis] - place[f"{axis}_low"],
        "thickness": 1,
        "color": NEUTRAL,
    }


def _line(figure: go.Figure, line: Line, ends: Sequence[float]) -> None:
    """The line, and its band where there is one."""
    from core.measure.robustness import expit, logit

    across = np.linspace(ends[0], ends[1], 50)
    low, high = line.bounds(expit(across), 1e9)
    if line.band is not None:
        figure.add_scatter(
            x=[*across, *across[::-1]], y=[*logit(low, 1e9), *logit(high, 1e9)[::-1]],
            fill="toself", mode="none", fillcolor="rgba(138,148,163,.25)", hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=across, y=line.slope * across + line.intercept, mode="lines", hoverinfo="skip",
        line={"color": NEUTRAL},
    )  # fmt: skip


def terms_figure(names: Sequence[str], a: Sequence[float], b: Sequence[float]) -> go.Figure:
    """Parts of a logit in two models as pairs of bars, from top to bottom."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for values, name, colour in ((a, "A", CLASSES[0]), (b, "B", CLASSES[1])):
        figure.add_bar(
            y=list(names), x=list(values), name=name, orientation="h", marker_color=colour
        )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="logit", zeroline=True)
    figure.update_layout(
        height=80 + 38 * len(names), margin={"l": 10, "r": 10, "t": 10, "b": 10},
        barmode="group", legend={"orientation": "h", "y": 1.08},
    )  # fmt: skip
    return figure
