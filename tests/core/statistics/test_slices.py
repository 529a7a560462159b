"""The group of a class that errs most: found where it is, and not called where nothing is."""

from __future__ import annotations

import numpy as np

from core.statistics.slices import worst_combination, worst_slice


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


def test_two_statements_at_once_are_found(rng: np.random.Generator) -> None:
    holds = rng.random((400, 12)) < 0.5
    both = holds[:, 3] & holds[:, 7]
    wrong = rng.random(400) < np.where(both, 0.7, 0.05)
    found = worst_combination(holds, wrong)
    assert found is not None
    group, columns = found
    assert columns == (3, 7)
    assert np.array_equal(group.inside, both)
    assert group.rate == wrong[both & group.judged].mean()
    assert 0.3 < group.low < group.rate - group.rest < group.high
    alone = worst_combination(holds[:, [3, 3]], rng.random(400) < np.where(holds[:, 3], 0.7, 0.05))
    assert alone is not None
    assert alone[1] == (0,)  # a second one that adds nothing is not said


def test_statements_that_chance_chose_are_not_called(rng: np.random.Generator) -> None:
    called = 0
    for seed in range(200):
        wrong = rng.random(160) < 0.3
        found = worst_combination(rng.random((160, 20)) < 0.4, wrong, seed=seed)
        called += found is not None and found[0].low > 0
    assert called <= 10  # 2.5 % on this side, of 200
    always = np.ones((160, 3), bool)
    assert worst_combination(always, wrong) is None  # the rest has no image
    assert worst_combination(always[:, :0], wrong) is None
    assert worst_combination(always[:30], wrong[:30]) is None


def test_few_images_or_errors_say_nothing(rng: np.random.Generator) -> None:
    features = rng.normal(size=(60, 8))
    assert worst_slice(features, np.zeros(60, bool)) is None
    assert worst_slice(features[:30], rng.random(30) < 0.5) is None


def test_one_statement_alone_where_pairs_are_none(rng: np.random.Generator) -> None:
    holds = rng.random((400, 12)) < 0.5
    wrong = rng.random(400) < np.where(holds[:, 3] & holds[:, 7], 0.7, 0.05)
    found = worst_combination(holds, wrong, pairs=False)
    assert found is not None
    assert found[1] in ((3,), (7,))
