"""DFR, LEACE, Group DRO, JTT and cut and paste: identities, slow replicas, what each needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.corrections.cut_and_paste import alike, differences
from core.corrections.dfr import FEWEST, balanced, dfr
from core.corrections.evidence import HIDDEN, SHOWN, UNKNOWN, Evidence
from core.corrections.group_dro import first_errors, groupdro, jtt
from core.corrections.grouping import NOWHERE, Grouping, grouping
from core.corrections.head_methods import mitigate
from core.corrections.leace import Eraser, eraser, leace
from core.corrections.softmax import fit_softmax
from core.errors import InputError
from core.models.linear import Head
from tests.core.corrections.mitigation_fixture import make_head
from tests.core.corrections.test_presence import planted


@pytest.fixture
def head() -> Head:
    return make_head(np.random.default_rng(3))


def told(share: float = 0.8) -> tuple[Evidence, np.ndarray]:
    """Planted evidence of which an attribute says who shows the cue, a few of other classes too."""
    evidence, shows = planted(share)
    features = evidence.features.copy()
    for k in (1, 2):
        few = np.flatnonzero(evidence.labels == k)[:10]
        features[few, 0] += 8
        shows[few] = True
    states = np.where(shows, SHOWN, HIDDEN).astype(np.int8)[:, None]
    return replace(evidence, features=features, present=states), shows


def leaning(head: Head) -> Head:
    """A head that answers to the cue with class 0."""
    weight = head.weight.copy()
    weight[:, 0] = (6.0, -2.0, -2.0)
    return replace(head, weight=weight, bias=np.zeros(3, np.float32))


def worst(head: Head, evidence: Evidence, of: np.ndarray) -> float:
    right = head.logits(evidence.features).argmax(axis=1) == evidence.labels
    return float(min(right[of == g].mean() for g in np.unique(of[of >= 0])))


# ------------------------------------------------------------------- groups


def test_groups_are_those_of_the_attribute_or_nearly_those_by_the_tags(head: Head) -> None:
    evidence, shows = told()
    true = grouping(evidence)
    assert true.told
    np.testing.assert_array_equal(true.of, 2 * evidence.labels + shows)
    assert true.sizes().tolist() == [24, 96, 110, 10, 110, 10]
    tags = np.full_like(evidence.present, UNKNOWN)
    tags[evidence.labels == 0] = evidence.present[evidence.labels == 0]
    pseudo = grouping(replace(evidence, present=tags))
    assert not pseudo.told
    assert (pseudo.of == true.of).mean() > 0.98


def test_an_image_of_which_nothing_is_said_is_in_no_group() -> None:
    evidence, _ = told()
    unknown = evidence.present.copy()
    unknown[:7] = UNKNOWN
    assert (grouping(replace(evidence, present=unknown)).of[:7] == NOWHERE).all()


# ------------------------------------------------------------------- LEACE


def published(x: np.ndarray, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Theorem 4.2 as it is written, with a matrix root, on values centred within classes."""
    x, z = x.astype(np.float64).copy(), z.astype(np.float64).copy()
    mean = x.mean(axis=0)
    whole = x.copy()
    for k in np.unique(labels):
        x[labels == k] -= x[labels == k].mean(axis=0)
        z[labels == k] -= z[labels == k].mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    kept = values > values.max() * 1e-10
    root = vectors[:, kept] * np.sqrt(values[kept]) @ vectors[:, kept].T
    whitening = vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T
    u, s, _ = np.linalg.svd(whitening @ (x.T @ z / len(x)), full_matrices=False)
    u = u[:, s > 1e-10 * s.max()]
    found: np.ndarray = whole - (whole - mean) @ (root @ u @ u.T @ whitening).T
    return found


@pytest.mark.parametrize("cues", [1, 2])
def test_leace_is_the_published_eraser(cues: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    z = (rng.random((300, cues)) < 0.4).astype(float)
    x = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) + labels[:, None]
    x += 3 * z @ rng.normal(size=(cues, 8))
    found = eraser(x, z, labels)(x)
    np.testing.assert_allclose(found, published(x, z, labels), atol=1e-8)
    for k in range(3):
        x[labels == k] -= x[labels == k].mean(axis=0)


