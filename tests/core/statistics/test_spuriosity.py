"""Spuriosity, gaps, groups: replicas, invariances, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.spuriosity import groups, ranking, reliability, spuriosity, spurious_gap


def test_equals_replica(rng: np.random.Generator) -> None:
    values, fitting = rng.normal(size=(50, 3)), rng.random(50) < 0.6
    slow = [
        np.mean(
            [
                (values[i, j] - values[fitting, j].mean()) / values[fitting, j].std()
                for j in range(3)
            ]
        )
        for i in range(50)
    ]
    assert spuriosity(values, fitting) == pytest.approx(slow, abs=1e-12)


def test_invariances(rng: np.random.Generator) -> None:
    values, fitting = rng.normal(size=(40, 2)), np.ones(40, bool)
    found = spuriosity(values, fitting)
    assert spuriosity(values * [3.0, 0.1] + [5, -2], fitting) == pytest.approx(found)
    assert found.mean() == pytest.approx(0, abs=1e-12)
    assert spuriosity(values[:, :1], fitting).std() == pytest.approx(1)
    twice = np.concatenate([values, values], axis=1)
    assert ranking(spuriosity(twice, fitting)).tolist() == ranking(found).tolist()


def test_constant_candidates_are_skipped(rng: np.random.Generator) -> None:
    values, fitting = rng.normal(size=(30, 1)), np.ones(30, bool)
    with_constant = np.concatenate([values, np.full((30, 1), 0.3)], axis=1)
    assert spuriosity(with_constant, fitting) == pytest.approx(spuriosity(values, fitting))
    assert np.isnan(spuriosity(np.full((30, 2), 0.1), fitting)).all()
    assert np.isnan(spuriosity(np.zeros((30, 0)), fitting)).all()


def test_ranking_descends_and_breaks_ties_by_position() -> None:
    assert ranking(np.array([1.0, 3.0, 1.0, 2.0])).tolist() == [1, 3, 0, 2]


def test_gap_and_its_reading(rng: np.random.Generator) -> None:
    scores = rng.normal(size=80)
    helps = spurious_gap(scores > 0, scores)
    hurts = spurious_gap(scores < 0, scores)
    assert (helps.reading, hurts.reading) == ("clarifying", "confusing")
    assert hurts.gap == -helps.gap
    assert (helps.k, helps.n) == (26, 80)
    assert spurious_gap(np.ones(80, bool), scores).reading == "not certain"


def test_k_is_capped_at_half(rng: np.random.Generator) -> None:
    assert spurious_gap(np.ones(30, bool), rng.normal(size=30), k=100).k == 15
    assert np.isnan(spurious_gap(np.ones(1, bool), np.zeros(1)).gap)


def test_groups_worst_first_with_missing_values() -> None:
    correct = np.array([1, 1, 0, 0, 1], bool)
    found = groups(correct, np.array(["a", "a", "b", None, "b"], dtype=object))
    assert [(g.value, g.accuracy, g.n) for g in found] == [
        ("missing", 0.0, 1),
        ("b", 0.5, 2),
        ("a", 1.0, 2),
    ]
    assert all(0 <= g.low <= g.accuracy <= g.high <= 1 for g in found)


def test_reliability(rng: np.random.Generator) -> None:
    own = np.arange(100) < 20
    assert reliability(own + 0.1 * rng.random(100), own) == 1
    assert reliability(-own.astype(float), own) == 0
    assert np.isnan(reliability(np.ones(5), np.zeros(5, bool)))
