"""Every method of the head: identities, slow replicas, invariants, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.corrections.clarc import to_levels
from core.corrections.concepts import concept_of
from core.corrections.evidence import HIDDEN, SHOWN, Evidence
from core.corrections.head_methods import mitigate
from core.corrections.methods import METHODS
from core.corrections.pooled import pooled_concept
from core.corrections.rectified import with_correction, without_directions
from core.corrections.rrclarc import FORMS, TARGETS, automatic, closed, rr_penalty, rrclarc
from core.corrections.softmax import feature_scale, fit_softmax, rebalanced, sample_rows
from core.corrections.tuning import STOPPING, tune_head, tuning_rows
from core.errors import InputError
from core.models.linear import Head
from tests.core.corrections.mitigation_fixture import make_evidence, make_head


@pytest.fixture
def head(rng: np.random.Generator) -> Head:
    return make_head(rng)


@pytest.fixture
def evidence(rng: np.random.Generator, head: Head) -> Evidence:
    return make_evidence(rng, head, pairs=True)


@pytest.fixture
def grouped(evidence: Evidence) -> Evidence:
    """The same where a few images of the other classes show the cue, too."""
    features = evidence.features.copy()
    for k in (1, 2):
        features[np.flatnonzero(evidence.labels == k)[:6], 0] += 4
    return replace(evidence, features=features)


HEADS = [name for name, method in METHODS.items() if not method.of_network]


@pytest.mark.parametrize("name", HEADS)
def test_no_strength_is_no_change_and_the_published_one_changes(
    name: str, head: Head, grouped: Evidence
) -> None:
    evidence = grouped
    before = head.logits(evidence.features)
    none = mitigate(name, head, evidence, METHODS[name].strengths[0])
    np.testing.assert_allclose(none.logits(evidence.features), before, atol=1e-4)
    after = mitigate(name, head, evidence, METHODS[name].published)
    assert np.abs(after.logits(evidence.features) - before).max() > 1e-3
    assert (after.outputs, after.names, after.mode) == (head.outputs, head.names, head.mode)
    assert after.weight.dtype == after.bias.dtype == np.float32
    again = mitigate(name, head, evidence, METHODS[name].published)
    np.testing.assert_array_equal(again.logits(evidence.features), after.logits(evidence.features))


@pytest.mark.parametrize("name", HEADS)
def test_every_option_of_every_method_runs(name: str, head: Head, evidence: Evidence) -> None:
    for option, values in METHODS[name].options.items():
        for value in values:
            more = {"fit": "refit"} if option in ("target", "form") else {}
            strength = METHODS[name].strengths[1]
            found = mitigate(name, head, evidence, strength, **{option: value, **more})
            assert np.isfinite(found.logits(evidence.features)).all()


@pytest.mark.parametrize("name", METHODS)
def test_published_options_are_options(name: str) -> None:
    method = METHODS[name]
    for option, value in method.published_options.items():
        assert value in method.options[option][1:]


@pytest.mark.parametrize("cues", [1, 3])
def test_fused_spufix_equals_the_loop_over_images(
    cues: int, rng: np.random.Generator, head: Head
) -> None:
    evidence = make_evidence(rng, head, cues=cues)
    units = np.stack([cue.unit for cue in evidence.cues], axis=1)
    slow = head.logits(evidence.features).astype(np.float64)
    for n, phi in enumerate(evidence.features):
        psi = evidence.cues[0].weight * phi - evidence.cues[0].mean
        coordinates = np.linalg.solve(units.T @ units, units.T @ psi)
        slow[n, 0] -= sum(max(c * u.sum(), 0) for c, u in zip(coordinates, units.T, strict=True))
    fast = mitigate("spufix", head, evidence, 1.0).logits(evidence.features)
    np.testing.assert_allclose(fast, slow, atol=1e-5)


def test_spufix_never_raises_its_class_and_touches_no_other(head: Head, evidence: Evidence) -> None:
    before = head.logits(evidence.features)
    for reference in ("mean", "low"):
        after = mitigate("spufix", head, evidence, 1.0, reference=reference)
        change = after.logits(evidence.features) - before
        assert change[:, 0].max() <= 1e-6
        np.testing.assert_array_equal(change[:, 1:], 0)
    low = mitigate("spufix", head, evidence, 1.0, reference="low").logits(evidence.features)
    mean = mitigate("spufix", head, evidence, 1.0).logits(evidence.features)
    assert low[:, 0].mean() < mean[:, 0].mean()


def test_a_cue_tagged_twice_is_taken_off_once(rng: np.random.Generator, head: Head) -> None:
    once = make_evidence(rng, head)
    twice = replace(once, cues=once.cues * 2, present=np.repeat(once.present, 2, axis=1))
    found = [mitigate("spufix", head, e, 1.0).logits(once.features) for e in (once, twice)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_projected_head_sees_every_image_at_its_level_and_again_changes_nothing(
    rng: np.random.Generator, head: Head, evidence: Evidence
) -> None:
    vectors, levels = rng.normal(size=(2, 12)), np.array([0.3, -1.0])
    moved = to_levels(evidence.features, vectors, levels)
    np.testing.assert_allclose(moved @ vectors.T, np.tile(levels, (len(moved), 1)), atol=1e-5)
    once = without_directions(head, vectors, levels)
    expected = moved @ head.weight.T + head.bias
    np.testing.assert_allclose(once.logits(evidence.features), expected, atol=1e-4)
    twice = without_directions(once, vectors, levels)
    np.testing.assert_allclose(twice.weight, once.weight, atol=1e-5)
    np.testing.assert_allclose(twice.bias, once.bias, atol=1e-5)


def test_projecting_what_the_head_ignores_changes_nothing(head: Head) -> None:
    blind = replace(head, weight=np.where(np.arange(12) == 3, 0, head.weight))
    after = without_directions(blind, np.eye(12)[3:4], np.array([5.0]))
    np.testing.assert_allclose(after.weight, blind.weight, atol=1e-7)
    np.testing.assert_allclose(after.bias, blind.bias, atol=1e-7)


def test_the_reactive_projection_equals_the_projection_above_the_level_alone(
    head: Head, evidence: Evidence
) -> None:
    concept = pooled_concept(evidence, 0)
    above = evidence.features @ concept.vector > concept.hidden + 1e-3
    full, reactive = (
        mitigate(name, head, evidence, 1.0, bias="kept").logits(evidence.features)
        for name in ("pclarc", "rclarc")
    )
    plain = head.logits(evidence.features)
    np.testing.assert_allclose(reactive[above], full[above], atol=1e-4)
    below = evidence.features @ concept.vector < concept.hidden - 1e-3
    np.testing.assert_array_equal(reactive[below], plain[below])


def test_a_projection_takes_the_mean_shift_from_an_average_image_with_the_cue(
    head: Head, evidence: Evidence
) -> None:
    found = mitigate("projection", head, evidence, 1.0, write="signal", bias="kept")
    rows = {state: evidence.rows(0, state) for state in (SHOWN, HIDDEN)}
    high, low = (evidence.features[r].mean(axis=0, keepdims=True) for r in rows.values())
    np.testing.assert_allclose(found.logits(high), head.logits(low), atol=1e-4)


def test_the_closed_penalty_is_the_gradient_penalty_of_autograd(rng: np.random.Generator) -> None:
    weight = torch.tensor(rng.normal(size=(3, 12)), requires_grad=True)
    vectors = torch.tensor(rng.normal(size=(2, 12)))
    phi = torch.tensor(rng.normal(size=(5, 12)), requires_grad=True)
    slow = torch.zeros(())
    for k in range(3):
        (g,) = torch.autograd.grad((phi @ weight[k]).sum(), phi, create_graph=True)
        slow = slow + ((g @ vectors.T) ** 2).mean(0).sum()
    slow.backward()
    value, slope = closed(vectors.numpy(), 1.0)(weight.detach().numpy())
    assert value == pytest.approx(slow.item(), rel=1e-5)
    np.testing.assert_allclose(slope, weight.grad.numpy(), rtol=1e-5)


def test_random_signs_estimate_the_penalty_over_all_classes(rng: np.random.Generator) -> None:
    weight, vectors = torch.tensor(rng.normal(size=(3, 12))), torch.tensor(rng.normal(size=(1, 12)))
    signs = torch.tensor(rng.choice([-1.0, 1.0], (200_000, 3)))
    estimate = float(rr_penalty(signs @ weight, vectors, "l2"))
    assert estimate == pytest.approx(closed(vectors.numpy(), 1.0)(weight.numpy())[0], rel=0.02)


@pytest.mark.parametrize("target", TARGETS[1:])
@pytest.mark.parametrize("form", FORMS)
def test_every_target_and_form_is_the_penalty_of_autograd(
    target: str, form: str, rng: np.random.Generator, head: Head, evidence: Evidence
) -> None:
    x, labels = evidence.features[:20], evidence.labels[:20]
    vector = rng.normal(size=(1, 12))
    found = automatic(vector, 1.0, x, labels, head, target, form)(head.weight.astype(np.float64))[0]
    phi = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = phi @ torch.tensor(head.weight, dtype=torch.float64).T + torch.tensor(head.bias)
    chosen = {
        "all_logits": logits.sum(1),
        "max_logit": logits.max(1).values,
        "target_logit": logits[torch.arange(20), torch.tensor(labels)],
        "logprobs": torch.log(logits.softmax(1) + 1e-5).mean(1),
    }[target]
    (g,) = torch.autograd.grad(chosen.sum(), phi)
    step = (g @ torch.tensor(vector).T)[:, 0]
    if form == "cosine":
        step = step / (g.norm(dim=1) * np.linalg.norm(vector))
    slow = (step**2).mean() if form == "l2" else step.abs().mean()
    assert found == pytest.approx(float(slow), rel=1e-5)


def test_a_kept_head_is_the_least_change_under_the_penalty(
    rng: np.random.Generator, head: Head, evidence: Evidence
) -> None:
    found = rrclarc(head, evidence, 7.0, cav="signal").weight.astype(np.float64)
    v = concept_of(evidence, 0, "signal").vector[None]

    def cost(weight: np.ndarray) -> float:
        return float(np.sum((weight - head.weight) ** 2) + 7.0 * np.sum((weight @ v.T) ** 2))

    nearby = [cost(found + 1e-2 * rng.normal(size=found.shape)) for _ in range(50)]
    assert min(nearby) > cost(found)


@pytest.mark.parametrize("fit", ["kept", "refit"])
def test_a_stronger_penalty_leaves_less_of_the_answer(
    fit: str, head: Head, evidence: Evidence
) -> None:
    v = concept_of(evidence, 0, "signal").vector
    sizes = [
        float(np.linalg.norm(rrclarc(head, evidence, s, cav="signal", fit=fit).weight @ v))
        for s in (0.01, 0.1, 1.0, 10.0, 100.0)
    ]
    assert all(a > b for a, b in zip(sizes, sizes[1:], strict=False))


def test_a_refit_without_penalty_is_the_softmax_optimum(head: Head, evidence: Evidence) -> None:
    weight, bias = fit_softmax(evidence.features, evidence.labels, head, anchor=1e-3)
    x = torch.tensor(evidence.features, dtype=torch.float64)
    w, b = (torch.tensor(a, requires_grad=True) for a in (weight, bias))
    loss = torch.nn.functional.cross_entropy(x @ w.T + b, torch.tensor(evidence.labels))
    scale = feature_scale(evidence.features)
    pull = ((w - torch.tensor(head.weight)) ** 2).sum() * scale**2 * 1e-3 / 2
    (loss + pull).backward()
    assert w.grad.abs().max() < 1e-3
    assert b.grad.abs().max() < 1e-3


def test_a_refit_works_around_a_correction_that_the_head_carries(
    head: Head, evidence: Evidence
) -> None:
    corrected = mitigate("spufix", head, evidence, 1.0)
    found = mitigate("rrclarc", corrected, evidence, 1.0, fit="refit")
    assert found.correction is corrected.correction
    right = (found.logits(evidence.features).argmax(axis=1) == evidence.labels).mean()
    assert right > 0.95


def test_rebalanced_intercepts_are_the_least_loss_and_an_equal_head_keeps_its_own(
    head: Head, evidence: Evidence
) -> None:
    x, y = evidence.features, evidence.labels
    np.testing.assert_array_equal(rebalanced(head, head, x, y).bias, head.bias)
    best = fitted_intercepts(head, x, y)
    lower = replace(best, bias=best.bias - np.array([9, 0, 0], np.float32))
    again = rebalanced(lower, best, x, y)
    assert (
        cross_entropy(again, x, y) < cross_entropy(best, x, y) + 5e-3 < cross_entropy(lower, x, y)
    )
    np.testing.assert_array_equal(again.weight, best.weight)


def cross_entropy(head: Head, x: np.ndarray, y: np.ndarray) -> float:
    logits = torch.tensor(head.logits(x))
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(y)))


def test_rebalancing_leaves_outputs_without_images_in_place(head: Head, evidence: Evidence) -> None:
    rows = np.flatnonzero(evidence.labels != 2)
    lower = replace(head, bias=head.bias - np.array([9, 0, 0], np.float32))
    found = rebalanced(lower, head, evidence.features[rows], evidence.labels[rows])
    assert found.bias[2] == lower.bias[2]
    assert found.bias[:2].sum() == pytest.approx(lower.bias[:2].sum(), abs=1e-4)
    assert found.bias[0] > lower.bias[0]


def fitted_intercepts(head: Head, x: np.ndarray, y: np.ndarray) -> Head:
    """Intercepts by plain gradient descent."""
    bias = head.bias.astype(np.float64)
    for _ in range(3000):
        z = x @ head.weight.T + bias
        p = np.exp(z - z.max(1, keepdims=True))
        bias -= 2.0 * (p / p.sum(1, keepdims=True) - np.eye(3)[y]).mean(0)
    return replace(head, bias=bias.astype(np.float32))


def test_corrections_stack_as_sums(rng: np.random.Generator, head: Head) -> None:
    parts = [
        (rng.normal(size=(m, 12)), rng.normal(size=m), rng.normal(size=(3, m))) for m in (1, 2)
    ]
    phi, plain = rng.normal(size=(6, 12)).astype(np.float32), None
    plain = head.logits(phi)
    both = with_correction(with_correction(head, *parts[0]), *parts[1]).logits(phi)
    alone = [with_correction(head, *part).logits(phi) - plain for part in parts]
    np.testing.assert_allclose(both, plain + alone[0] + alone[1], atol=1e-4)


def test_no_epoch_of_tuning_leaves_the_head(head: Head, evidence: Evidence) -> None:
    found = tune_head(head, evidence, epochs=0)
    np.testing.assert_array_equal(found.head.weight, head.weight)
    assert len(found.gaps) == 1


def test_tuning_equals_steps_written_out(head: Head, evidence: Evidence) -> None:
    found = tune_head(head, evidence, epochs=2, batch=10_000, gap=None, rate=0.01)
    x = evidence.features[found.rows].astype(np.float64)
    weight, bias = head.weight.astype(np.float64), head.bias.astype(np.float64)
    pace = [np.zeros_like(weight), np.zeros_like(bias)]
    for _ in range(2):
        logits = x @ weight.T + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p = p / p.sum(1, keepdims=True) - np.eye(3)[evidence.labels[found.rows]]
        pace = [0.9 * pace[0] + p.T @ x / len(x), 0.9 * pace[1] + p.mean(0)]
        weight, bias = weight - 0.01 * pace[0], bias - 0.01 * pace[1]
    np.testing.assert_allclose(found.head.weight, weight, atol=1e-4)
    np.testing.assert_allclose(found.head.bias, bias, atol=1e-4)


def test_tuning_and_stopping_share_no_image(head: Head, evidence: Evidence) -> None:
    found = tune_head(head, evidence, epochs=0)
    _, stop = next(iter(evidence.fold_rows(STOPPING)))
    assert len(found.rows) > 10
    assert not set(found.rows) & set(stop)


def test_tuning_takes_low_images_replays_others_and_on_request_high_ones(
    head: Head, evidence: Evidence
) -> None:
    low, contrast = (tuning_rows(evidence, v) for v in ("low", "contrast"))
    own = low[evidence.labels[low] == 0]
    np.testing.assert_array_equal(own, evidence.rows(0, HIDDEN))
    assert set(evidence.labels[low]) == {0, 1, 2}
    assert set(low) < set(contrast)
    added = sorted(set(contrast) - set(low))
    assert (evidence.labels[added] != 0).all()


def test_a_sample_keeps_every_class(rng: np.random.Generator) -> None:
    labels = np.sort(rng.permutation(np.repeat([0, 1, 2], [500, 400, 3])))
    rows = sample_rows(labels, 90, 0)
    assert len(rows) <= 91
    assert set(labels[rows]) == {0, 1, 2}
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(sample_rows(labels, 1000, 0), np.arange(903))


@pytest.mark.parametrize(
    ("name", "strength", "options", "problem"),
    [
        ("magic", 1.0, {}, "no method 'magic'; choose spufix"),
        ("spufix", 1.5, {}, "strength 1.5 of spufix: must be from 0 to 1"),
        ("spufix", float("nan"), {}, "strength nan"),
        ("spufix", 1.0, {"reference": "high"}, "no option reference=high; it has reference=mean"),
        ("pclarc", 1.0, {"size": 3}, "no option size=3"),
        ("rrclarc", 1.0, {"form": "l1"}, "fit=kept has target"),
    ],
)
def test_bad_calls_name_the_remedy(
    name: str, strength: float, options: dict, problem: str, head: Head, evidence: Evidence
) -> None:
    with pytest.raises(InputError, match=problem):
        mitigate(name, head, evidence, strength, **options)


def test_methods_say_what_they_lack(head: Head, evidence: Evidence) -> None:
    nothing = replace(evidence, cues=(), present=evidence.present[:, :0], pairs=None)
    with pytest.raises(InputError, match="tag a candidate as spurious first"):
        mitigate("spufix", head, nothing, 1.0)
    unknown = replace(evidence, present=np.full_like(evidence.present, -1), pairs=None)
    for name, options in (("spufix", {"reference": "low"}), ("head", {}), ("pclarc", {})):
        with pytest.raises(InputError, match="hide"):
            mitigate(name, head, unknown, 1.0, **options)
    for kind in ("shift", "shifts"):
        with pytest.raises(InputError, match="with and without the cue"):
            mitigate("rrclarc", head, replace(evidence, pairs=None), 1.0, cav=kind)
