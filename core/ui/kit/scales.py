"""Values as colours with a legend, for drawings that plotly does not make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.types import FloatArray, count_of
from core.ui.kit.palette import CLASSES, DIVERGING, NEUTRAL, SEQUENTIAL

OTHER = "other"
TICKS = 5
STEPS = 250
"""Colours of a ramp; a place in the palette is one byte."""


@dataclass(frozen=True)
class Colours:
    """A colour for each of n values, and what the colours mean."""

    title: str
    codes: npt.NDArray[np.uint8]
    """(n,) places in the palette."""
    palette: tuple[str, ...]
    """Hexadecimal colours; of numbers, the first ``STEPS`` are the ramp from low to high."""
    entries: tuple[tuple[str, str], ...]
    """Colour and words of the categories, or of the values that are missing."""
    ticks: tuple[str, ...] = ()
    """Numbers along the ramp, from its low to its high end; none without a ramp."""


def categories(values: Sequence[object], title: str, order: Sequence[str] = ()) -> Colours:
    """One colour per value; past seven values the rarest share grey.

    Parameters
    ----------
    order : values in the order that gives them their colours, the others follow by frequency.
    """
    texts = pd.Series(values, dtype=object).fillna("none").astype(str).astype("category")
    counts = texts.value_counts()
    frequent = sorted(counts.index, key=lambda name: (-counts[name], name))
    known = [name for name in order if name in counts.index]
    kept = [*known, *(name for name in frequent if name not in set(known))]
    if len(kept) > len(CLASSES):
        kept = frequent[: len(CLASSES)]
    places = {name: i for i, name in enumerate(kept)}
    of_name = np.array([places.get(name, len(kept)) for name in texts.cat.categories], np.uint8)
    codes = of_name[texts.cat.codes]
    entries = [
        (colour, f"{name} ({counts[name]:,})") for colour, name in zip(CLASSES, kept, strict=False)
    ]
    if len(kept) < len(counts):
        rest = int((codes == len(kept)).sum())
        entries.append((NEUTRAL, f"{count_of(len(counts) - len(kept), 'other')} ({rest:,})"))
    palette = tuple(colour for colour, _ in entries)
    return Colours(title, codes, palette, tuple(entries))


def diverging(values: FloatArray, title: str) -> Colours:
    """Blue below zero, orange above; full colour at the 98th percentile of the absolute value."""
    finite = np.abs(values[np.isfinite(values)])
    top = (float(np.percentile(finite, 98)) if len(finite) else 0.0) or 1.0
    return _numbers(values, title, -top, top, DIVERGING)


def sequential(values: FloatArray, title: str) -> Colours:
    """From dark to light along a number; single values far out do not stretch the scale."""
    finite = values[np.isfinite(values)]
    low, high = (float(v) for v in np.percentile(finite, [1, 99])) if len(finite) else (0.0, 1.0)
    return _numbers(values, title, low, high if high > low else low + (abs(low) or 1.0), SEQUENTIAL)


def _numbers(
    values: FloatArray, title: str, low: float, high: float, scale: list[tuple[float, str]]
) -> Colours:
    """A ramp from ``low`` to ``high``; values beyond take its ends, missing ones are grey."""
    values = np.asarray(values, np.float64)
    missing = ~np.isfinite(values)
    share = np.clip((np.where(missing, low, values) - low) / (high - low), 0.0, 1.0)
    codes = np.where(missing, STEPS, np.rint(share * (STEPS - 1)))
    return Colours(
        title,
        codes.astype(np.uint8),
        (*_ramp(scale), NEUTRAL),
        ((NEUTRAL, f"none ({int(missing.sum()):,})"),) if missing.any() else (),
        _ticks(low, high),
    )


def _ticks(low: float, high: float) -> tuple[str, ...]:
    """Numbers from one to the other, as short as tells them apart."""
    values = np.linspace(low, high, TICKS)
    decimals = 1 - math.floor(math.log10((high - low) / (TICKS - 1)))
    if decimals > 6 or max(abs(low), abs(high)) >= 1e7:
        return tuple(f"{value:.4g}" for value in values)
    decimals = max(decimals, 0)
    return tuple(f"{round(float(value), decimals) + 0.0:.{decimals}f}" for value in values)


def _ramp(scale: list[tuple[float, str]]) -> list[str]:
    """The colours between those of a scale."""
    stops = [place for place, _ in scale]
    parts = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for _, colour in scale])
    along = np.linspace(0.0, 1.0, STEPS)
    mixed = [np.rint(np.interp(along, stops, part)).astype(int) for part in parts.T]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in zip(*mixed, strict=True)]


def attribute(values: pd.Series, title: str) -> Colours:
    """An attribute: numbers with many values along a scale, everything else as categories."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 2 * len(CLASSES):
        return sequential(values.to_numpy(np.float64), title)
    names = sorted(values.dropna().astype(str).unique())
    return categories(values.tolist(), title, names if len(names) <= len(CLASSES) else ())
