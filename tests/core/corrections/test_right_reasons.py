"""RR-ClArC: the penalty's forms, its closed form, and what training leaves of the cue."""

import numpy as np
import pytest
import torch

from benchmarks.guidance import corrected
from core.corrections.layers import find_layer, seen
from core.corrections.right_reasons import (
    FORMS,
    TARGETS,
    Penalty,
    gradient_penalty,
    layer_vector,
    right_reasons,
    scalar_target,
)
from core.corrections.training import Recipe
from core.errors import InputError
from core.trials.examples import Examples
from tests.tiny import FEATURES, load_tiny


@pytest.fixture
def examples(rng):
    pixels = rng.integers(0, 255, (24, 32, 32, 3), dtype=np.uint8)
    pixels[:8, :12, :12] = (255, 0, 0)  # the cue of class 0
    return Examples(pixels, np.repeat([0, 1, 2], 8))


def slopes_of(model, layer, images, target, labels, signs=None):
    with seen(model.network, layer, images) as (logits, tensor):
        return torch.autograd.grad(scalar_target(logits, labels, target, signs), tensor)[0]


def images_of(model, examples, n=6):
    return model.normalise(torch.from_numpy(examples.pixels[:n]))


def closed_form(weight, units, positions):
    """The penalty at a layer that is pooled into the linear head: ||W V||^2 / (h w)^2.

    Equals the expectation of ``l2`` with random signs.
    """
    return (weight @ units.T).square().sum() / positions**2


def test_closed_form_equals_double_backward_summed_over_classes(examples, rng):
    """At the pooled layer every position has the slope w_k / (h w), whatever the image."""
    model = load_tiny("x")
    layer, images = find_layer(model, "act"), images_of(model, examples)
    units = torch.tensor(rng.normal(size=(2, FEATURES)), dtype=torch.float32)
    units = units / units.norm(dim=1, keepdim=True)
    weight = model.network.fc.weight.requires_grad_()
    found = torch.zeros(())
    for k in range(3):
        labels = torch.full((6,), k)
        with seen(model.network, layer, images) as (logits, tensor):
            target = scalar_target(logits, labels, "target_logit")
            slopes = torch.autograd.grad(target, tensor, create_graph=True)[0]
        found = found + gradient_penalty(slopes, units)
    expected = closed_form(weight, units, positions=64)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    ours, theirs = (torch.autograd.grad(p, weight)[0] for p in (found, expected))
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-9)
    model.network.requires_grad_(False)


