"""The line of effective robustness and the distance from it: replicas, identities, few models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t

from core.statistics.intervals import share
from core.statistics.robustness import (
    effective_robustness,
    fit_line,
    logit,
    robustness_interval,
)

N = np.full(6, 1000)


def test_models_on_a_line_have_no_effective_robustness() -> None:
    x = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    y = expit(0.9 * logit(x, N) - 0.5)
    line = fit_line(x, y, N, N)
    assert (line.slope, line.intercept, line.r2) == pytest.approx((0.9, -0.5, 1))
    assert effective_robustness(line, x, y, N) == pytest.approx(np.zeros(6), abs=1e-9)
    assert effective_robustness(line, x, y + 0.03, N) == pytest.approx(np.full(6, 3))
    low, high = line.bounds(x, 1000)
    assert low == pytest.approx(y)
    assert high == pytest.approx(y)


def test_line_equals_least_squares_on_logits(rng: np.random.Generator) -> None:
    x, y = rng.uniform(0.3, 0.95, 6), rng.uniform(0.3, 0.95, 6)
    line = fit_line(x, y, N, N)
    slope, intercept = np.polyfit(np.log(x / (1 - x)), np.log(y / (1 - y)), 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    assert fit_line(x, y, N, N) == line


def test_accuracies_of_zero_and_one_stay_finite() -> None:
    assert logit(1.0, 50) == pytest.approx(np.log(0.99 / 0.01))
    assert logit(0.0, 50) == pytest.approx(-np.log(0.99 / 0.01))
    assert expit(logit(0.3, 50)) == pytest.approx(0.3)


def test_too_few_models_make_no_line() -> None:
    two = np.array([0.5, 0.7])
    assert fit_line(two, two, N[:2], N[:2]) is None
    same = np.full(4, 0.5)
    assert fit_line(same, two[[0, 1, 0, 1]], N[:4], N[:4]) is None
    three = np.array([0.5, 0.6, 0.7])
    low, high = fit_line(three, three, N[:3], N[:3]).bounds(three, 1000)
    assert low == pytest.approx(three)
    assert high == pytest.approx(three)


def test_a_band_is_that_of_a_regression(rng: np.random.Generator) -> None:
    import statsmodels.api as sm

    x, y = rng.uniform(0.3, 0.95, 5), rng.uniform(0.3, 0.95, 5)
    line = fit_line(x, y, N[:5], N[:5])
    fit = sm.OLS(np.log(y / (1 - y)), sm.add_constant(np.log(x / (1 - x)))).fit()
    at = np.array([0.4, 0.9])
    design = np.column_stack([np.ones(2), np.log(at / (1 - at))])
    mean = fit.get_prediction(design).conf_int(alpha=0.05)
    low, high = line.bounds(at, 1e9)
    assert (low, high) == (pytest.approx(expit(mean[:, 0])), pytest.approx(expit(mean[:, 1])))


def test_three_models_make_a_wide_band() -> None:
    x, y = np.array([0.5, 0.6, 0.7]), np.array([0.5, 0.61, 0.69])
    line = fit_line(x, y, N[:3], N[:3])
    low, high = line.bounds(0.6, 1e9)
    half = (
        t.isf(0.025, 1)
        * line.error
        * np.sqrt(1 / 3 + (logit(0.6, 1e9) - line.middle) ** 2 / line.spread)
    )
    assert logit(float(high), 1e9) - logit(float(low), 1e9) == pytest.approx(2 * half)


def test_a_distance_of_a_sure_line_is_as_sure_as_both_accuracies() -> None:
    x = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    line = fit_line(x, x, N, N)
    rho, low, high = robustness_interval(line, 0.8, 0.9, 10**12, 400)
    ends = share(360, 400)
    assert (rho, low, high) == pytest.approx((10, *(100 * (end - 0.8) for end in ends)), abs=1e-3)
    _, lower, higher = robustness_interval(line, 0.8, 0.9, 400, 400)
    assert lower < low < rho < high < higher
