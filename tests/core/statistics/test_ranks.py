from __future__ import annotations

import numpy as np
import pytest

from core.statistics.intervals import auroc
from core.statistics.ranks import aurocs


def test_it_is_the_auroc_of_every_pair(rng: np.random.Generator) -> None:
    values = rng.integers(0, 6, (40, 3)).astype(float)  # with ties
    inside = rng.random((40, 5)) < 0.4
    slow = [[auroc(column, group) for group in inside.T] for column in values.T]
    np.testing.assert_allclose(aurocs(values, inside), slow, rtol=1e-12)


def test_an_empty_side_has_none() -> None:
    found = aurocs(np.arange(4.0)[:, None], np.array([[1, 0], [1, 0], [1, 0], [1, 0]], bool))
    assert np.isnan(found).all()


def test_a_perfect_order_is_one_and_its_reverse_zero() -> None:
    values = np.column_stack([np.arange(6.0), -np.arange(6.0)])
    inside = (np.arange(6) >= 4)[:, None]
    assert aurocs(values, inside)[:, 0] == pytest.approx([1, 0])
