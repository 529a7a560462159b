"""Gaps, intervals and separations against replicas and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from core.statistics import accuracy_gaps, auroc, log_softmax, side_size
from tests import reference


@pytest.mark.parametrize(
    ("n", "k"),
    [(0, 0), (1, 0), (10, 5), (49, 24), (60, 25), (120, 30), (400, 100), (5000, 100)],
    ids=["none", "one", "few", "odd", "published 25", "a quarter", "hundred", "capped"],
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


def test_auroc_equals_scikit_learn(rng: np.random.Generator) -> None:
    values, positive = rng.integers(0, 5, 50).astype(float), rng.random(50) < 0.3
    assert auroc(values, positive) == pytest.approx(roc_auc_score(positive, values))
    assert np.isnan(auroc(values, np.zeros(50, bool)))


def test_log_softmax_of_large_logits() -> None:
    found = log_softmax(np.array([[1000.0, 1000.0], [0.0, -1000.0]]))
    assert found[0] == pytest.approx(np.log([0.5, 0.5]))
    assert found[1] == pytest.approx([0, -1000])
