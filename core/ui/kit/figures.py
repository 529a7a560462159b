"""Figures: small ones as SVG, large ones by plotly; colours from :mod:`core.ui.kit.palette`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audited import AuditedClass
from core.types import BoolArray, FloatArray
from core.ui.kit.palette import ACCURACY, LOWERS, NEUTRAL, QUIET, RAISES
from core.ui.kit.text import drawn, html

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


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
    known = np.isfinite(alpha)
    alpha, correct = alpha[known], correct[known]
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
            f'<text x="{x + 10}" y="14" {text}>{html(name)}</text>'
        )
    for x, anchor, value in ((left, "start", low), (right, "end", high)):
        parts.append(
            f'<text x="{x}" y="{height - 20}" text-anchor="{anchor}" {text}>{value:+.2f}</text>'
        )
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle}" y="{height - 4}" text-anchor="middle" {text}>{html(title)}</text>'
    )
    said = "; ".join(
        f"{name} from {100 * s[0]:.0f} % to {100 * s[-1]:.0f} %" for name, (_, s) in lines.items()
    )
    drawn = f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">'
    return f"{drawn}{''.join(parts)}</svg>", f"Along the ranking: {said}"


def waterfall(
    names: Sequence[str],
    values: Sequence[float],
    *,
    start: float,
    end: float,
    ends: tuple[str, str] = ("class mean", "logit"),
) -> go.Figure:
    """What adds up, bar by bar, from above to below.

    Parameters
    ----------
    ends : what the first and the last bar are called; the last is what all add up to.
    """
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Waterfall(
            y=[ends[0], *map(drawn, names), ends[1]],
            x=[start, *values, 0],
            orientation="h",
            measure=["absolute", *["relative"] * len(values), "total"],
            text=[f"{v:+.2f}" if i else f"{v:.2f}" for i, v in enumerate([start, *values])]
            + [f"{end:.2f}"],
            textposition="outside",
            increasing={"marker": {"color": RAISES}},
            decreasing={"marker": {"color": LOWERS}},
            totals={"marker": {"color": NEUTRAL}},
            connector={"line": {"width": 1}},
            cliponaxis=False,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    _plain(figure, height=64 + 22 * (len(values) + 2), x_title=ends[1])
    return figure.update_layout(margin={"r": 48})  # the number beside the longest bar


def kept_curve(shares: Sequence[float], values: Sequence[float], at: float) -> go.Figure:
    """What is left of a confidence by the share of an image that is kept, both in percent.

    Parameters
    ----------
    at : share that is shown beside it, marked by a line.
    """
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Scatter(x=list(shares), y=list(values), mode="lines+markers", line={"color": ACCURACY})
    )
    figure.add_vline(x=at, line={"color": NEUTRAL, "width": 1})
    figure.update_yaxes(range=[-2, 102], title="confidence, %")
    return _plain(figure, height=260, x_title="share of the image that is kept, %")


def gap_scatter(classes: Sequence[AuditedClass]) -> go.Figure:
    """Accuracy against the largest gap of every class, the interval drawn.

    Coloured where it is above its control.
    """
    import plotly.graph_objects as go

    shown = [c for c in classes if c.top_gap is not None]
    gaps = [c.top_gap or 0.0 for c in shown]
    figure = go.Figure(
        go.Scatter(
            x=[100 * (c.accuracy or 0.0) for c in shown],
            y=gaps,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [c.top_gap_high - gap for c, gap in zip(shown, gaps, strict=True)],
                "arrayminus": [gap - c.top_gap_low for c, gap in zip(shown, gaps, strict=True)],
                "thickness": 1,
                "color": NEUTRAL,
            },
            mode="markers+text" if len(shown) <= 20 else "markers",
            text=[drawn(c.name) for c in shown],
            customdata=[c.label for c in shown],
            textposition="top center",
            marker={
                "size": 9,
                "color": [RAISES if c.top_gap_above else NEUTRAL for c in shown],
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
    flips = "flips by the cue, % (left is better)"
    return _plain(figure, height=360, x_title=flips, y_title="accuracy without the cue, %")


def _plain(figure: go.Figure, *, height: int, x_title: str = "", y_title: str = "") -> go.Figure:
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title, zeroline=False)
    figure.update_layout(
        height=height, margin={"l": 10, "r": 10, "t": 24, "b": 10}, showlegend=False
    )
    return figure
