"""The scatter of the page Map: one trace, one array of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.types import BoolArray, FloatArray
from core.ui.palette import CLASSES, DIVERGING, NEUTRAL, SEQUENTIAL

if TYPE_CHECKING:
    import plotly.graph_objects as go

OTHER = "other"
HEIGHT = 560
FOOT = 0.08
"""Part of a scale that stands for images without a value, of its length."""


@dataclass(frozen=True)
class Colours:
    """What colours the points."""

    values: FloatArray
    """(n,) float32: code of a category, or a number."""
    scale: list[tuple[float, str]]
    low: float
    high: float
    bar: dict[str, Any]
    """Title and ticks of the legend."""


def categories(values: Sequence[object], title: str, order: Sequence[str] = ()) -> Colours:
    """One colour per value; past seven values the rarest share grey.

    Parameters
    ----------
    order : values in the order that gives them their colours, the others follow by frequency.
    """
    texts = pd.Series(values, dtype=object).fillna("none").astype(str)
    counts = texts.value_counts()
    frequent = sorted(counts.index, key=lambda name: (-counts[name], name))
    known = [name for name in order if name in counts.index]
    kept = [*known, *(name for name in frequent if name not in set(known))]
    if len(kept) > len(CLASSES):
        kept = frequent[: len(CLASSES)]
    names = [*kept, *([OTHER] if len(kept) < len(counts) else [])]
    colours = [*CLASSES[: len(kept)], NEUTRAL][: len(names)]
    codes = texts.map({name: i for i, name in enumerate(kept)}).fillna(len(kept))
    n = len(names)
    scale = [(edge / n, c) for i, c in enumerate(colours) for edge in (i, i + 1)]
    ticks = [f"{_short(name)} ({counts[name]:,})" for name in kept]
    if n > len(kept):
        ticks.append(f"{len(counts) - len(kept)} others ({int((codes == len(kept)).sum()):,})")
    bar = {"title": {"text": title}, "tickvals": list(range(n)), "ticktext": ticks, "len": 0.9}
    return Colours(codes.to_numpy(np.float32), scale, -0.5, n - 0.5, bar)


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:22]}…"


def diverging(values: FloatArray, title: str) -> Colours:
    """Blue below zero, orange above; full colour at the 98th percentile of the absolute value."""
    finite = np.abs(values[np.isfinite(values)])
    top = (float(np.percentile(finite, 98)) if len(finite) else 0.0) or 1.0
    return _numbers(values, title, -top, top, DIVERGING)


def sequential(values: FloatArray, title: str) -> Colours:
    """From dark to light along a number; single values far out do not stretch the scale."""
    finite = values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(finite, [1, 99])) if len(finite) else (0.0, 1.0)
    return _numbers(values, title, low, high if high > low else low + 1, SEQUENTIAL)


def _numbers(
    values: FloatArray, title: str, low: float, high: float, scale: list[tuple[float, str]]
) -> Colours:
    """A scale from ``low`` to ``high``, with a grey foot for images that have no value."""
    values = np.asarray(values, np.float32)
    bar: dict[str, Any] = {"title": {"text": title}}
    missing = ~np.isfinite(values)
    if not missing.any():
        return Colours(values, scale, low, high, bar)
    foot = low - FOOT * (high - low)
    start = (low - foot) / (high - foot)
    shifted = [(start + (1 - start) * place, colour) for place, colour in scale]
    ticks = np.linspace(low, high, 5)
    bar["tickvals"] = [foot + FOOT / 2 * (high - low), *ticks.tolist()]
    bar["ticktext"] = [f"none ({int(missing.sum()):,})", *(f"{tick:.2g}" for tick in ticks)]
    shown = np.where(missing, foot, np.clip(values, low, None)).astype(np.float32)
    return Colours(shown, [(0.0, NEUTRAL), (start, NEUTRAL), *shifted], foot, high, bar)


def attribute(values: pd.Series, title: str) -> Colours:
    """An attribute: numbers with many values along a scale, everything else as categories."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 2 * len(CLASSES):
        return sequential(values.to_numpy(np.float64), title)
    names = sorted(values.dropna().astype(str).unique())
    return categories(values.tolist(), title, names if len(names) <= len(CLASSES) else ())


def scatter(
    points: FloatArray,
    ids: Sequence[str],
    words: Sequence[str],
    colours: Colours,
    *,
    chosen: BoolArray,
    axes: tuple[str, str],
    revision: str,
) -> go.Figure:
    """The map.

    Parameters
    ----------
    points : (n, 2); ids : (n,) travel with the points as their custom data.
    words : (n,) shown on pointing.
    chosen : (n,) the selected ones stay bright.
    axes : titles; two empty texts leave the axes out.
    revision : zoom and selection stay while this stays.
    """
    import plotly.graph_objects as go

    n = len(points)
    figure = go.Figure(
        go.Scattergl(
            x=points[:, 0],
            y=points[:, 1],
            mode="markers",
            customdata=list(ids),
            text=list(words),
            hovertemplate="%{text}<extra></extra>",
            selectedpoints=np.flatnonzero(chosen).tolist() if chosen.any() else None,
            selected={"marker": {"opacity": 1.0}},
            unselected={"marker": {"opacity": 0.12}},
            marker={
                "size": 8 if n <= 2000 else 5 if n <= 15_000 else 3,
                "opacity": 0.85,
                "color": colours.values,
                "colorscale": colours.scale,
                "cmin": colours.low,
                "cmax": colours.high,
                "showscale": True,
                "colorbar": {"thickness": 14, "outlinewidth": 0, **colours.bar},
            },
        )
    )
    for update, title in ((figure.update_xaxes, axes[0]), (figure.update_yaxes, axes[1])):
        update(
            title=title or None, showticklabels=bool(title), showgrid=bool(title), zeroline=False
        )
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        dragmode="lasso",
        showlegend=False,
        uirevision=revision,
    )
    return figure
