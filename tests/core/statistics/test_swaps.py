"""Swaps of pairs against a slow replica, their level, and their bound."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from core.statistics.swaps import MOST, swap_least, swap_p


@pytest.mark.parametrize("d", [1, 4, 9])
def test_every_way_to_swap_is_counted(d: int) -> None:
    found = np.random.default_rng(d).normal(0.5, 1, d)
    as_far = [np.dot(signs, found) >= found.sum() - 1e-12 for signs in product((1, -1), repeat=d)]
    assert swap_p(found) == np.mean(as_far)


def test_pairs_that_all_go_one_way() -> None:
    assert swap_p(np.full(16, 0.01)) == 2.0**-16
    assert swap_p(-np.full(4, 0.3)) == 1
    assert swap_p(np.zeros(8)) == 1
    assert swap_p(np.append(np.full(MOST, 1.0), -99)) == swap_p(np.ones(MOST))


def test_skew_differences_are_at_their_level() -> None:
    rng = np.random.default_rng(0)
    signs = np.where(rng.random((600, 10)) < 0.5, 1, -1)
    p = np.array([swap_p(row) for row in signs * rng.exponential(size=(600, 10)) ** 3])
    assert np.mean(p <= 0.05) < 0.07
    assert np.mean(p <= 0.01) < 0.02


@pytest.mark.parametrize("error", [0.05, 1e-3])
def test_the_bound_is_above_zero_just_where_zero_is_refuted(error: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        found = rng.normal(rng.uniform(-0.2, 0.6), 0.3, 12).clip(-1, 1)
        low = swap_least(found, error)
        assert low <= found.mean()
        assert (low > 0) == (swap_p(found) <= error)


def test_too_few_pairs_bound_nothing() -> None:
    assert swap_least(np.ones(4), 0.01) == -1
