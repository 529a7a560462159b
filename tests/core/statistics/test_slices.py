"""The group of a class that errs most: found where it is, and not called where nothing is."""

from __future__ import annotations

import numpy as np

from core.statistics.slices import worst_slice


def test_a_planted_group_is_found_and_judged_elsewhere(rng: np.random.Generator) -> None:
    group = rng.random(400) < 0.25
    features = rng.normal(size=(400, 30)) + 4 * group[:, None] * np.eye(30)[0]
    wrong = rng.random(400) < np.where(group, 0.7, 0.05)
    found = worst_slice(features, wrong)
    assert found is not None
    assert (found.inside == group).mean() > 0.9
    mine = found.inside & found.judged
    assert found.rate == wrong[mine].mean()
    assert found.rest == wrong[~found.inside & found.judged].mean()
    assert found.low > 0.3
    assert found.low < found.rate - found.rest < found.high
    corrected = worst_slice(features, wrong, tests=1000)
    assert corrected is not None
    assert corrected.low < found.low


def test_errors_by_lot_are_no_group(rng: np.random.Generator) -> None:
    called = 0
    for seed in range(100):
        wrong = rng.random(120) < 0.3
        found = worst_slice(rng.normal(size=(120, 20)), wrong, seed=seed)
        called += found is not None and found.low > 0
    assert called <= 6  # 2.5 % on this side, of 100


def test_few_images_or_errors_say_nothing(rng: np.random.Generator) -> None:
    features = rng.normal(size=(60, 8))
    assert worst_slice(features, np.zeros(60, bool)) is None
    assert worst_slice(features[:30], rng.random(30) < 0.5) is None
