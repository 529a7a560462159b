"""Average precision, AUROC and the relative sensitivities: replicas, hand counts, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from core.statistics.estimates import RelativeSensitivity
from core.statistics.separation import (
    auroc_interval,
    precision_parts,
    relative_core_sensitivity,
    spurious_score,
    weighted_precision,
)
from core.types import FloatArray


def slow_precision(p_in: np.ndarray, p_cue: np.ndarray) -> float:
    """Sum over thresholds of the gain in recall times precision."""
    values, area, recall_before = np.concatenate([p_in, p_cue]), 0.0, 0.0
    for threshold in sorted(set(values.tolist()), reverse=True):
        true = sum(p >= threshold for p in p_in)
        every = true + sum(p >= threshold for p in p_cue)
        recall = true / len(p_in)
        area += (recall - recall_before) * true / every
        recall_before = recall
    return area


def slow_auroc(p_in: np.ndarray, p_cue: np.ndarray) -> float:
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in p_in for b in p_cue]))


@pytest.mark.parametrize("digits", [1, 9], ids=["many ties", "no ties"])
def test_equals_slow_replicas(rng: np.random.Generator, digits: int) -> None:
    p_in, p_cue = rng.beta(3, 2, 40).round(digits), rng.beta(2, 3, 61).round(digits)
    found = spurious_score(p_in, p_cue)
    assert found.average_precision == pytest.approx(slow_precision(p_in, p_cue), abs=1e-9)
    assert found.auroc == pytest.approx(slow_auroc(p_in, p_cue), abs=1e-9)
    assert found.ap_low <= found.average_precision <= found.ap_high
    assert found.auroc_low < found.auroc < found.auroc_high
    assert (found.mean_p_in, found.mean_p_cue) == (p_in.mean(), p_cue.mean())


def test_a_constant_score_is_at_chance() -> None:
    found = spurious_score(np.full(50, 0.3), np.full(75, 0.3))
    assert found.average_precision == pytest.approx(0.4)
    assert found.ap_low < 0.4 < found.ap_high
    assert found.chance == pytest.approx(0.4)
    assert found.auroc == 0.5
    assert (found.n_in, found.n_cue) == (50, 75)


def test_best_and_worst() -> None:
    low, high = np.linspace(0, 0.4, 75), np.linspace(0.5, 1, 50)
    best = spurious_score(high, low)
    assert (best.average_precision, best.auroc, best.auroc_high) == (1.0, 1.0, 1.0)
    assert 0.9 < best.auroc_low < 1
    assert (best.ap_high, 0.7 < best.ap_low < 0.9) == (1.0, True)
    worst = spurious_score(np.linspace(0, 0.4, 50), np.linspace(0.5, 1, 75))
    assert worst.average_precision == pytest.approx(0.238, abs=1e-3)
    assert (worst.auroc, worst.auroc_low) == (0.0, 0.0)


def test_auroc_ignores_monotone_maps_and_ratio(rng: np.random.Generator) -> None:
    p_in, p_cue = rng.random(30), rng.random(20)
    found = spurious_score(p_in, p_cue)
    assert spurious_score(p_in**3, p_cue**3).auroc == found.auroc
    doubled = spurious_score(p_in, np.tile(p_cue, 2))
    assert doubled.auroc == pytest.approx(found.auroc)
    assert doubled.average_precision < found.average_precision


def test_weights_count_images(rng: np.random.Generator) -> None:
    values, positive = rng.random(25).round(1), rng.random(25) < 0.5
    counts = rng.integers(0, 3, (6, 25))
    found = weighted_precision(values, positive, counts.astype(float))
    for weights, value in zip(counts, found, strict=True):
        repeated = np.repeat(np.arange(25), weights)
        expected = average_precision_score(positive[repeated], values[repeated])
        assert value == pytest.approx(expected, abs=1e-12)


def test_influence_is_the_slope_of_the_average(rng: np.random.Generator) -> None:
    values, positive = rng.random(20).round(1), np.arange(20) < 8
    found = precision_parts(values, positive)
    guarded = np.concatenate([values, [2, -1]])
    kinds = np.concatenate([positive, [False, True]])
    slopes = np.zeros(22)
    for image in range(22):
        weights = np.ones((2, 22))
        weights[0, image] += 1e-6
        more, same = weighted_precision(guarded, kinds, weights)
        slopes[image] = (more - same) / 1e-6
    for kind in (kinds, ~kinds):
        n = int(kind.sum())
        wanted = (slopes[kind] - slopes[kind].mean()) * np.sqrt(n / (n - 1))
        assert found.influence[kind] == pytest.approx(wanted, abs=1e-5)


def test_perfect_separation_is_not_certain() -> None:
    found = precision_parts(np.arange(20) / 20, np.arange(20) >= 10)
    assert found.value == found.high == 1
    assert 0.5 < found.low < 0.75
    more = precision_parts(np.arange(200) / 200, np.arange(200) >= 100)
    assert found.low < more.low < 1
    alone = precision_parts(np.array([0.3, 0.1, 0.2]), np.array([True, False, False]))
    assert alone[:3] == (1, 0, 1)


def test_an_average_ignores_monotone_maps(rng: np.random.Generator) -> None:
    values, positive = rng.normal(size=30), np.arange(30) < 12
    found, again = (precision_parts(v, positive) for v in (values, np.exp(values)))
    assert again[:3] == pytest.approx(found[:3])
    order = rng.permutation(30)
    assert precision_parts(values[order], positive[order])[:3] == pytest.approx(found[:3])


@pytest.mark.parametrize("area", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_auroc_bounds_are_z_standard_errors_away(area: float) -> None:
    m, n, z = 50, 75, norm.isf(0.025)
    for bound in auroc_interval(area, m, n):
        if bound in (0.0, 1.0):
            continue
        q = (bound * (1 - bound)) * (
            1 + ((m + n) / 2 - 1) * ((1 - bound) / (2 - bound) + bound / (1 + bound))
        )
        assert abs(area - bound) == pytest.approx(z * np.sqrt(q / (m * n)), abs=1e-6)


def test_auroc_interval_covers(rng: np.random.Generator) -> None:
    truth = norm.cdf(1 / np.sqrt(2))
    inside = 0
    for _ in range(200):
        found = spurious_area(rng.normal(1, 1, 25), rng.normal(0, 1, 30))
        low, high = auroc_interval(found, 25, 30)
        inside += low <= truth <= high
    assert inside / 200 > 0.9


def spurious_area(a: np.ndarray, b: np.ndarray) -> float:
    return float((a[:, None] > b[None, :]).mean())


@pytest.mark.parametrize(
    ("core", "spurious", "expected"),
    [(0.8, 0.4, 0.5), (0.4, 0.8, -0.5), (1, 0, 1), (0, 1, -1), (0, 0, 0), (1, 1, 0), (0.6, 0.6, 0)],
)
def test_relative_core_sensitivity(core: float, spurious: float, expected: float) -> None:
    mean = (core + spurious) / 2
    if 0 < mean < 1:
        assert expected == pytest.approx((core - spurious) / (2 * min(mean, 1 - mean)))
    assert relative_core_sensitivity(core, spurious) == pytest.approx(expected)


def test_sensitivity_stays_in_range_and_swaps_sign(rng: np.random.Generator) -> None:
    for core, spurious in rng.random((200, 2)):
        found = relative_core_sensitivity(core, spurious)
        assert -1 <= found <= 1
        assert relative_core_sensitivity(spurious, core) == pytest.approx(-found)


def sensitivity_interval(core: FloatArray, spurious: FloatArray) -> tuple[float, float]:
    return RelativeSensitivity().of(np.column_stack([core, spurious]))[1:]


def test_sensitivity_interval(rng: np.random.Generator) -> None:
    core = (rng.random(60) < 0.8).astype(float)
    spurious = (rng.random(60) < 0.4).astype(float)
    spurious[:5] = np.nan
    low, high = sensitivity_interval(core, spurious)
    assert low < relative_core_sensitivity(core.mean(), float(np.nanmean(spurious))) < high
    assert sensitivity_interval(core, spurious) == (low, high)
    assert np.isnan(sensitivity_interval(core, np.full(60, np.nan))).all()
    assert np.isnan(sensitivity_interval(core[:0], core[:0])).all()
    assert sensitivity_interval(np.ones(9), np.ones(9)) == (0.0, 0.0)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="images of both kinds, got 0 and 2"):
        spurious_score(np.zeros(0), np.ones(2))
    with pytest.raises(ValueError, match="not a finite number"):
        spurious_score(np.array([0.5, np.nan]), np.ones(2))
    with pytest.raises(ValueError, match="accuracy 1.2 is outside"):
        relative_core_sensitivity(1.2, 0.3)
