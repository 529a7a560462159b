"""Confident learning: the paper's rule, its sums, and flipped labels that are found."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.confident_learning import (
    calibrated,
    confident_classes,
    confident_joint,
    problems,
    thresholds,
    told,
)
from core.types import ROWS, FloatArray, IntArray, MadeRows


def flipped(rng: np.random.Generator, n: int = 900, k: int = 3) -> tuple[IntArray, IntArray]:
    true = rng.integers(0, k, n)
    given = np.where(rng.random(n) < 0.08, (true + rng.integers(1, k, n)) % k, true)
    return true, given


def said(rng: np.random.Generator, true: IntArray, k: int = 3) -> FloatArray:
    logits = rng.normal(0, 1, (len(true), k)) + 4 * np.eye(k)[true]
    found: FloatArray = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return found


def test_of_several_confident_classes_the_most_probable_counts() -> None:
    probabilities, least = np.array([[0.5, 0.3, 0.2]]), np.array([0.9, 0.25, 0.15])
    assert confident_classes(probabilities, least).tolist() == [1]
    assert confident_classes(probabilities, np.full(3, 0.9)).tolist() == [-1]


def test_the_joint_is_counted_one_by_one(rng: np.random.Generator) -> None:
    true, given = flipped(rng)
    p = said(rng, true)
    least = [p[given == j, j].mean() for j in range(3)]
    own = told(given, p).own
    assert np.allclose(thresholds(given, own, 3), least)
    slow = np.zeros((3, 3), int)
    for label, row in zip(given, p, strict=True):
        sure = [j for j in range(3) if row[j] >= least[j] - 1e-6]
        if sure:
            slow[label, max(sure, key=lambda j: row[j])] += 1
    assert (confident_joint(given, p, own) == slow).all()
    assert np.allclose(calibrated(slow, given).sum(axis=1), np.bincount(given))


def test_a_perfect_head_doubts_nothing() -> None:
    labels = np.arange(30) % 3
    p = np.eye(3)[labels]
    said = told(labels, p)
    assert (confident_joint(labels, p, said.own) == np.diag([10, 10, 10])).all()
    assert not problems(labels, p).any()
    assert said.margins.tolist() == [1.0] * 30


def test_classes_may_be_counted_in_another_order(rng: np.random.Generator) -> None:
    true, given = flipped(rng)
    p, order = said(rng, true), np.array([2, 0, 1])
    assert (problems(np.argsort(order)[given], p[:, order]) == problems(given, p)).all()


def test_flipped_labels_are_found(rng: np.random.Generator) -> None:
    true, given = flipped(rng)
    found, wrong = problems(given, said(rng, true)), given != true
    assert found[wrong].mean() >= 0.7
    assert wrong[found].mean() >= 0.9


def test_a_class_that_nobody_bears_is_never_suggested(rng: np.random.Generator) -> None:
    true, given = flipped(rng)
    p = np.concatenate([said(rng, true), np.full((len(true), 1), 0.9)], axis=1)
    own = told(given, p).own
    assert thresholds(given, own, 4)[3] == 2
    assert confident_joint(given, p, own)[:3, 3].tolist() == [0, 0, 0]


def test_what_is_told_is_looked_up_row_by_row(rng: np.random.Generator) -> None:
    true, given = flipped(rng)
    p = said(rng, true)
    found = told(given, p)
    for row, label, own, other, best in zip(p, given, *found, strict=True):
        others = [(row[j], j) for j in range(3) if j != label]
        assert (own, best, other) == (row[label], *max(others))
    assert np.allclose(found.margins, (found.own - found.best + 1) / 2)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_what_is_pruned_is_what_cleanlab_prunes(k: int, rng: np.random.Generator) -> None:
    from cleanlab.filter import find_label_issues

    true, given = flipped(rng, 700, k)
    p = said(rng, true, k)
    joint = np.rint(calibrated(confident_joint(given, p, told(given, p).own), given))
    theirs = find_label_issues(
        given,
        p,
        confident_joint=joint.astype(np.int64),
        filter_by="prune_by_noise_rate",
        n_jobs=1,
    )
    found = problems(given, p)
    assert found.any()
    assert (found == theirs).all()


def test_no_more_rows_are_read_at_a_time_than_a_block(rng: np.random.Generator) -> None:
    true, given = flipped(rng, 3 * ROWS)
    p, asked = said(rng, true), []

    def made(rows: IntArray) -> FloatArray:
        asked.append(len(rows))
        return p[rows]

    lazy = MadeRows(p.shape, made)
    assert (problems(given, lazy) == problems(given, p)).all()
    largest = int(np.bincount(given).max())
    assert max(asked) <= max(ROWS, largest)
    assert sum(asked) <= 3 * len(p)  # what is told, what is confident, what is pruned
