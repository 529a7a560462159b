"""Scores of how anomalous images are, by hand and by the oracle, and how well they tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.anomaly import (
    TITLES,
    Known,
    false_alarms,
    in_class,
    neighbour_distance,
    of_logits,
    scores,
    templates,
    told_apart,
    typicality,
)
from core.statistics.ranks import column_aurocs

NEEDED = "pip install -r requirements-dev.txt"


def test_scores_of_logits_by_hand() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])
    found = of_logits(logits)
    np.testing.assert_allclose(found["msp"], [-0.7, -0.5])
    np.testing.assert_allclose(found["max_logit"], -np.log([0.7, 0.5]))
    np.testing.assert_allclose(found["energy"], [0, 0], atol=1e-12)
    np.testing.assert_allclose(found["entropy"][1], 1.5 * np.log(2))
    moved = of_logits(logits + 3)
    np.testing.assert_allclose(moved["msp"], found["msp"])
    np.testing.assert_allclose(moved["max_logit"], found["max_logit"] - 3)


def test_scores_are_those_of_the_oracle(rng: np.random.Generator) -> None:
    detectors = pytest.importorskip("pytorch_ood.detector", reason=NEEDED)
    import torch

    known, asked = (rng.normal(size=(n, 6)) for n in (300, 40))
    x, z = (rng.normal(size=(n, 12)).astype(np.float32) for n in (40, 300))
    found = scores(x, asked, Known(z, known))
    assert set(found) == set(TITLES)
    given = torch.from_numpy(asked)
    plain = {"msp": "MaxSoftmax", "max_logit": "MaxLogit", "energy": "EnergyBased"}
    for name, oracle in {**plain, "entropy": "Entropy"}.items():
        expected = getattr(detectors, oracle)(None).predict_logits(given)
        np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-6)
    matching = detectors.KLMatching(None).fit_logits(torch.from_numpy(known))
    expected = matching.predict_logits(given).detach()
    np.testing.assert_allclose(found["typicality"], expected.numpy(), atol=1e-6)
    near = detectors.KNN(None, k=50).fit_features(torch.from_numpy(z), torch.zeros(300).long())
    expected = near.predict_features(torch.from_numpy(x))
    np.testing.assert_allclose(found["knn"], expected.numpy(), atol=1e-6)


def test_telling_apart_is_that_of_the_oracle(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("pytorch_ood.metrics.functional", reason=NEEDED)
    areas = pytest.importorskip("torchmetrics.functional.classification", reason=NEEDED)
    import torch

    odd, plain = rng.normal(1, 1, 150), rng.normal(0, 1, 400)
    found = told_apart(odd, plain)
    values = torch.from_numpy(np.concatenate([odd, plain]))
    positive = torch.tensor([1] * 150 + [0] * 400)
    unit = torch.sigmoid(values)
    assert found.auroc[0] == pytest.approx(float(areas.binary_auroc(unit, positive)), abs=1e-6)
    expected = float(areas.binary_average_precision(unit, positive))
    assert found.aupr[0] == pytest.approx(expected, abs=1e-6)
    said = metrics.fpr_at_tpr(values, -positive, 0.95)
    assert found.false_alarms[0] == pytest.approx(float(said), abs=1e-6)
    assert found.chance == pytest.approx(150 / 550)


def test_equal_sets_are_not_told_apart_and_signs_turn(rng: np.random.Generator) -> None:
    same = rng.normal(size=60)
    found = told_apart(same, same)
    assert found.auroc[0] == pytest.approx(0.5)
    assert found.auroc[1] < 0.5 < found.auroc[2]
    other = rng.normal(1, 1, 60)
    assert told_apart(other, same).auroc[0] == pytest.approx(1 - told_apart(-other, -same).auroc[0])
    assert false_alarms(np.arange(20.0), np.array([0.5, 1.0, 30])) == pytest.approx(2 / 3)
    first, second = rng.normal(size=(7, 3)), rng.normal(size=(9, 3)).round(1)
    slow = (first[:, None] > second[None]) + 0.5 * (first[:, None] == second[None])
    np.testing.assert_allclose(column_aurocs(first, second), slow.mean(axis=(0, 1)))
    assert np.isnan(column_aurocs(first[:0], second)).all()


def test_no_image_is_its_own_neighbour(rng: np.random.Generator) -> None:
    known = rng.normal(size=(9, 4))
    own = np.arange(9)
    length = known / np.linalg.norm(known, axis=1, keepdims=True)
    apart = np.linalg.norm(length[:, None] - length[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    for k, at in ((1, 0), (3, 2), (99, 3)):
        found = neighbour_distance(known, known, own, k=k)
        np.testing.assert_allclose(found, np.sort(apart, axis=1)[:, at], atol=1e-7)
    assert np.isnan(neighbour_distance(known, known[:0])).all()


def test_a_template_is_typical_of_itself(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(50, 4))
    of = templates(logits)
    np.testing.assert_allclose(of.sum(axis=1), 1)
    np.testing.assert_allclose(typicality(np.log(of), of), 0, atol=1e-12)
    assert (typicality(logits, of) >= 0).all()


def test_places_within_a_class() -> None:
    values, classes = np.array([3.0, 1, 2, 5, 5, 9]), np.array([0, 0, 0, 1, 1, 2])
    np.testing.assert_allclose(in_class(values, classes), [1, 0, 0.5, 0.5, 0.5, np.nan])
