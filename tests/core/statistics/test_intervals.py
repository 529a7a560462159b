"""Gaps, intervals and separations against replicas and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from core.statistics.intervals import (
    accuracy_gaps,
    auroc,
    clopper_pearson,
    combined,
    critical,
    interval_p,
    log_softmax,
    mean_share,
    paired_change,
    side_size,
    wilson,
)
from tests import reference


@pytest.mark.parametrize(
    ("n", "k"),
    [(0, 0), (1, 0), (10, 5), (19, 9), (25, 10), (49, 16), (120, 40), (300, 100), (5000, 100)],
    ids=["none", "one", "few", "odd", "at least", "of 49", "a third", "hundred", "capped"],
)
def test_side_size(n: int, k: int) -> None:
    assert side_size(n) == k
    assert 2 * side_size(n) <= n


def test_gap_equals_replica(rng: np.random.Generator) -> None:
    correct, values = rng.random(80) < 0.6, rng.normal(size=(80, 3))
    found = accuracy_gaps(correct, values, k=20, tests=3)
    z = norm.isf(0.025 / 3)
    for m in range(3):
        order = np.argsort(-values[:, m])
        high, low = correct[order[:20]].sum(), correct[order[-20:]].sum()
        low_end, high_end = reference.newcombe(int(high), 20, int(low), 20, z)
        assert found.gap[m] == pytest.approx(100 * (high - low) / 20)
        assert found.gap_low[m] == pytest.approx(100 * low_end)
        assert found.gap_high[m] == pytest.approx(100 * high_end)


def test_newcombe_published_example() -> None:
    # Newcombe 1998, table II, case (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339
    assert reference.newcombe(56, 70, 48, 80, norm.isf(0.025)) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )


def test_gap_direction_and_reversal(rng: np.random.Generator) -> None:
    values = rng.normal(size=(60, 1))
    correct = values[:, 0] > 0
    up, down = accuracy_gaps(correct, values), accuracy_gaps(correct, -values)
    assert up.gap[0] > 90
    assert down.gap[0] == -up.gap[0]
    assert down.gap_low[0] == pytest.approx(-up.gap_high[0])


def test_perfect_model_has_no_gap(rng: np.random.Generator) -> None:
    found = accuracy_gaps(np.ones(60, bool), rng.normal(size=(60, 4)))
    assert np.all(found.gap == 0)
    assert np.all((found.gap_low < 0) & (found.gap_high > 0))


def test_more_tests_widen_the_interval(rng: np.random.Generator) -> None:
    correct, values = rng.random(100) < 0.5, rng.normal(size=(100, 1))
    one, many = accuracy_gaps(correct, values), accuracy_gaps(correct, values, tests=64)
    assert many.gap_low[0] < one.gap_low[0] < one.gap_high[0] < many.gap_high[0]


def test_too_few_images_give_nan() -> None:
    found = accuracy_gaps(np.ones(1, bool), np.zeros((1, 2)))
    assert found.k == 0
    assert np.isnan(found.gap).all()


def test_overlapping_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="k = 6 images per side need 12 images, there are 10"):
        accuracy_gaps(np.ones(10, bool), np.zeros((10, 1)), k=6)


def test_auroc_counts_pairs_and_ties_half(rng: np.random.Generator) -> None:
    values, positive = rng.integers(0, 5, 50).astype(float), rng.random(50) < 0.3
    pairs = [(a > b) + (a == b) / 2 for a in values[positive] for b in values[~positive]]
    assert auroc(values, positive) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert np.isnan(auroc(np.full(50, np.nan), positive))
    assert np.isnan(auroc(values, np.zeros(50, bool)))


def test_log_softmax_of_large_logits() -> None:
    found = log_softmax(np.array([[1000.0, 1000.0], [0.0, -1000.0]]))
    assert found[0] == pytest.approx(np.log([0.5, 0.5]))
    assert found[1] == pytest.approx([0, -1000])


def newcombe_paired(both: int, lost: int, won: int, neither: int, z: float) -> tuple[float, float]:
    """Method 10 of Newcombe 1998 (II) for the second share minus the first, cell by cell."""
    n = both + lost + won + neither

    def wilson_of(hits: int) -> tuple[float, float]:
        p = hits / n
        root = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        middle = p + z * z / (2 * n)
        return (middle - root) / (1 + z * z / n), (middle + root) / (1 + z * z / n)

    p1, p2 = (both + won) / n, (both + lost) / n
    (l1, u1), (l2, u2) = wilson_of(both + won), wilson_of(both + lost)
    product = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    top = both * neither - won * lost
    top = max(top - n / 2, 0) if top > 0 else top
    phi = top / np.sqrt(product) if product else 0
    down = np.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    up = np.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    return p1 - p2 - down, p1 - p2 + up


@pytest.mark.parametrize(
    "cells", [(40, 3, 9, 8), (0, 5, 0, 7), (20, 0, 0, 0), (1, 1, 1, 1), (3, 30, 2, 5)]
)
def test_a_paired_change_equals_its_formula(cells: tuple[int, ...]) -> None:
    before = np.repeat([True, True, False, False], cells)
    after = np.repeat([True, False, True, False], cells)
    change, low, high = paired_change(before, after)
    assert change == pytest.approx((cells[2] - cells[1]) / sum(cells))
    assert (low, high) == pytest.approx(newcombe_paired(*cells, critical()))
    assert low <= change <= high
    back = paired_change(after, before)
    assert back == pytest.approx((-change, -high, -low))


def test_nothing_has_no_change() -> None:
    assert np.isnan(paired_change(np.zeros(0, bool), np.zeros(0, bool))).all()


def test_a_combined_difference_is_newcombe_s() -> None:
    correct = np.array([True] * 14 + [False] * 6 + [True] * 7 + [False] * 13)
    values = np.repeat([1.0, 0.0], 20)[:, None]
    gaps = accuracy_gaps(correct, values, k=20)
    sides = [
        (hits / 20, *(float(v) for v in wilson(np.array(hits), 20, z=critical())))
        for hits in (14, 7)
    ]
    found = combined(*sides, signs=(1, -1))
    assert [100 * v for v in found] == pytest.approx(
        [gaps.gap[0], gaps.gap_low[0], gaps.gap_high[0]]
    )


@pytest.mark.parametrize(("k", "n"), [(0, 20), (20, 20), (7, 20), (1, 3)])
def test_clopper_pearson_leaves_its_tails(k: int, n: int) -> None:
    low, high = clopper_pearson(k, n)
    assert float(low) == 0 if k == 0 else binom.sf(k - 1, n, low) == pytest.approx(0.025)
    assert float(high) == 1 if k == n else binom.cdf(k, n, high) == pytest.approx(0.025)
    if 0 < k < n:
        assert float(low) == pytest.approx(beta.ppf(0.025, k, n - k + 1))


def test_a_corrected_exact_interval_leaves_its_tails() -> None:
    low, high = clopper_pearson(7, 20, 5)
    assert binom.sf(6, 20, low) == pytest.approx(0.005)
    assert binom.cdf(7, 20, high) == pytest.approx(0.005)


@pytest.mark.parametrize("value", [0.2, -0.2])
def test_a_p_value_agrees_with_its_interval(value: float) -> None:
    wide, edge, narrow = (interval_p(value, value - half, value + half) for half in (0.3, 0.2, 0.1))
    assert wide > edge > narrow
    assert (edge, narrow) == pytest.approx((0.05, 2 * norm.sf(2 * norm.isf(0.025))))
    assert interval_p(0.0, -0.1, 0.1) == 1


def test_a_mean_of_shares_covers_as_often_as_it_says(rng: np.random.Generator) -> None:
    """Balanced accuracy of 0.9 and 0.6 with groups of 15 and 400, 4,000 samples."""
    truth, n = (0.9 + 0.6) / 2, (15, 400)
    drawn = zip(rng.binomial(n[0], 0.9, 4000), rng.binomial(n[1], 0.6, 4000), strict=True)
    found = np.array([mean_share(hits, n) for hits in drawn])
    assert found[:, 0].mean() == pytest.approx(truth, abs=0.005)
    assert ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean() == pytest.approx(0.95, abs=0.02)
    assert mean_share([3, 8], [4, 10])[0] == pytest.approx((0.75 + 0.8) / 2)
