"""The linear discriminant in closed form: scikit-learn's, out of fold, and what it doubts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from core.errors import ModelError
from core.models.discriminant import CALIBRATED, discriminant, held_out_logits, sums_of
from core.models.head import fit_probe, held_out_splits
from core.statistics.confident_learning import problems
from core.types import ROWS, FloatArray, IntArray, MadeRows

CLASSES, WIDTH = 8, 40


def drawn(rng: np.random.Generator, each: int) -> tuple[FloatArray, IntArray]:
    """Gaussian features of classes with a common covariance."""
    labels = np.repeat(np.arange(CLASSES), each)
    mixed = rng.normal(size=(WIDTH, WIDTH)) / 6
    means = rng.normal(size=(CLASSES, WIDTH)) * 0.7
    features = means[labels] + rng.normal(size=(len(labels), WIDTH)) @ mixed
    return features.astype(np.float32), labels


def test_it_is_scikit_learn_s(rng: np.random.Generator) -> None:
    features, labels = drawn(rng, 30)
    features -= features.mean(axis=0)
    weight, bias = discriminant(sums_of(features, labels, CLASSES)[0])
    within = OAS(store_precision=False, assume_centered=True)
    means = np.stack([features[labels == k].mean(axis=0) for k in range(CLASSES)])
    covariance = within.fit(features - means[labels]).covariance_
    oracle = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=OAS(assume_centered=True)
    )
    np.testing.assert_allclose(weight, np.linalg.solve(covariance, means.T).T, rtol=1e-3, atol=1e-3)
    oracle.fit(features, labels)
    mine = features @ weight.T + bias
    assert (mine.argmax(axis=1) == oracle.predict(features)).mean() > 0.99


def test_no_image_is_judged_by_a_head_that_saw_it(rng: np.random.Generator) -> None:
    features, labels = drawn(rng, 12)
    labels[-1], features = CLASSES, features + 1
    logits = held_out_logits(features, labels, CLASSES + 1)[np.arange(len(labels))]
    assert np.isnan(logits[-1]).all()
    assert not np.isnan(logits[:-1]).any()
    splits = held_out_splits(len(labels), labels, CLASSES + 1, 5, 0)
    train, out = splits[2]
    centred = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    weight, bias = discriminant(sums_of(centred[train], labels[train], CLASSES + 1)[0])
    slow = centred[out] @ weight.T + bias
    ratio = logits[out] / slow
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-2)  # the temperature


def test_it_doubts_what_a_probe_doubts(rng: np.random.Generator) -> None:
    features, true = drawn(rng, 150)
    flipped = rng.random(len(true)) < 0.08
    labels = np.where(flipped, (true + rng.integers(1, CLASSES, len(true))) % CLASSES, true)
    flags = [
        problems(labels, softmax(np.asarray(logits, np.float64), axis=1))
        for logits in (
            held_out_logits(features, labels, CLASSES)[np.arange(len(labels))],
            fit_probe(features, labels, CLASSES).oof_logits,
        )
    ]
    for flagged in flags:
        assert flagged[flipped].mean() >= 0.7
        assert flipped[flagged].mean() >= 0.9
    assert (flags[0] & flags[1]).sum() / (flags[0] | flags[1]).sum() >= 0.8


def test_what_it_refuses(rng: np.random.Generator) -> None:
    features, labels = drawn(rng, 3)
    with pytest.raises(ModelError, match="two classes"):
        held_out_logits(features, np.zeros_like(labels), 1)
    with pytest.raises(ModelError, match="one label per image"):
        held_out_logits(features[:-1], labels, CLASSES)
    with pytest.raises(ModelError, match="not finite"):
        held_out_logits(np.full_like(features, np.nan), labels, CLASSES)


def test_sums_of_folds_are_those_of_their_images(rng: np.random.Generator) -> None:
    features, labels = drawn(rng, 20)
    fold = rng.integers(0, 3, len(labels))
    for number, found in enumerate(sums_of(features, labels, CLASSES, fold)):
        x, y = features[fold == number].astype(np.float64), labels[fold == number]
        assert (found.counts == np.bincount(y, minlength=CLASSES)).all()
        slow = np.stack([x[y == k].sum(axis=0) for k in range(CLASSES)])
        np.testing.assert_allclose(found.sums, slow, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.products, x.T @ x, rtol=1e-4, atol=1e-3)


def test_images_are_read_a_block_at_a_time(rng: np.random.Generator) -> None:
    features, labels = drawn(rng, 2 * ROWS // CLASSES)
    asked: list[int] = []

    def read(rows: IntArray) -> FloatArray:
        asked.append(len(rows))
        return features[rows]

    lazy = held_out_logits(MadeRows(features.shape, read), labels, CLASSES)
    assert sum(asked) <= 3 * len(labels)  # their mean, the sums, and some for the temperature
    assert max(asked) <= max(ROWS, 2 * CALIBRATED)
    some = rng.permutation(len(labels))[:50]
    whole = held_out_logits(features, labels, CLASSES)
    np.testing.assert_array_equal(lazy[some], whole[some])
