from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from core.ui.kit import scales
from core.ui.kit.palette import CLASSES, DIVERGING, NEUTRAL, SEQUENTIAL

SENT = (np.uint8, np.dtype("uint8"))


def drawn(found: scales.Colours) -> list[str]:
    return [found.palette[code] for code in found.codes]


def test_many_categories_share_grey() -> None:
    values = [f"c{i}" for i in range(12) for _ in range(20 - i)]
    found = scales.categories(values, "Class")
    assert len(found.entries) == 8
    assert found.entries[0] == (CLASSES[0], "c0 (20)")
    assert found.entries[-1] == (NEUTRAL, "5 others (55)")
    assert drawn(found).count(NEUTRAL) == 55
    assert found.codes.max() == 7
    assert found.codes.dtype in SENT
    assert not found.ticks


def test_order_gives_the_colours() -> None:
    values = ["b", "b", "a", "c"]
    assert drawn(scales.categories(values, "x", ["a", "gone"])) == [
        CLASSES[1],
        CLASSES[1],
        CLASSES[0],
        CLASSES[2],
    ]


def test_missing_values_are_a_category() -> None:
    found = scales.categories(["a", None, "a", float("nan")], "x")
    assert [text for _, text in found.entries] == ["a (2)", "none (2)"]


def test_nothing_to_colour() -> None:
    for found in (scales.categories([], "x"), scales.diverging(np.zeros(0), "x")):
        assert len(found.codes) == 0
        assert found.codes.dtype in SENT


def test_images_without_a_value_are_grey() -> None:
    found = scales.diverging(np.array([-1.0, np.nan, 1.0, -50.0]), "α")
    low, missing, _, far = drawn(found)
    assert missing == NEUTRAL
    assert far == DIVERGING[0][1]  # beyond the scale: its end
    assert low != NEUTRAL
    assert found.entries == ((NEUTRAL, "none (1)"),)
    assert not scales.sequential(np.arange(100.0), "size").entries


@pytest.mark.parametrize(
    ("scale", "stops"), [(scales.diverging, DIVERGING), (scales.sequential, SEQUENTIAL)]
)
def test_ends_and_middle_of_a_ramp(
    scale: Callable[..., scales.Colours], stops: list[tuple[float, str]]
) -> None:
    found = scale(np.linspace(-1, 1, 10_001), "x")
    colours = drawn(found)
    assert colours[0] == stops[0][1]
    assert colours[-1] == stops[-1][1]
    assert len(set(colours)) > scales.STEPS / 2
    assert (np.diff(found.codes.astype(int)) >= 0).all()
    assert [float(text) for text in found.ticks] == pytest.approx(
        np.linspace(*np.percentile(np.linspace(-1, 1, 10_001), [1, 99]), 5), abs=0.02
    )


def test_diverging_scale_is_symmetric_around_zero() -> None:
    found = scales.diverging(np.array([-1.0, 0.0, 4.0]), "α")
    numbers = [float(text) for text in found.ticks]
    assert numbers[0] == -numbers[-1]
    assert numbers[2] == 0
    assert float(scales.diverging(np.zeros(3), "α").ticks[-1]) == 1


def test_equal_numbers_have_a_scale() -> None:
    found = scales.sequential(np.full(3, 2.0), "size")
    assert set(found.codes) == {0}
    assert float(found.ticks[0]) == 2


@pytest.mark.parametrize(
    ("low", "high"),
    [(1990, 2024), (1000, 1500), (224, 640), (0, 1), (-0.003, 0.004), (1e9, 1.1e9), (5e-9, 6e-9)],
)
def test_numbers_of_a_ramp_differ_and_are_short(low: float, high: float) -> None:
    texts = scales.sequential(np.linspace(low, high, 10_001), "x").ticks
    assert len(set(texts)) == len(texts) == 5
    assert max(map(len, texts)) <= 9
    assert [float(text) for text in texts] == sorted(float(text) for text in texts)


def test_numbers_of_a_ramp() -> None:
    assert scales.sequential(np.linspace(1990, 2024, 35), "year").ticks[0] == "1990.3"
    assert scales.diverging(np.array([-0.35, 0.35]), "α").ticks == (
        *("-0.35", "-0.17", "0.00", "0.17", "0.35"),
    )
    assert scales.sequential(np.full(4, 1e17), "x").ticks[0] == "1e+17"


def test_attributes_of_many_numbers_are_a_ramp_and_others_categories() -> None:
    assert scales.attribute(pd.Series(np.arange(40.0)), "age").ticks
    found = scales.attribute(pd.Series([1, 0, 1, None]), "snow")
    assert [text for _, text in found.entries] == ["0.0 (1)", "1.0 (2)", "none (1)"]
