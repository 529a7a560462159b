"""The lowest and the largest of several: identities, and that choosing does not mislead."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.extremes import largest_gap, lowest_share
from core.statistics.intervals import clopper_pearson, critical, newcombe


def test_one_is_no_choice() -> None:
    n = np.array([20])
    assert lowest_share(np.array([7]), n) == pytest.approx(tuple(clopper_pearson(7, 20)))
    bounds = newcombe(np.array(15), np.array(9), 20, z=critical())
    assert largest_gap(np.array([15]), np.array([9]), n) == pytest.approx(tuple(map(float, bounds)))


def test_ends_are_those_of_all() -> None:
    hits, n = np.array([2, 9, 30]), np.array([5, 20, 40])
    low, high = lowest_share(hits, n)
    assert low == min(clopper_pearson(k, m)[0] for k, m in zip(hits, n, strict=True))
    assert high == min(clopper_pearson(k, m, 3)[1] for k, m in zip(hits, n, strict=True))
    ends = largest_gap(n - hits, hits, n)
    pairs = [
        [float(b) for b in newcombe(np.array(m - k), np.array(k), m, z=z)]
        for z in (critical(3), critical())
        for k, m in zip(hits, n, strict=True)
    ]
    assert ends == pytest.approx((max(p[0] for p in pairs[:3]), max(p[1] for p in pairs[3:])))


def test_groups_that_are_all_alike_have_no_bad_one(rng: np.random.Generator) -> None:
    n, k = np.full(8, 25), np.full(6, 40)
    held = [lowest_share(rng.binomial(n, 0.97), n) for _ in range(200)]
    assert np.mean([low <= 0.97 <= high for low, high in held]) >= 0.93
    gaps = [largest_gap(rng.binomial(k, 0.8), rng.binomial(k, 0.8), k) for _ in range(200)]
    assert np.mean([low <= 0 <= high for low, high in gaps]) >= 0.93
