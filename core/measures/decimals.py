"""How figures are written for people: no more digits than their intervals let stand.

Files keep every digit. A half interval of 0.04 leaves two decimals of a share, one of 0.004 three;
of points, which are hundredths, two fewer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from core.measures.measure import POINTS

FEWEST = {POINTS: 0, "parameters": 0, "images/s": 0}
"""Decimals at least, by unit; of all others :data:`DECIMALS`."""

DECIMALS, MORE = 2, 2
"""Decimals where nothing allows more, and how many more are written at most."""

LEAST_P = 0.001
"""Below, a p-value is only said to be so."""


def figure(
    value: float, unit: str, low: float = math.nan, high: float = math.nan, *, sign: str = ""
) -> str:
    """A number of a unit; empty where there is none.

    Parameters
    ----------
    low, high : its interval, where it has one, which says how many decimals stand.
    sign : "+" to write that of positive ones as well, as points always have it.
    """
    return "" if math.isnan(value) else _written(value, unit, _decimals(unit, low, high), sign)


def interval(low: float, high: float, unit: str, *, sign: str = "") -> str:
    """An interval as its own width lets it be written; empty where there is none."""
    if math.isnan(low):
        return ""
    decimals = _decimals(unit, low, high)
    return f"[{', '.join(_written(end, unit, decimals, sign) for end in (low, high))}]"


def places(lows: Iterable[float], highs: Iterable[float], unit: str) -> int:
    """Decimals of a column of figures: those that the widest of their intervals lets stand."""
    known = [ends for ends in zip(lows, highs, strict=True) if not any(map(math.isnan, ends))]
    return min((_decimals(unit, *ends) for ends in known), default=FEWEST.get(unit, DECIMALS))


def p_value(p: float) -> str:
    """A p-value: "p 0.012", "p < 0.001"."""
    return f"p < {LEAST_P:g}" if p < LEAST_P else f"p {p:.3f}"


def _written(value: float, unit: str, decimals: int, sign: str) -> str:
    return f"{value:{'+' if unit == POINTS else sign}z,.{decimals}f}"


def _decimals(unit: str, low: float, high: float) -> int:
    fewest, half = FEWEST.get(unit, DECIMALS), (high - low) / 2
    if not half > 0:
        return fewest
    return min(max(math.ceil(-math.log10(half)), fewest), fewest + MORE)
