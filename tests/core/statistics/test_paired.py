"""Intervals, tests and lines of the comparison against slow replicas and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta, binom, binomtest
from sklearn.metrics import average_precision_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from core.statistics.calibration import bin_sums, bins_of, calibrated_level, calibration_error
from core.statistics.intervals import accuracy_gaps, mean_interval
from core.statistics.paired import (
    Sampled,
    bootstrap_interval,
    bootstrap_p,
    difference,
    mcnemar,
    paired_interval,
    resamples,
    weighted_gap,
    weighted_share,
)
from core.statistics.robustness import clopper_pearson, effective_robustness, fit_line, logit
from core.statistics.separation import weighted_auroc, weighted_precision


def test_resamples_are_the_same_for_the_same_name() -> None:
    first = resamples(7, "cat", count=50)
    assert (first == resamples(7, "cat", count=50)).all()
    assert (first != resamples(7, "dog", count=50)).any()
    assert (first.sum(axis=1) == 7).all()
    assert resamples(0, "cat", count=3).shape == (3, 0)


def test_resamples_draw_every_image_alike() -> None:
    weights = resamples(10, "cat", count=4000)
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.06)
    assert weights.var(axis=0) == pytest.approx(np.full(10, 0.9), abs=0.09)  # n p (1 - p)


def test_weighted_share_equals_repeating_images(rng: np.random.Generator) -> None:
    hits = np.where(rng.random(9) < 0.2, np.nan, rng.integers(0, 2, 9)).astype(float)
    weights = resamples(9, "x", count=20)
    slow = [np.nanmean(np.repeat(hits, row.astype(int))) for row in weights]
    assert weighted_share(hits, weights) == pytest.approx(slow)
    assert np.isnan(weighted_share(np.full(3, np.nan), np.ones((2, 3)))).all()


def test_weighted_gap_equals_repeating_images(rng: np.random.Generator) -> None:
    correct, scores = rng.random(30) < 0.6, rng.normal(size=30)
    weights = resamples(30, "x", count=40)
    slow = []
    for row in weights.astype(int):
        right, value = np.repeat(correct, row), np.repeat(scores, row)
        slow.append(accuracy_gaps(right, value[:, None], k=8).gap[0])
    assert weighted_gap(correct, scores, weights, 8) == pytest.approx(slow)
    plain = accuracy_gaps(correct, scores[:, None], k=8).gap[0]
    assert weighted_gap(correct, scores, np.ones((1, 30)), 8)[0] == pytest.approx(plain)


def test_weighted_areas_equal_scikit_learn(rng: np.random.Generator) -> None:
    values = rng.integers(0, 6, 25) / 5  # ties
    positive = np.arange(25) < 10
    weights = resamples(25, "x", count=30)
    auroc = [roc_auc_score(positive, values, sample_weight=row) for row in weights]
    precision = [average_precision_score(positive, values, sample_weight=row) for row in weights]
    assert weighted_auroc(values, positive, weights) == pytest.approx(auroc)
    assert weighted_precision(values, positive, weights) == pytest.approx(precision)


def test_the_same_resamples_pair_two_models(rng: np.random.Generator) -> None:
    first = (rng.random(200) < 0.7).astype(float)
    second = first.copy()
    second[:6] = 1 - second[:6]
    weights = resamples(200, "x")
    a, b = (Sampled(h.mean(), weighted_share(h, weights)) for h in (first, second))
    paired = difference(b, a)
    apart = difference(b, Sampled(a.value, weighted_share(first, resamples(200, "y"))))
    assert paired.samples.std() < apart.samples.std() / 3


def test_bootstrap_interval_holds_the_value_of_an_extreme(rng: np.random.Generator) -> None:
    samples = 3 + np.abs(rng.normal(size=5000))  # every resample is above the estimate
    low, high = bootstrap_interval(Sampled(2.0, samples))
    assert low < 2 < high
    assert high - low == pytest.approx(np.subtract(*np.quantile(samples, [0.975, 0.025])))
    assert np.isnan(bootstrap_interval(Sampled(float("nan"), samples))).all()


def test_bootstrap_p() -> None:
    samples = np.concatenate([np.full(50, -1.0), np.full(49, 1.0), [0.0]])
    assert bootstrap_p(Sampled(5.0, samples)) == pytest.approx(1 / 101)
    assert bootstrap_p(Sampled(0.0, samples)) == 1


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 9), (12, 12), (0, 8), (40, 22)])
def test_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    wanted = statsmodels_mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(wanted)
    if b + c:
        assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue)


def test_paired_interval() -> None:
    low, high = paired_interval(0, 0, 50)
    assert low < 0 < high  # no width of zero
    low, high = paired_interval(5, 25, 100)
    lost, won = 6 / 102, 26 / 102
    half = 1.959964 * np.sqrt((lost + won - (won - lost) ** 2) / 102)
    assert (low, high) == pytest.approx((won - lost - half, won - lost + half), abs=1e-6)


def test_mean_interval_of_one_is_its_own() -> None:
    assert mean_interval(np.array([3.0]), np.array([1.0]), np.array([7.0])) == (1, 7)
    low, high = mean_interval(np.zeros(4), np.full(4, -1.0), np.full(4, 2.0))
    assert (low, high) == (-0.5, 1.0)


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


def test_a_calibrated_model_is_at_its_level(rng: np.random.Generator) -> None:
    confidence = rng.uniform(0.4, 1, 400)
    right = rng.random(400) < confidence
    level = calibrated_level(confidence)
    assert 0.02 < level < 0.06
    assert calibration_error(confidence, right) < 2 * level


@pytest.mark.parametrize(("k", "n"), [(0, 20), (20, 20), (7, 20), (1, 3)])
def test_clopper_pearson_leaves_its_tails(k: int, n: int) -> None:
    low, high = clopper_pearson(k, n)
    assert float(low) == 0 if k == 0 else binom.sf(k - 1, n, low) == pytest.approx(0.025)
    assert float(high) == 1 if k == n else binom.cdf(k, n, high) == pytest.approx(0.025)
    if 0 < k < n:
        assert float(low) == pytest.approx(beta.ppf(0.025, k, n - k + 1))


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
    again = fit_line(x, y, N, N)
    assert (line.band == again.band).all()


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
    assert fit_line(three, three, N[:3], N[:3]).band is None
