"""What is said of a gap beside its control."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.candidates.above_control import CORRECTED, side_of_control, with_corrected


def table(p: list[float], gap: float = 30, control: float = 10) -> pd.DataFrame:
    return pd.DataFrame({"gap": gap, "gap_control": control, "gap_p": p})


def test_every_row_is_corrected_for() -> None:
    few = with_corrected(table([1e-3, 0.5]))
    many = with_corrected(table([1e-3, *np.linspace(0.05, 1, 99)]))
    assert few[CORRECTED].tolist() == pytest.approx([2e-3, 0.5])
    assert side_of_control(few).tolist() == [1, 0]
    assert not side_of_control(many).any()


def test_a_gap_below_its_control_is_told_apart() -> None:
    found = side_of_control(with_corrected(table([1e-6, 1e-6], gap=-5, control=20)))
    assert found.tolist() == [-1, -1]


def test_rows_without_a_test_neither_count_nor_are_counted() -> None:
    found = with_corrected(table([0.04, np.nan, np.nan]))
    assert found[CORRECTED].iloc[0] == pytest.approx(0.04)
    assert side_of_control(found).tolist() == [1, 0, 0]


def test_audits_of_earlier_versions_say_nothing() -> None:
    old = pd.DataFrame({"gap": [30.0, 5.0], "gap_low": 10.0})
    assert side_of_control(old).tolist() == [0, 0]
    assert with_corrected(old)[CORRECTED].isna().all()
