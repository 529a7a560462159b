"""The calibration error: by hand, over parts, and without what chance adds to it."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics import calibration
from core.statistics.calibration import (
    bin_sums,
    bins_of,
    calibrated_level,
    calibration_error,
    calibration_interval,
)
from core.types import BoolArray, FloatArray


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.99, 1.0, 0.52, 0.51])
    correct = np.array([True, True, False, True, False])
    last = abs((0.95 + 0.99 + 1.0) - 2)
    middle = abs((0.52 + 0.51) - 1)
    assert bins_of(confidence).tolist() == [14, 14, 14, 7, 7]
    assert calibration_error(confidence, correct) == pytest.approx((last + middle) / 5)
    assert np.isnan(calibration_error(confidence[:0], correct[:0]))


def test_calibration_error_adds_up_over_parts(rng: np.random.Generator) -> None:
    confidence = rng.uniform(0.2, 1, 60)
    correct = rng.random(60) < confidence
    ones = np.ones((1, 30))
    sums = sum(bin_sums(confidence[p], correct[p], ones) for p in (slice(30), slice(30, 60)))
    assert np.abs(sums).sum() / 60 == pytest.approx(calibration_error(confidence, correct))
    order = rng.permutation(60)
    assert calibration_error(confidence[order], correct[order]) == pytest.approx(
        calibration_error(confidence, correct)
    )


def test_a_calibrated_model_is_at_its_level(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    confidence = rng.uniform(0.4, 1, 400)
    right = rng.random(400) < confidence
    level = calibrated_level(confidence)
    assert 0.02 < level < 0.06
    assert calibration_error(confidence, right) < 2 * level
    monkeypatch.setattr(calibration, "CHUNK", 1000)  # two of the simulated sets at once
    assert calibrated_level(confidence) == level


def sets(rng: np.random.Generator, n: int, off: float) -> tuple[FloatArray, BoolArray]:
    confidence = rng.uniform(0.4, 1, n)
    return confidence, rng.random(n) < confidence - off


def test_an_interval_holds_no_error_where_there_is_none(rng: np.random.Generator) -> None:
    found = [calibration_interval(*sets(rng, 150, 0)) for _ in range(100)]
    assert np.mean([each.low == 0 for each in found]) >= 0.93
    assert np.median([each.value for each in found]) < 0.5 * np.mean([f.plain for f in found])
    assert all(each.low <= each.value <= each.high for each in found)


def test_an_error_is_found_where_there_is_one(rng: np.random.Generator) -> None:
    found = calibration_interval(*sets(rng, 4000, 0.1))
    assert 0.07 < found.low < 0.1 < found.high < 0.14
    assert found.value == pytest.approx(found.plain, abs=0.005)


def test_an_interval_depends_on_no_order(rng: np.random.Generator) -> None:
    confidence, correct = sets(rng, 80, 0.05)
    order = rng.permutation(80)
    again = calibration_interval(confidence[order], correct[order])
    assert again == pytest.approx(calibration_interval(confidence, correct))


def test_certain_and_right_has_a_width() -> None:
    found = calibration_interval(np.ones(20), np.ones(20, bool))
    assert (found.value, found.low, found.plain) == (0, 0, 0)
    assert 0 < found.high < 0.2
    assert np.isnan(calibration_interval(np.ones(0), np.ones(0, bool))).all()
