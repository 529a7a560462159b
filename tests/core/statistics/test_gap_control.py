"""Random directions beside a candidate: levels, identities, and what follows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from core.statistics.gap_control import GapControl, gap_control, rank_scores
from core.statistics.intervals import accuracy_gaps
from core.types import BoolArray, FloatArray

N, R = 60, 20


def a_class(seed: int) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Right predictions, logit and components of a class that is recognised by its logit alone."""
    rng = np.random.default_rng(seed)
    components = rng.normal(size=(N, R)) * np.exp(-np.arange(R) / 5)
    logit = components.sum(axis=1)
    return logit + rng.normal(size=N) > -1, logit, components


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_rank_scores_are_those_of_mann_and_whitney(digits: int) -> None:
    rng = np.random.default_rng(digits)
    values, correct = rng.normal(size=(40, 3)).round(digits), rng.random(40) < 0.7
    for column, score in enumerate(rank_scores(correct, values)):
        sides = (values[correct, column], values[~correct, column])
        slow = mannwhitneyu(*sides, method="asymptotic", use_continuity=False)
        assert 2 * norm.sf(abs(score)) == pytest.approx(slow.pvalue, rel=1e-9)
        assert np.sign(score) == np.sign(slow.statistic - len(sides[0]) * len(sides[1]) / 2)


def test_rank_scores_do_not_depend_on_the_order_of_images() -> None:
    correct, logit, components = a_class(0)
    ties = np.column_stack([components.round(0), np.ones(N)])
    shuffled = np.random.default_rng(1).permutation(N)
    found = rank_scores(correct, ties)
    np.testing.assert_allclose(rank_scores(correct[shuffled], ties[shuffled]), found, atol=1e-12)
    assert found[-1] == 0
    assert not rank_scores(np.ones(N, bool), components).any()


def test_random_directions_are_at_their_own_level() -> None:
    found: list[GapControl] = []
    for seed in range(40):
        correct, logit, components = a_class(seed)
        rng = np.random.default_rng([seed, 1])
        tried = components @ rng.normal(size=(R, 20)) + np.outer(logit, rng.uniform(0, 2, 20))
        found.append(gap_control(correct, tried, logit, components, seed=seed))
    p = np.concatenate([each.p for each in found])
    assert 0.005 < np.mean(p < 0.05) < 0.08


def test_the_control_of_a_share_is_the_gap_of_components_with_it() -> None:
    gaps, controls = [], []
    for seed in range(60):
        correct, logit, components = a_class(seed)
        controls.append(gap_control(correct, components, logit, components).gap)
        gaps.append(accuracy_gaps(correct, components).gap)
    mean, control = np.mean(gaps, axis=0), np.mean(controls, axis=0)
    assert control[0] > 20
    assert control[-1] < 6
    np.testing.assert_allclose(control, mean, atol=6)


def test_a_planted_cue_is_above_its_control() -> None:
    correct, logit, components = a_class(3)
    cue = np.random.default_rng(0).normal(size=N) + 3 * correct
    components = np.column_stack([components, (cue - cue.mean()) / 6])
    found = gap_control(correct, components, logit, components)
    (gap,) = accuracy_gaps(correct, components[:, -1:]).gap
    assert found.p[-1] < 1e-3
    assert gap > found.gap[-1] + 30


def test_the_logit_is_its_own_control() -> None:
    correct, logit, components = a_class(4)
    found = gap_control(correct, np.column_stack([logit, -3 * logit]), logit, components)
    gap = accuracy_gaps(correct, logit[:, None]).gap[0]
    np.testing.assert_allclose(found.gap, [gap, -gap], atol=1e-9)
    np.testing.assert_allclose(found.p, 1)


def test_scale_and_shift_change_nothing() -> None:
    correct, logit, components = a_class(5)
    found = gap_control(correct, components, logit, components)
    again = gap_control(correct, 7 * components - 2, 0.1 * logit + 3, components)
    np.testing.assert_allclose(again.gap, found.gap, atol=1e-9)
    np.testing.assert_allclose(again.p, found.p, atol=1e-9)


def test_what_cannot_be_said() -> None:
    correct, logit, components = a_class(6)
    every = gap_control(np.ones(N, bool), components, logit, components)
    assert not every.gap.any()
    assert np.isnan(every.p).all()
    for alone in (gap_control(correct, components, logit, logit[:, None]),
                  gap_control(correct, components, np.ones(N), components),
                  gap_control(correct[:0], components[:0], logit[:0], components[:0])):  # fmt: skip
        assert np.isnan(alone.gap).all()
        assert np.isnan(alone.p).all()
