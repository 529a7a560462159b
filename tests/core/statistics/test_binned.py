"""What bins tell of labels and errors: by a slow replica, by chance, and where it was planted."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics import binned
from core.statistics.binned import all_told, errors_told, label_told, number_bins, word_bins


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binned, "SHUFFLES", 39)


def test_bins_hold_as_many_images_each_and_unknown_is_one(rng: np.random.Generator) -> None:
    values = np.append(rng.normal(size=800), np.nan)
    bins = number_bins(values)
    assert np.bincount(bins).tolist() == [100] * 8 + [1]
    assert number_bins(np.ones(5)).tolist() == [1] * 5
    assert number_bins(np.full(3, np.nan)).tolist() == [0, 0, 0]
    words = word_bins(np.array(["b", "a", "b"]))
    assert words.tolist() == [0, 1, 0]
    assert word_bins(np.array([f"w{i}" for i in range(40)])).max() == binned.VALUES


def test_the_most_frequent_label_of_the_other_folds_is_said(
    rng: np.random.Generator, few: None
) -> None:
    labels = rng.integers(0, 3, 200)
    bins = (labels + rng.integers(0, 2, 200)) % 4
    folds = np.random.default_rng(0).permutation(200) % binned.FOLDS
    right = 0
    for i in range(200):
        others = [labels[j] for j in range(200) if folds[j] != folds[i] and bins[j] == bins[i]]
        counts = np.bincount(others, minlength=3) + 1e-3 * np.bincount(labels, minlength=3)
        right += int(counts.argmax() == labels[i])
    found = label_told(bins, labels)
    assert found.figure == right / 200
    assert found.p == 1 / 40
    assert found.chance < 0.5 < found.figure


def test_errors_are_explained_within_classes(rng: np.random.Generator, few: None) -> None:
    classes = np.repeat([0, 1], 200)
    wrong = (np.arange(400) < 200).astype(float)  # one class is all wrong
    assert errors_told(classes, wrong, classes).figure == 0
    wrong = (rng.random(400) < 0.5).astype(float)
    bins = wrong.astype(int)
    found = errors_told(bins, wrong, classes)
    means = [wrong[classes == c].mean() for c in classes]
    left = wrong - means
    cells = [(bins == b) & (classes == c) for b in (0, 1) for c in (0, 1)]
    slow = sum(left[cell].sum() ** 2 / cell.sum() for cell in cells) / (left @ left)
    assert found.figure == pytest.approx(slow) == pytest.approx(1)
    turned = np.where(classes == 1, 1 - bins, bins)  # helps one class, hurts the other
    assert errors_told(turned, wrong, classes).figure == pytest.approx(1)
    assert found.p == 1 / 40


def test_chance_is_called_as_often_as_it_may_be(rng: np.random.Generator, few: None) -> None:
    labels = np.arange(300) % 5
    wrong = [(rng.random(300) < 0.3).astype(float) for _ in range(200)]
    bins = [number_bins(rng.normal(size=300)) for _ in range(200)]
    by_label = np.array([label_told(b, labels, seed=i).p for i, b in enumerate(bins)])
    by_error = np.array(
        [
            errors_told(b, w, labels, seed=i).p
            for i, (b, w) in enumerate(zip(bins, wrong, strict=True))
        ]
    )
    assert (by_label <= 0.05).mean() <= 0.09
    assert (by_error <= 0.05).mean() <= 0.09
    assert 0.4 < by_error.mean() < 0.6


def test_properties_together_tell_what_none_tells_alone(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 2, 600)
    weak = [np.where(rng.random(600) < 0.7, labels, 1 - labels) for _ in range(7)]
    found = all_told(weak, labels)
    assert found.figure > max(label_told(one, labels).figure for one in weak) + 0.1
    assert found.p == 0.01
    assert abs(found.chance - 0.5) < 0.05
    p = [all_told(weak, rng.permutation(labels), seed=seed).p for seed in range(20)]
    assert sum(one <= 0.05 for one in p) <= 3
    assert all_told([np.zeros(9, np.int64)], np.arange(9) % 3).figure <= 1
