"""Intervals and tests of the comparison against slow replicas and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from core.statistics.intervals import accuracy_gaps, mean_interval
from core.statistics.paired import (
    Sampled,
    bootstrap_interval,
    bootstrap_p,
    difference,
    mcnemar,
    paired_interval,
    resampled_counts,
    resamples,
    shared_difference,
    weighted_gap,
    weighted_share,
)
from core.statistics.separation import weighted_auroc, weighted_precision


def test_a_difference_from_both_intervals_knows_what_they_share(rng: np.random.Generator) -> None:
    shared, own = rng.normal(size=(2, 4000))
    old = Sampled(0.4, 0.4 + 0.05 * shared)
    new = Sampled(0.6, 0.6 + 0.05 * (0.8 * shared + 0.6 * own))
    ends = ((0.3, 0.5), (0.5, 0.7))
    alike = float(np.corrcoef(old.samples, new.samples)[0, 1])
    half = np.sqrt(0.02 - 2 * alike * 0.01)
    found = shared_difference(old, ends[0], new, ends[1])
    assert found == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    unknown = shared_difference(old, (0.0, 0.5), new, ends[1])  # on either side: sums
    assert unknown == pytest.approx((0.2, 0.2 - 0.2, 0.2 + 0.5))
    still = Sampled(0.4, np.full(4000, 0.4))
    apart = shared_difference(still, ends[0], new, ends[1])
    assert apart == pytest.approx((0.2, 0.2 - np.sqrt(0.02), 0.2 + np.sqrt(0.02)))


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


def test_counts_of_groups_are_drawn_as_sums_over_their_images() -> None:
    sizes = np.array([1, 4, 5])
    counts = resampled_counts(sizes, "cat", count=4000)
    assert (counts.sum(axis=1) == 10).all()
    assert (counts == resampled_counts(sizes, "cat", count=4000)).all()
    assert (counts != resampled_counts(sizes, "dog", count=4000)).any()
    summed = np.add.reduceat(resamples(10, "cat", count=4000), [0, 1, 5], axis=1)
    assert counts.mean(axis=0) == pytest.approx(summed.mean(axis=0), abs=0.08)
    assert np.cov(counts.T) == pytest.approx(np.cov(summed.T), abs=0.2)
    assert resampled_counts(np.zeros(0, np.int64), "cat", count=3).shape == (3, 0)


def test_weighted_share_equals_repeating_images(rng: np.random.Generator) -> None:
    hits = np.where(rng.random(9) < 0.2, np.nan, rng.integers(0, 2, 9)).astype(float)
    weights = resamples(9, "x", count=20)
    slow = [np.nanmean(np.repeat(hits, row.astype(int))) for row in weights]
    assert weighted_share(hits, weights) == pytest.approx(slow)
    assert np.isnan(weighted_share(np.full(3, np.nan), np.ones((2, 3)))).all()


@pytest.mark.parametrize("decimals", [9, 0], ids=["all differ", "ties"])
def test_weighted_gap_equals_repeating_images(rng: np.random.Generator, decimals: int) -> None:
    correct, scores = rng.random(30) < 0.6, np.round(rng.normal(size=30), decimals)
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
