"""Evidence, concept vectors, transfer, composites, answers and the choice of a strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.candidates.candidate import linear_alpha
from core.candidates.pca import class_pca, match_directions
from core.corrections.choice import Sweep, _sampled, choose, clean, fold_head, sweep, trials_of
from core.corrections.concepts import KINDS, alignment, concept_of, fit_concept
from core.corrections.evidence import HIDDEN, SHOWN, UNKNOWN, Cue, Evidence, Pairs, high_against_low
from core.corrections.pairs import joined, overlay_pairs, pasted_features, strong
from core.corrections.rectified import with_correction
from core.errors import InputError
from core.measures.directions import answer
from core.models.linear import Head
from core.tags.carry import largest_covariance
from tests.core.corrections.mitigation_fixture import make_evidence, make_head
from tests.reference import alpha as slow_alpha


@pytest.fixture
def head(rng: np.random.Generator) -> Head:
    return make_head(rng)


@pytest.fixture
def evidence(rng: np.random.Generator, head: Head) -> Evidence:
    return make_evidence(rng, head, pairs=True)


def test_alpha_of_a_cue_is_the_components_image_by_image(evidence: Evidence) -> None:
    cue = evidence.cues[0]
    slow = slow_alpha(evidence.features, cue.weight, cue.mean, cue.unit)
    np.testing.assert_allclose(cue.alpha(evidence.features), slow, atol=1e-10)
    flipped = replace(cue, unit=-cue.unit)
    np.testing.assert_allclose(flipped.alpha(evidence.features), slow, atol=1e-10)


def test_a_component_matched_on_its_own_model_is_itself(rng: np.random.Generator) -> None:
    weight = rng.normal(size=12)
    features = rng.normal(size=(60, 12)) * np.linspace(1, 3, 12)
    pca = class_pca(features, weight, 5)
    new = rng.normal(size=(20, 12))
    for m in range(5):
        cue = Cue(3, pca.basis[:, m], pca.weight, pca.mean)
        alpha = cue.alpha(features)[:, None]
        unit = match_directions(alpha, features * weight)[0][0]
        direction, offset = largest_covariance(alpha, features, weight)
        sign = np.sign(unit @ cue.unit)
        np.testing.assert_allclose(sign * unit, cue.unit, atol=1e-5)
        np.testing.assert_allclose(new @ direction - offset, cue.alpha(new), atol=1e-5)
        expected = linear_alpha(new, pca.directions, pca.offsets)[:, m]
        np.testing.assert_allclose(new @ direction - offset, expected, atol=1e-5)


def test_an_attribute_matches_the_difference_of_means(rng: np.random.Generator) -> None:
    features, shown = rng.normal(size=(50, 12)), np.arange(50) % 3 == 0
    weight = rng.normal(size=12)
    found = match_directions(shown[:, None], features * weight)[0][0]
    difference = (features[shown].mean(axis=0) - features[~shown].mean(axis=0)) * weight
    unit = difference / np.linalg.norm(difference)
    np.testing.assert_allclose(found, unit, atol=1e-10)
    direction, _ = largest_covariance(shown[:, None], features, weight)
    np.testing.assert_allclose(direction, unit.sum() * unit * weight, atol=1e-10)


def test_nothing_covaries_with_a_constant(rng: np.random.Generator) -> None:
    features = rng.normal(size=(5, 3))
    direction, offset = largest_covariance(np.ones((5, 1)), features, np.ones(3))
    assert (direction.any(), offset) == (False, 0)


def test_high_and_low_never_overlap(rng: np.random.Generator) -> None:
    alpha = rng.normal(size=11)
    found = high_against_low(alpha, 0.3)
    assert (found == SHOWN).sum() == (found == HIDDEN).sum() == 3
    assert alpha[found == SHOWN].min() > alpha[found == UNKNOWN].max()
    assert alpha[found == HIDDEN].max() < alpha[found == UNKNOWN].min()
    assert sorted(high_against_low(np.zeros(2))) == [HIDDEN, SHOWN]


@pytest.mark.parametrize(
    ("alpha", "share", "problem"),
    [
        (np.zeros(9), 0.6, "share 0.6"),
        (np.zeros(9), 0.0, "share 0"),
        (np.zeros(1), 0.2, "of 1 image "),
    ],
)
def test_bad_sides_are_refused(alpha: np.ndarray, share: float, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        high_against_low(alpha, share)


def test_folds_hold_out_every_image_once_and_its_pairs_with_it(evidence: Evidence) -> None:
    seen = []
    for fit, held in evidence.folds(4):
        assert len(fit.labels) + len(held.labels) == len(evidence.labels)
        seen.append(held.features)
        for part in (fit, held):
            np.testing.assert_array_equal(part.features[part.pairs.rows], part.pairs.hidden)
            counts = [np.sum(part.present[:, 0] == s) / len(part.labels) for s in (SHOWN, HIDDEN)]
            np.testing.assert_allclose(counts, 0.1, atol=0.04)
    everything = np.concatenate(seen)
    assert len(everything) == len(evidence.labels)
    assert len(np.unique(everything, axis=0)) == len(np.unique(evidence.features, axis=0))


def test_evidence_that_does_not_fit_together_is_refused(evidence: Evidence) -> None:
    with pytest.raises(InputError, match="give \\(90,\\) and \\(90, 1\\)"):
        replace(evidence, labels=evidence.labels[:5])
    with pytest.raises(InputError, match="output 7 has a tagged cue but no training image"):
        replace(evidence, cues=(replace(evidence.cues[0], output=7),))
    with pytest.raises(InputError, match="a pair names image 90 of 90"):
        replace(evidence, pairs=replace(evidence.pairs, rows=evidence.pairs.rows * 0 + 90))


def test_the_signal_vector_is_the_difference_of_means_and_a_covariance(
    rng: np.random.Generator,
) -> None:
    a, t = rng.normal(size=(40, 6)), np.arange(40) % 4 == 0
    found = fit_concept(a, t)
    difference = a[t].mean(axis=0) - a[~t].mean(axis=0)
    np.testing.assert_allclose(found.vector * found.length, difference, atol=1e-12)
    slope = ((a - a.mean(0)) * (t - t.mean())[:, None]).mean(0) / t.var()
    np.testing.assert_allclose(slope, difference, atol=1e-12)
    assert found.shown - found.hidden == pytest.approx(np.linalg.norm(difference))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_concept_vectors_point_to_the_cue_and_ignore_shift_and_scale(
    kind: str, rng: np.random.Generator
) -> None:
    t = np.arange(60) % 2 == 0
    a = rng.normal(size=(60, 8)) + 3.0 * t[:, None] * np.eye(8)[2]
    found = fit_concept(a, t, kind)
    assert found.separability > 0.95
    assert found.vector[2] > 0.8
    assert np.linalg.norm(found.vector) == pytest.approx(1)
    np.testing.assert_allclose(fit_concept(a + 5, t, kind).vector, found.vector, atol=2e-2)
    np.testing.assert_allclose(fit_concept(a, ~t, kind).vector, -found.vector, atol=2e-2)


@pytest.mark.parametrize("n", [30, 300])
def test_fisher_is_the_whitened_difference_on_either_route(
    n: int, rng: np.random.Generator
) -> None:
    from sklearn.covariance import ledoit_wolf

    t = np.arange(n) % 2 == 0
    a = rng.normal(size=(n, 50)) * np.linspace(0.5, 2, 50) + t[:, None]
    means = np.where(t[:, None], a[t].mean(0), a[~t].mean(0))
    within = ledoit_wolf(a - means, assume_centered=True)[0]
    slow = np.linalg.solve(within, a[t].mean(0) - a[~t].mean(0))
    found = fit_concept(a, t, "fisher").vector
    np.testing.assert_allclose(found, slow / np.linalg.norm(slow), atol=1e-8)


def test_a_fit_without_centring_depends_on_the_origin(rng: np.random.Generator) -> None:
    t = np.arange(60) % 2 == 0
    a = rng.normal(size=(60, 4)) + t[:, None]
    vectors = [fit_concept(a + s, t, "ridge", center=False).vector for s in (0, 30)]
    assert vectors[0] @ vectors[1] < 0.999


def test_bad_concepts_are_refused(rng: np.random.Generator) -> None:
    a = rng.normal(size=(6, 3))
    with pytest.raises(InputError, match="concept vector 'svn': choose signal, fisher"):
        fit_concept(a, np.arange(6) > 2, "svn")
    with pytest.raises(InputError, match="images that hide it"):
        fit_concept(a, np.ones(6, bool))
    with pytest.raises(InputError, match="the cue moves no feature"):
        fit_concept(np.ones((6, 3)), np.arange(6) > 2)
    with pytest.raises(InputError, match="two images on either side, there is 1"):
        fit_concept(a, np.arange(6) > 4, "svm")


def test_alignment_of_paired_images(evidence: Evidence) -> None:
    differences = evidence.pairs.shown - evidence.pairs.hidden
    vector = concept_of(evidence, 0, "shift").vector
    mean, error = alignment(differences, vector)
    slow = [d @ vector / np.linalg.norm(d) for d in differences]
    assert mean == pytest.approx(np.mean(slow))
    assert error == pytest.approx(np.std(slow, ddof=1) / np.sqrt(len(slow)), rel=1e-4)
    assert mean > 0.95
    assert np.isnan(alignment(differences * 0, vector)).all()


def test_maps_pasted_as_features_equal_the_mean_position_by_position(
    rng: np.random.Generator,
) -> None:
    source, target = rng.normal(size=(2, 3, 4, 2, 2)).astype(np.float32)
    where = rng.random((3, 2, 2)) > 0.5
    slow = np.zeros((3, 4))
    for n in range(3):
        for y in range(2):
            for x in range(2):
                slow[n] += (source if where[n, y, x] else target)[n, :, y, x] / 4
    np.testing.assert_allclose(pasted_features(target, source, where), slow, atol=1e-6)


def test_overlay_pairs_move_the_cue_and_keep_the_rest(rng: np.random.Generator) -> None:
    targets = rng.normal(size=(70, 5, 3, 3)).astype(np.float32)
    sources = np.zeros((2, 5, 3, 3), np.float32)
    overlays = np.zeros((2, 3, 3))
    sources[0, 1, 0, 0], overlays[0, 0, 0] = 9.0, 1.0  # the second source has no cue
    found = overlay_pairs(sources, overlays, targets, np.arange(70) + 5, cue=2)
    assert found.basis == "overlays"
    np.testing.assert_array_equal(found.rows, np.arange(70) + 5)
    np.testing.assert_array_equal(found.cue, 2)
    np.testing.assert_allclose(found.hidden, targets.mean(axis=(2, 3)), atol=1e-6)
    change = (sources[0, :, 0, 0] - targets[:, :, 0, 0]) / 9
    np.testing.assert_allclose(found.shown - found.hidden, change, atol=1e-6)
    moved = 9 * (found.control - found.hidden) + targets[:, :, 0, 0]  # another target's place
    assert (np.abs(moved[:, None] - targets[:, :, 0, 0]).max(axis=2).min(axis=1) < 1e-5).all()
    assert (np.abs(moved - targets[:, :, 0, 0]).max(axis=1) > 1e-3).all()
    np.testing.assert_array_equal(found.take(np.array([3])).control, found.control[[3]])
    nothing = overlay_pairs(sources[1:], overlays[1:], targets, np.arange(70), cue=0)
    assert len(nothing.rows) == 0
    assert joined([nothing]) is None
    assert len(joined([nothing, found, found]).rows) == len(joined([found] * 2).control) == 140
    assert joined([found, replace(found, control=None)]).control is None


def test_strong_positions_are_above_a_share_of_the_maximum() -> None:
    overlays = np.array([[[1.0, 0.29], [0.31, -2]], [[-1, -1], [-2, -3]]])
    np.testing.assert_array_equal(
        strong(overlays), [[[True, False], [True, False]], [[False, False], [False, False]]]
    )


def test_gradients_of_a_corrected_head_are_those_of_autograd(
    rng: np.random.Generator, head: Head
) -> None:
    terms = (rng.normal(size=(2, 12)), rng.normal(size=2), rng.normal(size=(3, 2)))
    corrected = with_correction(head, *terms)
    phi = rng.normal(size=(8, 12)).astype(np.float32)
    x = torch.tensor(phi, requires_grad=True)
    read, offset, write = (torch.tensor(t, dtype=torch.float32) for t in terms)
    logits = x @ torch.tensor(head.weight).T + torch.tensor(head.bias)
    (logits - torch.relu(x @ read.T - offset) @ write.T)[:, 1].sum().backward()
    np.testing.assert_allclose(corrected.piece(phi, 1)[0], x.grad.numpy(), atol=1e-5)


def test_tcav_of_both_directions_sums_to_one_and_sensitivity_is_alike(
    rng: np.random.Generator, head: Head
) -> None:
    corrected = with_correction(
        head, rng.normal(size=(2, 12)), np.zeros(2), 9 * rng.normal(size=(3, 2))
    )
    phi, v = rng.normal(size=(40, 12)), rng.normal(size=12)
    up, down = (answer(corrected, phi, s * v, 0) for s in (1, -1))
    assert up.tcav + down.tcav == pytest.approx(1)
    assert 0 < up.tcav < 1
    assert up.sensitivity == pytest.approx(down.sensitivity)
    np.testing.assert_allclose(up.slopes, -down.slopes, rtol=1e-12)


def test_a_linear_head_answers_every_image_alike(head: Head, rng: np.random.Generator) -> None:
    v = rng.normal(size=12)
    found = answer(head, rng.normal(size=(9, 12)), v, 2)
    assert found.sensitivity == pytest.approx(abs(head.weight[2] @ v), rel=1e-6)
    assert found.tcav in (0.0, 1.0)
    silent = answer(replace(head, weight=head.weight * 0), rng.normal(size=(9, 12)), v, 2)
    assert np.isnan(silent.tcav)
    assert silent.sensitivity == 0


CHOICES = {
    "the weakest that does as well": ([0.8, 0.3, 0.02, 0.02], [0.7, 0.7, 0.7, 0.7], 100, 2),
    "nothing that costs too much": ([0.8, 0.3, 0.0, 0.0], [0.7, 0.69, 0.67, 0.6], 100, 1),
    "no change if nothing helps": ([0.1, 0.1, 0.1], [0.7, 0.7, 0.7], 50, 0),
    "no change if all cost too much": ([0.9, 0.0], [0.9, 0.8], 50, 0),
    "within the error of few trials": ([0.8, 0.10, 0.05], [0.7, 0.7, 0.7], 10, 1),
    "no trials": ([np.nan, np.nan], [0.7, 0.7], 0, 0),
}


@pytest.mark.parametrize(("flips", "accuracy", "n", "row"), CHOICES.values(), ids=CHOICES)
def test_the_rule(flips: list[float], accuracy: list[float], n: int, row: int) -> None:
    assert choose(np.array(flips), np.array(accuracy), n) == row


def test_the_pareto_set_by_hand() -> None:
    flips, accuracy = np.array([0.8, 0.5, 0.6, 0.1]), np.array([0.7, 0.7, 0.65, 0.6])
    found = Sweep(np.arange(4.0), flips, accuracy, 9, "", 0)
    np.testing.assert_array_equal(found.pareto, [False, True, False, True])


@pytest.mark.parametrize("paired", [True, False])
def test_a_sweep_finds_a_strength_that_unlearns_the_cue(
    paired: bool, rng: np.random.Generator, head: Head
) -> None:
    weight = head.weight.copy()
    weight[:, 0] = (6.0, -2.0, -2.0)
    leaning = replace(head, weight=weight, bias=np.zeros(3, np.float32))
    evidence = make_evidence(rng, leaning, n=180, pairs=paired)
    found = sweep("pclarc", leaning, evidence)
    assert found.flips.shape == found.accuracy.shape == found.strengths.shape == (8,)
    assert found.n > 50
    assert (found.basis == "cue masks") == paired
    assert found.flips[0] > 0.5
    assert found.flips[found.chosen] < 0.1
    assert found.strength == found.strengths[found.chosen] > 0


def test_a_fold_refits_a_fitted_probe_alone(evidence: Evidence, head: Head) -> None:
    again = fold_head(head, evidence)
    right = again.logits(evidence.features).argmax(axis=1) == evidence.labels
    assert right.mean() > 0.9
    missing = evidence.take(np.flatnonzero(evidence.labels != 2))
    assert fold_head(head, missing) is head


def test_a_sweep_of_many_images_keeps_those_that_speak_of_the_cue(
    rng: np.random.Generator, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = make_evidence(rng, head, n=300, pairs=True)
    few = evidence.pairs.take(np.arange(20))
    evidence = replace(evidence, pairs=few)
    monkeypatch.setattr("core.corrections.choice.LIMIT", 250)
    seen = _sampled(evidence)
    assert len(seen.labels) <= 252
    assert (seen.labels == 0).sum() == 100
    assert len(seen.pairs.rows) == 20
    np.testing.assert_array_equal(seen.features[seen.pairs.rows], few.hidden)


def test_trials_without_pairs_move_images_by_real_differences(
    rng: np.random.Generator, head: Head
) -> None:
    evidence = make_evidence(rng, head)
    trials = trials_of(evidence, evidence)
    assert len(trials.shown) == 60
    highs = evidence.features[evidence.rows(0, SHOWN)]
    lows = evidence.features[evidence.rows(0, HIDDEN)]
    moved = trials.shown[0] - trials.hidden[0]
    distance = np.abs((highs[:, None] - lows[None]) - moved).max(axis=2)
    assert distance.min() < 1e-4
    unknown = replace(evidence, present=np.full_like(evidence.present, UNKNOWN))
    with pytest.raises(InputError, match="give a strength"):
        trials_of(unknown, unknown)


def test_of_many_cues_no_more_images_are_moved_than_are_needed(
    rng: np.random.Generator, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = make_evidence(rng, head)
    every = trials_of(evidence, evidence)
    monkeypatch.setattr("core.corrections.choice.MOVED", 25)
    some = trials_of(evidence, evidence)
    assert len(some.shown) == 25
    of_every = {row.tobytes() for row in every.hidden}
    assert len({row.tobytes() for row in some.hidden} & of_every) == 25


def test_accuracy_without_the_cue_counts_only_images_known_to_hide_it(
    evidence: Evidence, head: Head
) -> None:
    right, labels = clean(head, evidence)
    assert (labels == 0).sum() == len(evidence.rows(0, HIDDEN))
    assert (labels == 1).sum() == (evidence.labels == 1).sum()
    assert len(right) == len(labels)


def test_pairs_of_one_cue_keep_their_images() -> None:
    pairs = Pairs(np.eye(4), np.zeros((4, 4)), np.array([0, 1, 0, 1]), rows=np.arange(4))
    np.testing.assert_array_equal(pairs.of(1).rows, [1, 3])
    np.testing.assert_array_equal(pairs.of(1).shown, np.eye(4)[[1, 3]])
