"""A mixture of two normal distributions against Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.mixture import mixture, told_apart


def test_a_mixture_of_known_components_is_bayes() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(5, 1, 300), rng.normal(0, 1, 700)])
    found = mixture(scores, (5.0, 1.0), (0.0, 1.0))
    assert found.mean() == pytest.approx(0.3, abs=0.01)
    middle = mixture(np.array([2.5]), (5.0, 1.0), (0.0, 1.0))
    assert middle[0] == pytest.approx(0.5, abs=0.01)
    assert mixture(np.zeros(0), (1.0, 1.0), (0.0, 1.0)).shape == (0,)


def test_every_class_has_a_share_of_its_own() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([3, 7], 400)
    shown = rng.random(800) < np.where(labels == 3, 0.95, 0.03)
    scores = np.where(shown, rng.normal(4, 1, 800), rng.normal(0, 1, 800))
    found = told_apart(scores, labels, rng.normal(4, 1, 50), rng.normal(0, 1, 50))
    assert found[labels == 3].mean() == pytest.approx(shown[labels == 3].mean(), abs=0.02)
    assert found[labels == 7].mean() == pytest.approx(shown[labels == 7].mean(), abs=0.02)


def test_no_image_of_a_kind_leaves_the_other_alone() -> None:
    scores = np.random.default_rng(2).normal(5, 1, 200)
    assert mixture(scores, (5.0, 1.0), (0.0, 1.0)).min() > 0.5
