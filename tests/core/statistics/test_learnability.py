"""Agreement scores: what is told at once, from more images, and never."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.learnability import LEFT, SIZES, agreement_scores, fitted_head, kappa


def test_kappa_is_what_scikit_learn_says(rng: np.random.Generator) -> None:
    from sklearn.metrics import cohen_kappa_score

    for share in (0.1, 0.5, 0.9):
        first, second = rng.random(200) < share, rng.random(200) < 0.4
        assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))
    same = np.ones(5, bool)
    assert kappa(same, same) == 0.0


def test_a_head_is_the_same_at_any_scale_and_place(rng: np.random.Generator) -> None:
    x, labels = rng.normal(size=(40, 5)), np.array(["a", "b"])[np.arange(40) % 2]
    asked = rng.normal(size=(20, 5))
    plain = fitted_head(x, labels)(asked)
    assert set(plain) <= {"a", "b"}
    assert (fitted_head(70 * x + 3, labels)(70 * asked + 3) == plain).mean() > 0.9
    assert set(fitted_head(x, np.full(40, "a"))(asked)) == {"a"}


def test_the_easier_a_labelling_the_fewer_images_it_takes(rng: np.random.Generator) -> None:
    shows = np.arange(240) % 2 == 0
    noise = rng.normal(size=(240, 30))
    easy, hard = noise.copy(), noise.copy()
    easy[:, 0] += np.where(shows, 6.0, -6.0)
    hard[:, 0] += np.where(shows, 1.2, -1.2)
    found = {
        name: agreement_scores(x, shows).mean(axis=1)
        for name, x in {"easy": easy, "hard": hard, "nothing": noise}.items()
    }
    assert (found["easy"] > found["hard"]).all()
    assert found["easy"][1] > 0.9
    assert found["hard"][0] < 0.4 < found["hard"][-1]
    assert np.abs(found["nothing"]).max() < 0.12
    assert agreement_scores(hard, shows).tolist() == agreement_scores(hard, shows).tolist()


def test_sizes_that_leave_too_few_images_say_nothing(rng: np.random.Generator) -> None:
    shows = np.repeat([True, False], [LEFT + 8, 60])
    found = agreement_scores(rng.normal(size=(len(shows), 4)), shows, repeats=2)
    assert np.isnan(found).all(axis=1).tolist() == [size > 8 for size in SIZES]
