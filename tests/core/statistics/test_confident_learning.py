"""Confident learning: the paper's rule, its sums, and flipped labels that are found."""

from __future__ import annotations

import numpy as np

from core.statistics.confident_learning import (
    calibrated,
    confident_classes,
    confident_joint,
    margins,
    problems,
    thresholds,
)
from core.types import FloatArray, IntArray


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
    assert np.allclose(thresholds(given, p), least)
    slow = np.zeros((3, 3), int)
    for label, row in zip(given, p, strict=True):
        sure = [j for j in range(3) if row[j] >= least[j] - 1e-6]
        if sure:
            slow[label, max(sure, key=lambda j: row[j])] += 1
    assert (confident_joint(given, p) == slow).all()
    assert np.allclose(calibrated(slow, given).sum(axis=1), np.bincount(given))


def test_a_perfect_head_doubts_nothing() -> None:
    labels = np.arange(30) % 3
    p = np.eye(3)[labels]
    assert (confident_joint(labels, p) == np.diag([10, 10, 10])).all()
    assert not problems(labels, p).any()
    assert margins(labels, p).tolist() == [1.0] * 30


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
    assert thresholds(given, p)[3] == 2
    assert confident_joint(given, p)[:3, 3].tolist() == [0, 0, 0]