def test_random_signs_estimate_the_sum_over_classes_and_the_plain_sum_does_not(examples):
    model = load_tiny("x")
    layer, images = find_layer(model, "act"), images_of(model, examples, 24)
    units = torch.eye(FEATURES)[:1]
    labels, signs = torch.zeros(24, dtype=torch.long), torch.Generator().manual_seed(0)
    drawn = [
        float(
            gradient_penalty(
                slopes_of(model, layer, images, "all_logits_random", labels, signs), units
            )
        )
        for _ in range(60)
    ]
    weight = model.network.fc.weight
    expected = float(closed_form(weight, units, positions=64))
    assert np.mean(drawn) == pytest.approx(expected, rel=0.1)
    plain = gradient_penalty(slopes_of(model, layer, images, "all_logits", labels), units)
    assert float(plain) == pytest.approx(float(weight[:, 0].sum() ** 2) / 64**2, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_forms_equal_slow_replicas(form, rng):
    slopes = torch.tensor(rng.normal(size=(2, 4, 3, 3)))
    unit = torch.tensor([[0.6, 0.8, 0.0, 0.0]], dtype=torch.float64)
    values = []
    for image in slopes:
        for g in image.flatten(1).T:
            dot = float(g @ unit[0])
            length = float(g.norm())
            values.append({"l2": dot**2, "l1": abs(dot), "cosine": abs(dot) / length}[form])
    assert float(gradient_penalty(slopes, unit, form)) == pytest.approx(np.mean(values))
    scaled = float(gradient_penalty(5 * slopes, unit, form))
    assert scaled / np.mean(values) == pytest.approx({"l2": 25, "l1": 5, "cosine": 1}[form])


def test_no_gradient_costs_nothing_in_any_form():
    units = torch.eye(4)[:1]
    for form in FORMS:
        slopes = torch.zeros(2, 4, 3, 3, requires_grad=True)
        penalty = gradient_penalty(slopes, units, form)
        assert float(penalty.detach()) == 0
        assert bool(torch.isfinite(torch.autograd.grad(penalty, slopes)[0]).all())


@pytest.mark.parametrize("target", TARGETS)
def test_targets_equal_their_definition(target, rng):
    logits, labels = torch.tensor(rng.normal(size=(4, 3))), torch.tensor([0, 2, 1, 1])
    found = float(scalar_target(logits, labels, target, torch.Generator().manual_seed(3)))
    signs = torch.randint(0, 2, (4, 3), generator=torch.Generator().manual_seed(3)) * 2 - 1
    rows = logits.numpy()
    chances = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    expected = {
        "max_logit": rows.max(axis=1).sum(),
        "target_logit": rows[np.arange(4), labels].sum(),
        "all_logits": rows.sum(),
        "all_logits_random": (rows * signs.numpy()).sum(),
        "logprobs": np.log(chances + 1e-5).mean(axis=1).sum(),
    }[target]
    assert found == pytest.approx(expected)


def test_a_layer_vector_is_the_difference_of_means(examples):
    model = load_tiny("x")
    shown = examples.labels == 0
    maps = model.encode(torch.from_numpy(examples.pixels)).features.numpy()
    difference = maps[shown].mean(axis=0) - maps[~shown].mean(axis=0)
    found = layer_vector(model, examples, shown, "act", size=5)
    assert found == pytest.approx(difference / np.linalg.norm(difference), abs=1e-5)
    assert layer_vector(model, examples, ~shown, "act") == pytest.approx(-found, abs=1e-5)


@pytest.mark.parametrize("parts", ["head", "after", "all"])
def test_a_heavier_penalty_leaves_less_of_the_cue(parts, examples):
    model = load_tiny("x")
    vector = layer_vector(model, examples, examples.labels == 0)
    left = []
    for weight in (0.0, 1e2, 1e4):
        recipe = Recipe(epochs=6, rate=1e-2, parts=parts)
        trained = right_reasons(model, examples, vector, Penalty(weight), recipe, held=examples)
        left.append(np.linalg.norm(corrected(model, trained.state).weight @ vector))
    assert left[0] > left[1] > left[2]
    assert trained.history[-1].keys() == {"loss", "classification", "penalty", "accuracy"}


def test_without_weight_it_is_plain_fine_tuning(examples):
    model = load_tiny("x")
    recipe = Recipe(epochs=2, rate=1e-2)
    vectors = np.eye(FEATURES, dtype=np.float32)[:2]
    states = [
        right_reasons(model, examples, vector, Penalty(0.0), recipe).state for vector in vectors
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda m, e: right_reasons(m, e, np.ones(5)), "the layer has 12 channels"),
        (lambda m, e: right_reasons(m, e, np.zeros(12)), "a direction is zero"),
        (lambda m, e: Penalty(form="l3"), "form 'l3'"),
        (lambda m, e: Penalty(target="allrand"), "target 'allrand'"),
        (lambda m, e: Penalty(weight=-1), "weight -1"),
        (lambda m, e: layer_vector(m, e, np.ones(24, bool)), "one side is none"),
        (lambda m, e: layer_vector(m, e, np.arange(24) < 3, "conw"), "no layer 'conw'"),
    ],
)
def test_wrong_input_is_named(build, message, examples):
    with pytest.raises(InputError, match=message):
        build(load_tiny("x"), examples)