def test_after_leace_no_linear_predictor_finds_the_cue_and_no_less_change_would_do() -> None:
    rng = np.random.default_rng(1)
    labels = np.zeros(400, int)
    z = (rng.random((400, 1)) < 0.5).astype(float)
    x = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + z @ rng.normal(size=(1, 6))
    erase = eraser(x, z, labels)
    found = erase(x)
    design = np.column_stack([found, np.ones(400)])
    fit = design @ np.linalg.lstsq(design, z[:, 0], rcond=None)[0]
    assert np.abs(fit - z.mean()).max() < 1e-8
    np.testing.assert_allclose(erase(found), found, atol=1e-8)
    away = (x - x.mean(axis=0)).T @ (z - z.mean()) / 400
    unit = away / np.linalg.norm(away)
    projected = x - (x - x.mean(axis=0)) @ unit @ unit.T
    assert np.square(found - x).sum() < np.square(projected - x).sum()


def test_leace_with_few_images_is_shrunk_and_erases_all_the_same() -> None:
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(40, 60)), np.arange(40) % 2
    z = (rng.random((40, 1)) < 0.5).astype(float)
    found = eraser(x + z, z, labels)(x + z)
    for k in (0, 1):
        z[labels == k] -= z[labels == k].mean()
    np.testing.assert_allclose(found.T @ z, 0, atol=1e-6)


@pytest.mark.parametrize("concept", ["images", "pairs"])
def test_the_head_of_leace_reads_erased_features(concept: str, head: Head) -> None:
    evidence, shows = told()
    found = leace(head, evidence, 1.0, concept=concept)
    assert evidence.pairs is not None
    if concept == "images":
        erase: Eraser = eraser(evidence.features, shows[:, None], evidence.labels)
    else:
        p, z = evidence.pairs, np.repeat([1.0, 0.0], len(evidence.pairs.rows))[:, None]
        both = np.concatenate([p.shown, p.hidden])
        erase = eraser(both, z, np.tile(evidence.labels[p.rows], 2))
    wanted = head.logits(erase(evidence.features).astype(np.float32))
    np.testing.assert_allclose(found.logits(evidence.features), wanted, atol=2e-3)


def test_leace_says_what_it_needs(head: Head) -> None:
    evidence, _ = told()
    with pytest.raises(InputError, match="pairs needs stored maps"):
        leace(head, replace(evidence, pairs=None), 1.0, concept="pairs")
    everywhere = np.full_like(evidence.present, SHOWN)
    with pytest.raises(InputError, match="with and without each cue in one class"):
        leace(head, replace(evidence, present=everywhere), 1.0)


# ------------------------------------------------------------------- DFR


def test_dfr_raises_the_worst_group(head: Head) -> None:
    evidence, _ = told()
    of = grouping(evidence).of
    before = leaning(head)
    assert worst(dfr(before, evidence, 1.0), evidence, of) > worst(before, evidence, of) + 0.3


def test_a_balanced_subset_has_as_many_of_every_group() -> None:
    groups = Grouping(
        np.array([0] * 9 + [1] * 4 + [2] * 6 + [3] * 5 + [-1]), np.array([0, 1]), True
    )
    rows = balanced(groups, np.random.default_rng(0))
    assert np.bincount(groups.of[rows]).tolist() == [4, 4, 4, 4]
    assert len(set(rows)) == 16


def test_dfr_says_which_group_is_too_small(head: Head) -> None:
    evidence, _ = planted(0.8)
    with pytest.raises(InputError, match=f"needs {FEWEST} training images .* of 'b' with a tagged"):
        dfr(head, evidence, 1.0)
    told_of, _ = told()
    wide = replace(head, weight=np.zeros((4, 12), np.float32), bias=np.zeros(4, np.float32))
    with pytest.raises(InputError, match="all 4 outputs .* only 3 have training images"):
        dfr(wide, told_of, 1.0)


# ------------------------------------------------------------------- Group DRO and JTT


def losses(head: Head, evidence: Evidence, of: np.ndarray) -> list[float]:
    logits = head.logits(evidence.features).astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = -logs[np.arange(len(of)), evidence.labels]
    return [float(own[of == g].mean()) for g in np.unique(of)]


