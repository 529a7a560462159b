"""How figures are made of images: slow replicas, and identities with what has a formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from core.statistics.bootstrap import RESAMPLES, RESAMPLES_OF_ONE, bootstrapped, draws
from core.statistics.estimates import (
    Area,
    Estimate,
    Gap,
    Mean,
    Precision,
    Proportion,
    RelativeSensitivity,
    Sides,
    StudentMean,
)
from core.statistics.intervals import combined, newcombe, paired_change, share
from core.statistics.separation import relative_core_sensitivity, spurious_score
from core.types import FloatArray


def percentages(samples: list[float]) -> list[float]:
    return np.nanquantile(samples, [0.025, 0.975]).tolist()


def hits(rng: np.random.Generator, n: int) -> FloatArray:
    return (rng.random(n) < 0.6).astype(float)


def two(rng: np.random.Generator, n: int = 40) -> FloatArray:
    return np.column_stack([hits(rng, n), rng.random(n)])


def sided(rng: np.random.Generator) -> FloatArray:
    return np.column_stack([hits(rng, 40), np.repeat([1.0, 0.0, np.nan], [15, 20, 5])])


def grouped(rng: np.random.Generator) -> FloatArray:
    return np.column_stack([rng.random(40), np.arange(40) < 18])


def test_a_bootstrap_counts_images_again(rng: np.random.Generator) -> None:
    values = rng.random(12)
    counts = draws(np.random.default_rng(0), 12, RESAMPLES_OF_ONE)
    means = [float(np.repeat(values, row.astype(int)).mean()) for row in counts]
    found = bootstrapped(lambda weights: weights @ values / 12, (12,))
    assert found == pytest.approx(percentages(means))
    one_group = bootstrapped(lambda weights: weights[:, :4].sum(axis=1), (4, 8))
    assert one_group == (4, 4)
    nothing = bootstrapped(lambda weights: np.full(len(weights), np.nan), (3,))
    assert np.isnan(nothing).all()


def test_a_mean_and_its_change(rng: np.random.Generator) -> None:
    before, after = rng.random(30), rng.random(30)
    before[3] = np.nan
    kept = ~np.isnan(before)
    value, low, high = Mean().of(before)
    assert value == pytest.approx(np.nanmean(before))
    assert low < value < high
    counts = draws(np.random.default_rng(0), 29, RESAMPLES)
    moved = counts @ (after - before)[kept] / 29
    change = Mean().change(before, after)
    assert change[0] == pytest.approx((after - before)[kept].mean())
    assert change[1:] == pytest.approx(percentages(moved.tolist()))
    assert Mean().of(np.full(3, np.nan)) == pytest.approx((np.nan,) * 3, nan_ok=True)
    assert Mean().change(before[3:4], after[3:4]) == pytest.approx((np.nan,) * 3, nan_ok=True)


def test_a_mean_of_few_has_students_interval(rng: np.random.Generator) -> None:
    values = np.append(rng.normal(0.4, 0.2, 9), np.nan)
    found = StudentMean().of(values)
    by_scipy = stats.ttest_1samp(values[:9], 0).confidence_interval(0.95)
    assert found == pytest.approx((values[:9].mean(), by_scipy.low, by_scipy.high))
    assert StudentMean((0.35, 0.45)).of(values)[1:] == (0.35, 0.45)
    paired = stats.ttest_rel(values[:9] ** 2, values[:9]).confidence_interval(0.95)
    change = StudentMean().change(values, values**2)
    assert change[1:] == pytest.approx((paired.low, paired.high))
    assert np.isnan(StudentMean().of(values[8:])[1:]).all()
    assert np.isnan(StudentMean().of(values[9:])).all()


def test_images_that_all_agree_do_not_prove_that_all_do() -> None:
    """Wilson's bound of none of n is that of the others, which may be at either end."""
    others = 3.841459 / (2 + 3.841459)
    found = StudentMean((0.0, 1.0)).of(np.zeros(2))
    assert found == pytest.approx((0.0, 0.0, others), abs=1e-6)
    value, low, high = StudentMean((0.0, 1.0)).of(np.full(2, 0.25))
    assert (value, low, high) == pytest.approx(
        (0.25, 0.25 * (1 - others), 0.25 + 0.75 * others), abs=1e-6
    )
    same = np.linspace(0, 1, 200)
    _, low, high = StudentMean((0.0, 1.0)).change(same, same)
    assert -0.02 < low < 0 < high < 0.02
    rng = np.random.default_rng(0)  # most values are 0: how often the interval holds the mean
    draws = (rng.random((4000, 5)) < 0.1) * 1.0
    held = [low <= 0.1 <= high for _, low, high in map(StudentMean((0.0, 1.0)).of, draws)]
    assert np.mean(held) > 0.95


