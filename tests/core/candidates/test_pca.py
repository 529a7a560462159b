"""Neural PCA: replicas, identities, planted directions, degenerate input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.candidates import pca as module
from core.candidates import search
from core.candidates.candidate import (
    BLOCK,
    LinearFunctional,
    factors,
    functional,
    linear_alpha,
)
from core.candidates.pca import class_pca, match_directions
from core.candidates.search import (
    ClassFeatures,
    find_candidates,
    page_order,
    top_neurons,
    variance_share,
)
from tests import reference


def make(rng: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    return np.abs(rng.normal(size=(n, d))).astype(np.float32), rng.normal(size=d)


@pytest.mark.parametrize(("n", "d"), [(20, 40), (60, 25), (41, 40)], ids=["gram", "cov", "even"])
def test_equals_full_eigh(rng: np.random.Generator, n: int, d: int) -> None:
    features, weight = make(rng, n, d)
    found = class_pca(features, weight, 12)
    mean, values, vectors = reference.class_pca(features, weight)
    assert found.eigenvalues == pytest.approx(values[:12], rel=1e-10)
    ours = linear_alpha(features, found.directions, found.offsets)
    for level in range(12):
        theirs = reference.alpha(features, weight, mean, vectors[:, level])
        assert ours[:, level] == pytest.approx(theirs, rel=1e-8, abs=1e-8)


def test_eigenvectors_satisfy_their_equation(rng: np.random.Generator) -> None:
    features, weight = make(rng, 50, 30)
    found = class_pca(features, weight, 10)
    cov = np.cov((features.astype(np.float64) * weight).T)
    assert cov @ found.basis == pytest.approx(found.basis * found.eigenvalues, abs=1e-10)
    assert found.basis.T @ found.basis == pytest.approx(np.eye(10), abs=1e-10)
    assert np.all(np.diff(found.eigenvalues) <= 0)
    assert found.total_variance == pytest.approx(np.trace(cov))
    assert found.bound < 1e-12


def test_sum_over_components_is_logit_minus_mean(rng: np.random.Generator) -> None:
    features, weight = make(rng, 80, 30)
    found = class_pca(features, weight, 30)
    new = make(rng, 9, 30)[0]
    total = linear_alpha(new, found.directions, found.offsets).sum(axis=1)
    logit_mean = (features.astype(np.float64) @ weight).mean()
    assert total == pytest.approx(new.astype(np.float64) @ weight - logit_mean, abs=1e-9)


def test_variance_of_alpha(rng: np.random.Generator) -> None:
    features, weight = make(rng, 90, 20)
    found = class_pca(features, weight, 20)
    alpha = linear_alpha(features, found.directions, found.offsets)
    logit = features.astype(np.float64) @ weight
    expected = found.basis.sum(axis=0) ** 2 * found.eigenvalues
    assert alpha.var(axis=0, ddof=1) == pytest.approx(expected)
    share = variance_share(alpha, logit)
    assert share == pytest.approx(alpha.var(axis=0) / logit.var())
    assert share.sum() == pytest.approx(1)


def test_shares_of_all_neurons_sum_to_one(rng: np.random.Generator) -> None:
    features, weight = make(rng, 40, 15)
    logit = features.astype(np.float64) @ weight
    assert variance_share(features * weight, logit).sum() == pytest.approx(1)


def test_lanczos_equals_dense(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight = make(rng, 300, 200)
    dense = class_pca(features, weight, 8)
    monkeypatch.setattr(module, "LARGE", 50)
    lanczos = class_pca(features, weight, 8)
    assert lanczos.eigenvalues == pytest.approx(dense.eigenvalues, rel=1e-10)
    assert np.abs(lanczos.directions) == pytest.approx(np.abs(dense.directions), abs=1e-7)
    assert lanczos.bound < 1e-10

    def rough(matrix: np.ndarray, kept: int) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = found(matrix, kept)
        return values, np.linalg.qr(vectors + 1e-3 * rng.normal(size=vectors.shape))[0]

    found = module._lanczos
    monkeypatch.setattr(module, "_lanczos", rough)  # beyond the bound: the exact solver
    again = class_pca(features, weight, 8)
    assert again.bound < 1e-10
    assert again.eigenvalues == pytest.approx(dense.eigenvalues, rel=1e-12)


@pytest.mark.parametrize("n", [0, 1], ids=["no image", "one image"])
def test_too_few_images_have_no_components(rng: np.random.Generator, n: int) -> None:
    features, weight = make(rng, n, 12)
    found = class_pca(features, weight, 5)
    assert found.basis.shape == (12, 0)
    assert linear_alpha(features, found.directions, found.offsets).shape == (n, 0)


def test_constant_features_have_no_components() -> None:
    assert class_pca(np.ones((10, 4)), np.ones(4), 3).basis.shape == (4, 0)


def test_duplicated_images_leave_out_directions_without_variance(rng: np.random.Generator) -> None:
    features, weight = make(rng, 3, 50)
    found = class_pca(np.repeat(features, 10, axis=0), weight, 20)
    assert found.basis.shape[1] == 2


def test_matching_a_model_with_itself(rng: np.random.Generator) -> None:
    features, weight = make(rng, 70, 25)
    found = class_pca(features, weight, 6)
    alpha = linear_alpha(features, found.directions, found.offsets)
    directions, matched = match_directions(alpha, features.astype(np.float64) * weight)
    assert np.abs((directions * found.basis.T).sum(axis=1)) == pytest.approx(1)
    assert matched == pytest.approx(alpha, abs=1e-9)


def test_top_neurons_are_distinct_and_alternate(rng: np.random.Generator) -> None:
    psi = rng.normal(size=(30, 10)) * 0.01
    psi[:, 4] += 5
    psi[:, 7] += np.where(np.arange(30) < 3, 9.0, -1.0)
    chosen = top_neurons(psi, 6)
    assert chosen[:2].tolist() == [4, 7]
    assert len(set(chosen)) == 6
    assert top_neurons(psi[:0], 6).shape == (0,)


def test_candidates_find_a_planted_cue(rng: np.random.Generator) -> None:
    n, d = 240, 40
    cue = rng.random(n) < 0.4
    features = np.abs(rng.normal(size=(n, d))) * 0.3
    features[:, 3] += 2.0 * cue
    weight = rng.normal(size=d) * 0.2
    weight[3] = 1.5
    train = np.arange(n) % 2 == 0
    correct = cue | (rng.random(n) < 0.3)
    given = ClassFeatures(features, weight, 0.1, train=train, held_out=~train, correct=correct)
    found = find_candidates(given, 10)
    first = found.table[found.table["order"] == 0]
    best = first[first["kind"] == "pca"].iloc[0]
    assert best["component"] == 0
    assert best["gap_low"] > 0
    assert best["gap_k"] == 40
    assert first[first["kind"] == "neuron"]["component"].iloc[0] == 3
    assert cue[best["top_image_ids"]].all()
    assert train[best["top_image_ids"]].all()
    logit = features @ weight + 0.1
    total = found.alpha[:, : found.n_components].sum(axis=1) + found.residual
    assert total == pytest.approx(logit - logit[train].mean(), abs=1e-9)


def test_page_order_puts_a_certain_gap_before_noise() -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "variance_share": [0.5, 0.3, 0.1, 0.05],
            "alpha_max": [5.0, 1.0, 2.0, 0.5],
            "gap_low": [-5.0, 1.0, -3.0, np.nan],
            "gap_high": [5.0, 30.0, 60.0, np.nan],
        }
    )
    order = page_order(table)
    assert sorted(order) == [0, 1, 2, 3]
    assert order[0] == 0
    assert order[1] == 1
    assert order[3] == 3


def test_a_functional_is_taken_apart_and_put_together_again() -> None:
    rng = np.random.default_rng(5)
    weight, mean = rng.normal(size=(2, 9))
    unit = rng.normal(size=9)
    for direction, offset in (
        functional(unit / np.linalg.norm(unit), weight, mean),
        (rng.normal(size=9), rng.normal()),  # of another model: fits neither weight nor mean
    ):
        again = functional(*factors(direction, float(offset), weight, mean))
        np.testing.assert_allclose(again[0], direction, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(again[1], offset, rtol=1e-10, atol=1e-12)
    neuron = functional(np.eye(9)[4], weight, mean)
    np.testing.assert_array_equal(neuron[0], np.eye(9)[4] * weight)
    assert neuron[1] == mean[4]


def test_alpha_does_not_depend_on_blocks_and_is_the_mean_of_the_map() -> None:
    rng = np.random.default_rng(6)
    maps = rng.normal(size=(BLOCK + 3, 4, 2, 2)).astype(np.float32)
    features, direction = maps.mean(axis=(2, 3)), rng.normal(size=4)
    found = LinearFunctional(0, direction, 0.3)
    alpha = found.alpha(features)
    assert (alpha.dtype, alpha.shape) == (np.float64, (BLOCK + 3,))
    np.testing.assert_allclose(alpha, features.astype(np.float64) @ direction - 0.3, atol=1e-12)
    np.testing.assert_allclose(found.heatmap(maps).mean(axis=(1, 2)), alpha, atol=1e-5)
    assert found.alpha(features[:0]).shape == (0,)


def test_random_directions_are_tried_once_for_candidates_of_both_kinds(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorting images along them is what takes longest of a class; each kind alone says the same."""
    features, weight = make(rng, 120, 20)
    train, correct = np.arange(120) % 2 == 0, rng.random(120) < 0.7
    given = ClassFeatures(features, weight, 0.1, train=train, held_out=~train, correct=correct)
    plain, sizes = search.gap_control, []

    def counted(*arguments: Any) -> Any:
        sizes.append(arguments[1].shape[1])
        return plain(*arguments)

    monkeypatch.setattr(search, "gap_control", counted)
    found = find_candidates(given, 6, neurons=5)
    assert sizes == [11]
    logit = (features @ weight + 0.1)[~train]
    mixed = found.alpha[~train, :6]
    for kind, part in (("pca", slice(0, 6)), ("neuron", slice(6, None))):
        alone = plain(correct[~train], found.alpha[~train, part], logit, mixed)
        rows = found.table[found.table["kind"] == kind]
        np.testing.assert_allclose(rows["gap_control"], alone.gap, rtol=1e-9)
        np.testing.assert_allclose(rows["gap_p"], alone.p, rtol=1e-9)