def test_group_dro_lowers_the_worst_loss_more_than_plain_training(head: Head) -> None:
    evidence, _ = told()
    of, start = grouping(evidence).of, leaning(head)
    robust = groupdro(start, evidence, 1.0, penalty=1e-2)
    plain = jtt(start, evidence, 1.0, upweight=1, penalty=1e-2)
    assert max(losses(robust, evidence, of)) < max(losses(plain, evidence, of))
    assert worst(robust, evidence, of) > worst(start, evidence, of)


def test_half_the_way_is_the_mean_of_both_heads(head: Head) -> None:
    evidence, _ = told()
    for method in (dfr, groupdro, jtt):
        ends = [method(head, evidence, s).weight for s in (0.0, 1.0)]
        half = method(head, evidence, 0.5).weight
        np.testing.assert_allclose(half, (ends[0] + ends[1]) / 2, atol=1e-4)


def test_group_dro_needs_two_groups(head: Head) -> None:
    evidence, _ = told()
    nothing = np.full_like(evidence.present, UNKNOWN)
    nothing[np.flatnonzero(evidence.labels == 1)[:5]] = SHOWN
    with pytest.raises(InputError, match="two groups"):
        groupdro(head, replace(evidence, present=nothing), 1.0)


def test_what_the_first_head_gets_wrong_is_the_minority(head: Head) -> None:
    rng = np.random.default_rng(4)
    labels = np.arange(300) % 3
    shows = (labels == 0) != (rng.random(300) < 0.1)
    x = (
        rng.normal(size=(300, 12))
        + 0.5 * np.eye(3, 12)[labels]
        + 6 * shows[:, None] * np.eye(12)[5]
    )
    wrong = first_errors(head, x.astype(np.float32), labels)
    minority = shows != (labels == 0)
    assert wrong[minority].mean() > wrong[~minority & (labels == 0)].mean() + 0.8


def test_weights_count_like_repeated_images(head: Head) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 12)).astype(np.float32), rng.integers(0, 3, 30)
    x[:] -= x.mean(axis=0)
    counts = rng.integers(1, 4, 30)
    weighted = fit_softmax(x, labels, head, anchor=0.1, weights=counts.astype(float))
    plain = fit_softmax(x, labels, head, anchor=0.1)
    alike_ = fit_softmax(x, labels, head, anchor=0.1, weights=np.full(30, 7.0))
    np.testing.assert_allclose(plain[0], alike_[0], atol=1e-6)
    scale = np.sqrt(np.square(x - x.mean(axis=0)).sum() / 30)

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        logits = np.repeat(x, counts, axis=0) @ weight.T + bias
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        of = np.repeat(labels, counts)
        pull = scale**2 * np.square(weight - head.weight).sum()
        return float(-logs[np.arange(len(of)), of].mean() + 0.05 * pull)

    best = objective(*weighted)
    assert best < objective(*plain)
    for _ in range(20):
        near = weighted[0] + 0.01 * rng.normal(size=weighted[0].shape)
        assert best <= objective(near, weighted[1]) + 1e-9


# ------------------------------------------------------------------- cut and paste


def test_cut_and_paste_silences_what_a_pair_differs_by(head: Head) -> None:
    evidence, _ = planted(0.95)
    start, found = leaning(head), []
    shift = np.eye(12)[0]
    for strength in (0.0, 0.3, 10.0, 100.0):
        after = mitigate("parts", start, evidence, strength)
        answer = (after.weight - after.weight.mean(axis=0)) @ shift
        found.append(float(np.abs(answer).max()))
    assert found[0] == pytest.approx(16 / 3, abs=1e-6)
    assert found[0] > found[1] > found[2] > found[3]
    assert found[3] < 0.05 * found[0]


def test_differences_and_groups_count_alike() -> None:
    evidence, _ = planted(0.8)
    assert evidence.pairs is not None
    two = replace(evidence.pairs, cue=np.arange(len(evidence.pairs.rows)) % 2)
    shifts = differences(two)
    for cue in (0, 1):
        assert np.square(shifts[two.cue == cue]).sum() == pytest.approx(1)
    weights = alike(np.array([4, 4, 9, 9, 9, 2]))
    np.testing.assert_allclose(weights, [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3, 1])


def test_cut_and_paste_needs_stored_maps(head: Head) -> None:
    evidence, _ = planted(0.8)
    with pytest.raises(InputError, match="cuts and pastes in stored maps, and none are kept"):
        mitigate("parts", head, replace(evidence, erased={}), 1.0)