def test_a_proportion_has_formulas(rng: np.random.Generator) -> None:
    before, after = hits(rng, 25), hits(rng, 25)
    before[4] = np.nan
    kept = ~np.isnan(before)
    n, good = int(kept.sum()), float(np.nansum(before))
    assert Proportion().of(before, 3) == pytest.approx((good / n, *share(good, n, 3)))
    wanted = paired_change(before[kept] > 0, after[kept] > 0)
    assert Proportion().change(before, after) == pytest.approx(wanted)


def test_a_gap_is_that_of_its_two_sides(rng: np.random.Generator) -> None:
    before = two(rng, 120)
    after = before.copy()
    after[:, 0] = hits(rng, 120)
    order = np.argsort(-before[:, 1])
    high, low = order[:40], order[-40:]
    value, *ends = Gap().of(before)
    assert value == pytest.approx(100 * (before[high, 0].mean() - before[low, 0].mean()))
    z = 1.959963984540054
    counts = (np.array(before[side, 0].sum()) for side in (high, low))
    assert ends == pytest.approx([100 * float(bound) for bound in newcombe(*counts, 40, z=z)])
    changes = (paired_change(before[s, 0] > 0, after[s, 0] > 0) for s in (high, low))
    wanted = [100 * v for v in combined(*changes, signs=(1, -1))]
    assert Gap().change(before, after) == pytest.approx(wanted)
    sides = np.full(120, np.nan)
    sides[high], sides[low] = 1, 0
    same = [np.column_stack([values[:, 0], sides]) for values in (before, after)]
    assert Sides().of(same[0]) == pytest.approx((value, *ends))
    assert Sides().change(*same) == pytest.approx(wanted)
    assert np.isnan(Sides().of(before[:0].reshape(0, 2))[0])


def test_a_relative_sensitivity(rng: np.random.Generator) -> None:
    values = np.column_stack([hits(rng, 30), hits(rng, 30)])
    counts = draws(np.random.default_rng(0), 30, RESAMPLES_OF_ONE)
    shares = np.clip(counts @ values / 30, 0, 1)
    found = RelativeSensitivity().of(values)
    assert found[0] == pytest.approx(relative_core_sensitivity(*values.mean(axis=0)))
    wanted = percentages([relative_core_sensitivity(a, b) for a, b in shares])
    assert found[1:] == pytest.approx(wanted)


def test_a_separation_is_that_of_the_spurious_score(rng: np.random.Generator) -> None:
    values = grouped(rng)
    score = spurious_score(values[:18, 0], values[18:, 0])
    wanted = (score.average_precision, score.ap_low, score.ap_high)
    assert Precision().of(values) == pytest.approx(wanted)
    assert Area().of(values) == pytest.approx((score.auroc, score.auroc_low, score.auroc_high))
    assert Precision().groups(values) == (18, 22)


@pytest.mark.parametrize(
    ("estimate", "draw"),
    [
        *((Mean(), lambda rng: rng.random(40)), (Proportion(), lambda rng: hits(rng, 40))),
        *((Gap(), two), (Sides(), sided), (Precision(), grouped), (Area(), grouped)),
        (RelativeSensitivity(), lambda rng: np.column_stack([hits(rng, 40), hits(rng, 40)])),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Estimate) else "",
)
def test_a_figure_is_that_of_equal_weights_and_no_change_is_zero(
    estimate: Estimate,
    draw: Callable[[np.random.Generator], np.ndarray],
    rng: np.random.Generator,
) -> None:
    values = draw(rng)
    known = values[estimate.known(values)]
    plain = estimate.of(values)[0]
    assert estimate.value(known) == pytest.approx(plain)
    assert estimate.under(known, np.full((2, len(known)), 1.0)) == pytest.approx([plain] * 2)
    change = estimate.change(values, values)
    assert change[0] == pytest.approx(0, abs=1e-12)
    assert change[1] <= 0 <= change[2]
