"""Spectral clustering against what it has to find, and the control that clean rows pass."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from core.statistics.spectral import (
    apart,
    block_means,
    by_size,
    cut_in_two,
    eigengap,
    fisher_score,
    grouped,
    laplacian_vectors,
    nearest_group,
    neighbour_graph,
    shares_of,
    unit_rows,
)


def blobs(rng: np.random.Generator, sizes: tuple[int, ...], far: float = 8.0) -> np.ndarray:
    return np.concatenate([rng.normal(far * i, 1, (n, 5)) for i, n in enumerate(sizes)])


def test_two_far_blobs_of_equal_rows_are_two_pieces() -> None:
    rows = np.repeat(np.eye(2, 4), [30, 20], axis=0)
    values, vectors = laplacian_vectors(neighbour_graph(rows))
    assert (values <= 1e-8).sum() == 2
    truth = np.repeat([0, 1], [30, 20])
    assert eigengap(values) == 2
    assert adjusted_rand_score(truth, grouped(rows).labels) == 1
    np.testing.assert_allclose(np.linalg.norm(unit_rows(vectors[:, :2]), axis=1), 1)


def test_the_graph_is_that_of_a_slow_replica(rng: np.random.Generator) -> None:
    rows, k = rng.normal(size=(30, 3)), 4
    far = np.square(rows[:, None] - rows).sum(axis=2)
    np.fill_diagonal(far, np.inf)
    one_way = np.zeros((30, 30))
    for i, near in enumerate(np.argsort(far, axis=1)[:, :k]):
        one_way[i, near] = 1
    graph = neighbour_graph(rows, k).toarray()
    np.testing.assert_allclose(graph, (one_way + one_way.T) / 2)
    values, _ = laplacian_vectors(neighbour_graph(rows, k))
    roots = 1 / np.sqrt(graph.sum(axis=1))
    slow = np.linalg.eigvalsh(np.eye(30) - roots[:, None] * graph * roots)
    np.testing.assert_allclose(values, slow[: len(values)], atol=1e-10)
    assert values.min() >= 0
    assert values.max() <= 2


@pytest.mark.parametrize("n", [2, 3, 10])
def test_fewer_rows_than_neighbours_are_all_neighbours(n: int, rng: np.random.Generator) -> None:
    graph = neighbour_graph(rng.normal(size=(n, 3)), 10).toarray()
    np.testing.assert_allclose(graph, 1 - np.eye(n))
    assert laplacian_vectors(neighbour_graph(rng.normal(size=(n, 3))))[1].shape[1] <= n - 1


def test_a_graph_of_neighbours_of_everything_is_one_piece(rng: np.random.Generator) -> None:
    n = 240  # of which LAPACK gives up on a part of the eigenvalues
    values, vectors = laplacian_vectors(neighbour_graph(rng.normal(size=(n, 6)), 999))
    np.testing.assert_allclose(values, [0, *[1 + 1 / (n - 1)] * (len(values) - 1)], atol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-9)


def test_equal_rows_are_one_group_and_few_repeated_ones_do_no_harm(
    rng: np.random.Generator,
) -> None:
    assert grouped(np.ones((40, 3))).number == 1
    rows = np.concatenate([np.zeros((40, 5)), blobs(rng, (40,)) + 20])
    assert adjusted_rand_score(np.repeat([0, 1], 40), grouped(rows, 2).labels) == 1


def test_the_order_of_rows_changes_nothing(rng: np.random.Generator) -> None:
    rows, order = blobs(rng, (40, 25, 15)), rng.permutation(80)
    there, moved = grouped(rows), grouped(rows[order])
    assert there.number == 3
    assert np.bincount(there.labels).tolist() == [40, 25, 15]
    np.testing.assert_array_equal(there.labels[order], moved.labels)


def test_the_sparse_solver_finds_what_the_dense_one_does(rng: np.random.Generator) -> None:
    graph = neighbour_graph(blobs(rng, (260, 200), 3.0))
    sparse, _ = laplacian_vectors(graph, 6)
    roots = 1 / np.sqrt(graph.sum(axis=1))
    dense = np.linalg.eigvalsh(np.eye(460) - roots[:, None] * graph.toarray() * roots)
    np.testing.assert_allclose(sparse, dense[:6], atol=1e-8)


def test_an_early_large_gap_is_preferred() -> None:
    assert eigengap(np.array([0, 0.3, 0.32, 0.8, 0.82])) == 1
    assert eigengap(np.array([0, 0.01, 0.4, 0.5, 0.9])) == 2
    assert eigengap(np.array([0, 0, 0, 0.5, 0.9])) == 3


def test_fisher_score_is_that_of_scatter_matrices(rng: np.random.Generator) -> None:
    rows, labels = blobs(rng, (20, 30), 2.0), np.repeat([0, 1], [20, 30])
    within = between = 0.0
    for name in (0, 1):
        mine = rows[labels == name]
        within += np.square(mine - mine.mean(axis=0)).sum()
        between += len(mine) * np.square(mine.mean(axis=0) - rows.mean(axis=0)).sum()
    assert fisher_score(rows, labels) == pytest.approx(between / within)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert fisher_score(rows @ turn, labels) == pytest.approx(between / within)
    assert fisher_score(rows, labels) > 5 * fisher_score(rows, rng.permutation(labels))
    assert np.isnan(fisher_score(rows, np.zeros(50)))


def test_the_best_cut_is_that_of_two_means(rng: np.random.Generator) -> None:
    rows = blobs(rng, (30, 20))
    assert adjusted_rand_score(np.repeat([0, 1], [30, 20]), cut_in_two(rows)) == 1


def test_two_groups_stand_apart_and_one_does_not(rng: np.random.Generator) -> None:
    two = apart(blobs(rng, (80, 20), 3.0))
    assert two.p < 0.01
    assert two.times > 1.3
    assert two.share == pytest.approx(0.2, abs=0.02)
    again = apart(blobs(np.random.default_rng(7), (80, 20), 3.0))
    assert again == two
    assert np.isnan(apart(rng.normal(size=(5, 3))).p)


def test_clouds_without_groups_are_rarely_accused() -> None:
    """Of one peak: round, drawn out, heavy-tailed on one side, and uniform, the worst of them."""
    accused = {"round": 0, "skewed": 0, "uniform": 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        stretch = 1 / np.arange(1, 9)
        for name, rows in {
            "round": rng.normal(size=(100, 8)) * stretch,
            "skewed": rng.exponential(size=(100, 8)) * stretch,
            "uniform": rng.uniform(-1, 1, (100, 8)) * stretch,
        }.items():
            accused[name] += apart(rows).p < 0.05
    assert accused["round"] == 0
    assert accused["uniform"] <= 4
    assert accused["skewed"] <= 4


def test_shares_know_nothing_of_size_and_set_empty_rows_aside(rng: np.random.Generator) -> None:
    rows = rng.gamma(1, 1, (6, 4))
    rows[2] = 0
    shares, there = shares_of(rows)
    assert there.tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(shares[there].sum(axis=1), 1)
    np.testing.assert_allclose(shares_of(rows * 7)[0], shares)
    assert not shares[2].any()


def test_further_rows_join_their_neighbours_and_groups_count_by_size(
    rng: np.random.Generator,
) -> None:
    rows, labels = blobs(rng, (20, 20)), np.repeat([0, 1], 20)
    np.testing.assert_array_equal(nearest_group(rows, labels, rows + 0.1), labels)
    assert by_size(np.array([5, 3, 3, 5, 5, 9])).tolist() == [0, 1, 1, 0, 0, 2]


def test_places_are_averaged_into_fewer() -> None:
    np.testing.assert_allclose(block_means(4, 20), np.eye(4))
    down = block_means(40, 20)
    np.testing.assert_allclose(down @ np.arange(40), np.arange(20) * 2 + 0.5)
    np.testing.assert_allclose(block_means(30, 20).sum(axis=1), 1)
