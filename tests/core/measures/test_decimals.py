"""No more digits than intervals let stand."""

from __future__ import annotations

import math

import pytest

from core.measures.decimals import figure, interval, p_value, places


@pytest.mark.parametrize(
    ("value", "unit", "ends", "shown"),
    [
        (0.4187, "share", (0.375, 0.463), "0.42 [0.38, 0.46]"),
        (0.4187, "share", (0.4157, 0.4217), "0.419 [0.416, 0.422]"),
        (0.4187, "share", (math.nan, math.nan), "0.42 "),
        (-0.001, "", (-0.17, 0.17), "0.00 [-0.17, 0.17]"),
        (72.5, "points", (49.9, 83.2), "+72 [+50, +83]"),
        (-0.31, "points", (-0.5, -0.1), "-0.3 [-0.5, -0.1]"),
        (-0.31, "points", (math.nan, math.nan), "+0 "),
        (4_140_804, "parameters", (math.nan, math.nan), "4,140,804 "),
        (174.23, "images/s", (167.1, 180.8), "174 [167, 181]"),
        (math.nan, "share", (math.nan, math.nan), " "),
    ],
)
def test_figures(value: float, unit: str, ends: tuple[float, float], shown: str) -> None:
    assert f"{figure(value, unit, *ends)} {interval(*ends, unit)}" == shown


def test_a_column_has_the_decimals_of_its_widest_interval() -> None:
    assert places([60.0, 66.4], [73.0, 66.8], "points") == 0
    assert places([66.4, math.nan], [66.8, math.nan], "points") == 1
    assert places([math.nan], [math.nan], "points") == 0


def test_signs_and_p_values() -> None:
    assert figure(0.2, "share", sign="+") == "+0.20"
    assert interval(-0.1, 0.3, "share", sign="+") == "[-0.10, +0.30]"
    assert [p_value(p) for p in (0.0, 0.0009, 0.012, 1.0)] == [
        *("p < 0.001", "p < 0.001"),
        *("p 0.012", "p 1.000"),
    ]
