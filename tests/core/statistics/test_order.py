from __future__ import annotations

import numpy as np
import pytest

from core.corrections.evidence import SHOWN, high_against_low
from core.statistics.intervals import accuracy_gaps
from core.statistics.order import falling
from core.statistics.paired import weighted_gap


def test_without_ties_it_is_the_order_by_value(rng: np.random.Generator) -> None:
    values = rng.normal(size=(50, 4))
    assert (falling(values) == np.argsort(-values, axis=0)).all()


def test_equals_do_not_stand_by_their_place() -> None:
    values = np.repeat([2.0, 1.0], 200)
    order = falling(values)
    assert set(order[:200]) == set(range(200))
    assert abs(np.corrcoef(np.arange(200), order[:200])[0, 1]) < 0.2
    assert (order == falling(values)).all()


def test_unknown_values_are_last() -> None:
    assert falling(np.array([np.nan, 1.0, np.nan, 3.0]))[:2].tolist() == [3, 1]


def test_a_gap_of_nothing_is_rarely_sure_where_difficulty_follows_the_path(
    rng: np.random.Generator,
) -> None:
    """Alpha has two values, errors are at the end of the folder: no cue, so no gap."""
    sure = 0
    for _ in range(200):
        n = 120
        correct = rng.random(n) < np.linspace(0.95, 0.3, n)
        alpha = rng.integers(0, 2, n).astype(float)[:, None]
        gaps = accuracy_gaps(correct, alpha)
        sure += bool(gaps.gap_low[0] > 0 or gaps.gap_high[0] < 0)
    assert sure / 200 <= 0.05


def test_all_who_break_ties_agree(rng: np.random.Generator) -> None:
    alpha, correct = rng.integers(0, 3, 60).astype(float), rng.random(60) < 0.5
    gaps = accuracy_gaps(correct, alpha[:, None], k=20)
    same = weighted_gap(correct, alpha, np.ones((1, 60)), 20)
    assert same[0] == pytest.approx(gaps.gap[0])
    shown = np.flatnonzero(high_against_low(alpha) == SHOWN)
    assert set(shown) == set(falling(alpha)[:15])
