"""Forecasts: scores by hand and by the oracle, what a temperature and an ensemble do to them."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.brier import decomposed
from core.statistics.calibration import calibrated_level, calibration_error, calibration_interval
from core.statistics.forecasts import (
    COLDEST,
    HOTTEST,
    Forecasts,
    fitted_temperature,
    forecasts,
    joined,
    mean_probability,
)
from core.types import FloatArray, IntArray


def drawn(
    rng: np.random.Generator, n: int, classes: int = 5, spread: float = 2.0
) -> tuple[FloatArray, IntArray]:
    """Logits, and labels drawn with their very probabilities."""
    logits = spread * rng.normal(size=(n, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, labels


def test_scores_by_hand() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [1 / 3, 1 / 3, 1 / 3]])
    found = forecasts(np.log(p), np.array([0, 2, 1]))
    assert found.right.tolist() == [True, False, False]
    np.testing.assert_allclose(found.confidence, [0.7, 0.6, 1 / 3])
    np.testing.assert_allclose(found.log_probability, np.log([0.7, 0.3, 1 / 3]))
    squares = [0.3**2 + 0.2**2 + 0.1**2, 0.1**2 + 0.6**2 + 0.7**2, 1 - 1 / 3]
    np.testing.assert_allclose(found.brier, squares)
    both = joined([found.of(np.array([0])), found.of(np.array([False, True, True]))])
    for part, whole in zip(both, found, strict=True):
        np.testing.assert_array_equal(part, whole)


def test_scores_are_those_of_the_oracle(rng: np.random.Generator) -> None:
    oracle = pytest.importorskip(
        "torchmetrics.functional", reason="pip install -r requirements-dev.txt"
    )
    import torch

    logits, labels = drawn(rng, 800)
    found = forecasts(logits, labels)
    p, y = torch.softmax(torch.from_numpy(logits), 1), torch.from_numpy(labels)
    ece = oracle.calibration_error(p, y, "multiclass", n_bins=15, norm="l1", num_classes=5)
    assert calibration_error(found.confidence, found.right) == pytest.approx(float(ece), abs=1e-6)
    one_hot = torch.nn.functional.one_hot(y, 5).double()
    brier = 5 * oracle.mean_squared_error(p, one_hot)
    assert found.brier.mean() == pytest.approx(float(brier), abs=1e-6)
    nll = torch.nn.functional.cross_entropy(torch.from_numpy(logits), y)
    assert -found.log_probability.mean() == pytest.approx(float(nll), abs=1e-6)


def test_a_constant_added_to_the_logits_changes_nothing(rng: np.random.Generator) -> None:
    logits, labels = drawn(rng, 50)
    for one, other in zip(forecasts(logits, labels), forecasts(logits + 900, labels), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(("n", "expected"), [(1000, 0.039), (10_000, 0.012), (50_000, 0.006)])
def test_what_chance_adds_to_a_calibrated_source(
    n: int, expected: float, rng: np.random.Generator
) -> None:
    confidence = rng.random(n)
    right = rng.random(n) < confidence
    assert calibrated_level(confidence) == pytest.approx(expected, abs=0.0012)
    assert calibration_error(confidence, right) == pytest.approx(expected, rel=0.35)
    value, low, _, plain = calibration_interval(confidence, right)
    assert low == 0
    assert value < 0.6 * plain


def test_the_parts_of_the_brier_score_sum_to_it(rng: np.random.Generator) -> None:
    logits, labels = drawn(rng, 700)
    parts = decomposed(logits, labels)
    assert parts.brier == pytest.approx(float(forecasts(logits, labels).brier.mean()), abs=1e-12)
    assert parts.uncertainty == pytest.approx(1 - np.square(np.bincount(labels) / 700).sum())
    few = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))[np.arange(700) % 2]
    of_three = decomposed(few, labels % 3)  # one forecast a bin: nothing is left inside the bins
    assert of_three.within == pytest.approx(0, abs=1e-9)
    truth = np.eye(3)[labels % 3]
    assert of_three.brier == pytest.approx(np.square(np.exp(few) - truth).sum(axis=1).mean())
    slow = [
        np.square(truth[rows].mean(axis=0) - np.exp(few[rows[0]])).sum() / 2
        for rows in (np.arange(0, 700, 2), np.arange(1, 700, 2))
    ]
    assert of_three.reliability == pytest.approx(sum(slow))
    assert np.isnan(decomposed(logits[:0], labels[:0]).reliability)


def test_blocks_of_images_change_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels = drawn(rng, 50)
    whole, parts = forecasts(logits, labels, np.full(50, 2.0)), decomposed(logits, labels)
    monkeypatch.setattr("core.statistics.forecasts.BLOCK", 7)
    monkeypatch.setattr("core.statistics.brier.BLOCK", 7)
    for one, other in zip(forecasts(logits / 2, labels), whole, strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(decomposed(logits, labels), parts)


def test_reliability_of_a_calibrated_source_is_what_chance_makes(rng: np.random.Generator) -> None:
    parts = []
    for _ in range(40):
        logits, labels = drawn(rng, 400, 3)
        parts.append(decomposed(logits, labels))
    found = np.array([part.reliability - part.chance for part in parts])
    assert abs(found.mean()) < 3 * found.std() / 40**0.5


def test_the_temperature_is_found_again(rng: np.random.Generator) -> None:
    logits, labels = drawn(rng, 4000)
    for factor in (0.5, 1.0, 3.0):
        value, low, high = fitted_temperature(factor * logits, labels)
        assert value == pytest.approx(factor, rel=0.1)
        assert low < factor < high
        assert high - low < 0.2 * factor
    hot, (at, *_) = 3 * logits, fitted_temperature(3 * logits, labels)
    before, after = forecasts(hot, labels), forecasts(hot, labels, at)
    assert (before.right == after.right).all()
    tried = [forecasts(hot, labels, t).log_probability.mean() for t in (at / 1.1, at, at * 1.1, 1)]
    assert max(tried) == tried[1]
    barred = np.where(np.arange(5) == (labels[:, None] + 1) % 5, -np.inf, hot)
    assert np.isfinite(fitted_temperature(barred, labels)).all()


def test_intervals_of_a_temperature_hold_it() -> None:
    held = 0
    for seed in range(60):
        value, low, high = fitted_temperature(*drawn(np.random.default_rng(seed), 200, 3))
        held += low <= 1 <= high
    assert held >= 53  # of 60 at 95 %: fewer once in 40 times


def test_a_temperature_without_a_best_one_is_at_the_end(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(20, 3))
    value, low, high = fitted_temperature(logits, logits.argmax(axis=1))
    assert (value, low) == (pytest.approx(COLDEST), pytest.approx(COLDEST))
    assert high > low
    assert fitted_temperature(logits, logits.argmin(axis=1))[0] == pytest.approx(HOTTEST)
    value, *ends = fitted_temperature(logits[:0], np.zeros(0, np.int64))
    assert value == 1
    assert np.isnan(ends).all()


def test_an_ensemble_is_the_mean_of_probabilities(rng: np.random.Generator) -> None:
    logits, labels = drawn(rng, 300)
    other = logits + rng.normal(size=logits.shape)
    p = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (logits, other)]
    np.testing.assert_allclose(np.exp(mean_probability([logits, other])), (p[0] + p[1]) / 2)

    def score(z: FloatArray) -> Forecasts:
        return forecasts(z, labels)

    both = score(mean_probability([logits, other]))
    alone = np.mean([score(z).brier.mean() for z in (logits, other)])
    assert both.brier.mean() <= alone  # convex: never worse than its members on average
    np.testing.assert_allclose(score(mean_probability([logits])).brier, score(logits).brier)
