"""Guided training: what it moves, and what a loss that is blind leaves as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.guidance import corrected, measured
from core.corrections.guidance import (
    Guidance,
    balanced_weight,
    batch_of,
    guide,
    localisation_loss,
)
from core.corrections.input_gradients import attribution
from core.corrections.layers import find_layer
from core.corrections.localisation import (
    LOSSES,
    guidance_loss,
)
from core.corrections.training import Recipe, trainable_copy, with_head
from core.errors import InputError
from core.models.linear import Head
from core.trials.examples import Examples
from tests.core.corrections.test_guidance import as_model
from tests.tiny import load_tiny


@pytest.fixture
def examples(rng):
    pixels = rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    objects = np.zeros((12, 32, 32), bool)
    objects[:, 8:20, 8:20] = True
    return Examples(pixels, np.arange(12) % 3, objects, None, np.arange(12) % 2)


@pytest.mark.parametrize("target", ["margin", "logit"])
def test_training_explains_what_it_was_asked_to(target, examples):
    model, whole = load_tiny("x"), Recipe(epochs=1, batch_size=12)
    asked = Guidance("energy", layer="input", target=target)
    images, labels = batch_of(model, examples, np.arange(12))
    maps, _ = attribution(model.network, images, labels, find_layer(model, "input"), target=target)
    masks = torch.from_numpy(examples.objects).float()
    expected = float(guidance_loss(maps.detach(), masks, "energy").mean())
    first = guide(model, examples, asked, whole).history[0]["localisation"]  # before the one step
    assert first == pytest.approx(expected, rel=1e-5)


def test_energy_moves_evidence_onto_the_object_and_leaves_the_model_alone(examples):
    model = load_tiny("x")
    before, digest = measured(model, examples), model.weights_hash
    seen = []
    guided = guide(
        model, examples, recipe=Recipe(epochs=10, rate=1e-2), held=examples, report=seen.append
    )
    after = measured(corrected(model, guided.state), examples)
    assert after["epg"] > before["epg"] + 0.02
    assert after["epg"] == pytest.approx(guided.history[-1]["epg"], abs=1e-5)
    assert before["area"] == pytest.approx(144 / 1024)
    assert model.weights_hash == digest == load_tiny("x").weights_hash
    assert not any(p.requires_grad for p in model.network.parameters())
    assert seen[-1].done == seen[-1].total == 10
    for name in ("loss", "localisation", "accuracy", "worst_group", "epg"):
        assert f"{name} 0." in seen[-1].figures or f"{name} 1" in seen[-1].figures


def test_training_is_the_same_twice_and_without_a_report(examples):
    model = load_tiny("x")
    states = [
        guide(model, examples, recipe=Recipe(epochs=2, rate=1e-2), report=report).state
        for report in (lambda _: None, lambda progress: progress.figures)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def ground_pictures(count, together, seed):
    """Squares of two colours (red more or less) on two grounds (blue more or less), 32 pixels.

    ``together``: the ground goes with the square; else all four combinations are as frequent.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    grounds = labels if together else np.arange(count) // 2 % 2
    pixels = rng.integers(100, 150, (count, 32, 32, 3))
    masks = np.zeros((count, 32, 32), bool)
    for i in range(count):
        top, left = rng.integers(0, 5, 2) * 4
        masks[i, top : top + 12, left : left + 12] = True
        pixels[i, ..., 0] += np.where(masks[i], 80 * labels[i] - 40, 0)
        pixels[i, ..., 2] += np.where(masks[i], 0, 160 * grounds[i] - 80)
    clipped = np.clip(pixels, 0, 255).astype(np.uint8)
    return Examples(clipped, labels, masks, None, 2 * labels + grounds)


class Squares(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 16, 4, 4), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 2)

    def forward(self, images):
        return self.fc(self.pool(self.act(self.conv(images))).flatten(1))


LONG = Recipe(epochs=40, rate=1e-2)


@pytest.fixture(scope="module")
def misled():
    """A network that was trained where the ground goes with the square, and those pictures."""
    shown, model = ground_pictures(64, True, 0), as_model(Squares())
    return corrected(model, guide(model, shown, Guidance(weight=0.0), LONG).state), shown


def test_without_guidance_the_ground_decides_though_the_square_could(misled):
    model, _ = misled
    test, other = ground_pictures(64, False, 1), ground_pictures(64, False, 2)
    assert measured(model, test)["worst_group"] == 0
    able = guide(model, other, Guidance(weight=0.0), LONG).state
    assert measured(corrected(model, able), test)["worst_group"] == 1


@pytest.mark.parametrize(
    ("kind", "fraction"), [("energy", 1.0), ("l1", 1.0), ("rrr", 1.0), ("energy", 0.1)]
)
def test_guidance_at_the_last_layer_moves_the_decision_to_the_object(kind, fraction, misled):
    model, shown = misled
    guided = corrected(model, guide(model, shown, Guidance(kind, fraction=fraction), LONG).state)
    test = ground_pictures(64, False, 1)
    before, after = measured(model, test), measured(guided, test)
    assert before["worst_group"] == 0
    assert after["worst_group"] > 0.9
    assert after["epg"] > before["epg"] + 0.15


def test_ppce_alone_leaves_the_ground_in_charge_since_it_is_blind_to_it(misled):
    model, shown = misled
    guided = guide(model, shown, Guidance("ppce"), LONG)
    assert guided.history[-1]["localisation"] < 0.9 * guided.history[0]["localisation"]
    scores = measured(corrected(model, guided.state), ground_pictures(64, False, 1))
    assert scores["worst_group"] < 0.1


@pytest.mark.parametrize("kind", LOSSES)
def test_a_balanced_weight_pulls_as_hard_as_energy(kind, misled):
    model, shown = misled
    weight = balanced_weight(model, shown, Guidance(kind), LONG)
    pulls = {}
    for loss in ("energy", kind):
        network = trainable_copy(model)
        mean = localisation_loss(
            network, model, shown, np.arange(64), Guidance(loss), find_layer(model, "last")
        )
        weights = list(network.parameters())
        slopes = torch.autograd.grad(mean, weights, allow_unused=True)
        pulls[loss] = torch.cat([s.flatten() for s in slopes if s is not None]).norm()
    assert weight * float(pulls[kind]) == pytest.approx(float(pulls["energy"]), rel=1e-4)


def test_no_weight_can_be_found_where_nothing_pulls(misled):
    model, shown = misled
    zeros, names = np.zeros((2, 16), np.float32), ["a", "b"]
    silent = with_head(model, Head(zeros, zeros[:, 0], names, names, "fit"))
    with pytest.raises(InputError, match="no gradient of the localisation at the layer last"):
        balanced_weight(silent, shown, Guidance("l1"))
