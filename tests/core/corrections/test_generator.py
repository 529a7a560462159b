"""The generator of independent mechanisms and the small classifier, on tiny trainings."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from core.corrections.generator import (
    Schedule,
    Style,
    Weights,
    area_hinge,
    binary_entropy,
    generate,
    train_generator,
)
from core.corrections.invariant import predict, train_classifier
from core.corrections.mechanisms import EDGE, LATENT, Discriminator, Generator, Parts
from core.errors import InputError


@pytest.fixture(scope="module")
def style():
    return Style()


@pytest.fixture
def patches(rng):
    """Class 0 is red, class 1 blue; the shape says nothing."""
    labels = np.arange(40) % 2
    pixels = np.zeros((40, 32, 32, 3), np.uint8)
    pixels[np.arange(40), :, :, 2 * labels] = 200
    return pixels + rng.integers(0, 20, pixels.shape, dtype=np.uint8), labels


def test_binary_entropy_is_one_bit_in_the_middle_and_none_at_the_ends():
    assert float(binary_entropy(torch.full((2, 1, 4, 4), 0.5))) == pytest.approx(1)
    assert float(binary_entropy(torch.tensor([0.0, 1.0]))) == 0
    assert float(binary_entropy(torch.tensor([0.25, 0.75]))) == pytest.approx(0.8113, abs=1e-4)


def test_the_area_hinge_is_zero_inside_its_interval():
    masks = torch.stack([torch.full((1, 4, 4), area) for area in (0.0, 0.2, 0.5, 0.9)])
    assert float(area_hinge(masks[1:3], 0.1, 0.5)) == 0
    assert float(area_hinge(masks, 0.1, 0.5)) == pytest.approx((0.1 + 0.4) / 4)


def test_parts_are_composed_by_the_mask():
    front, back = torch.ones(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)
    mask = torch.rand(2, 1, 32, 32)
    assert torch.allclose(Parts(mask, front, back).image, mask.expand(-1, 3, -1, -1))


def test_mechanisms_depend_on_their_own_label_alone():
    made = Generator(classes=3).eval()
    one, two = torch.zeros(2, dtype=torch.long), torch.tensor([1, 2])

    def parts(shape, texture, background):
        torch.manual_seed(0)
        with torch.no_grad():
            return made(shape, texture, background, torch.zeros(2, LATENT))

    base, other = parts(one, one, one), parts(two, one, one)
    assert not torch.equal(base.mask, other.mask)
    assert torch.equal(base.foreground, other.foreground)
    assert torch.equal(base.background, other.background)
    assert torch.equal(base.mask, parts(one, two, two).mask)
    for part, channels in zip(base, (1, 3, 3), strict=True):
        assert part.shape == (2, channels, 32, 32)
        assert 0 <= float(part.min()) <= float(part.max()) <= 1
    assert EDGE <= float(base.mask.min()) <= float(base.mask.max()) <= 1 - EDGE


def test_textures_are_alike_everywhere():
    """Moving the noise field moves the texture, so no place is special."""
    network = Generator(classes=3).foreground.eval()
    field = torch.randn(1, network.body[0].in_channels, 8, 8)
    with torch.no_grad():
        moved = network.body(field.roll((2, 3), (2, 3)))
        assert torch.allclose(moved, network.body(field).roll((8, 12), (2, 3)), atol=1e-5)


def test_the_discriminator_judges_parts_of_an_image_by_its_label():
    critic = Discriminator(3, 4)
    images = torch.rand(2, 3, 32, 32)
    one, other = (critic(images, torch.full((2,), label)) for label in (0, 1))
    assert one.shape == (2, 1, 8, 8)
    assert not torch.equal(one, other)
    changed = images.clone()
    changed[:, :, 24:, 24:] = 0
    same = critic(changed, torch.zeros(2, dtype=torch.long))[:, :, :4, :4]
    assert torch.equal(same, one[:, :, :4, :4])


def test_style_is_zero_for_the_same_images_and_blind_to_weights_of_zero(style):
    images, others = torch.rand(2, 2, 3, 32, 32)
    assert float(style(images, images, (0.1, 0.1, 0.1, 0.1))) == 0
    deep, shallow = (0.0, 0.0, 0.0, 0.1), (0.1, 0.0, 0.0, 0.0)
    both = tuple(a + b for a, b in zip(deep, shallow, strict=True))
    parts = [float(style(images, others, weights)) for weights in (deep, shallow, both)]
    assert parts[0] + parts[1] == pytest.approx(parts[2], rel=1e-4)
    assert float(style(images, others, (0.0,) * 4)) == 0


def test_counterfactual_labels_are_independent():
    found = generate(Generator(classes=3).eval(), 900, seed=1, size=300)
    assert found.pixels.shape == (900, 32, 32, 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        shared = mutual_info_score(found.labels[:, first], found.labels[:, second])
        assert shared < 0.02
    assert (found.labels[:, 0] == found.labels[:, 1]).mean() == pytest.approx(1 / 3, abs=0.06)


def test_textures_are_taken_from_training_images_of_their_label(patches):
    pixels, labels = patches
    made = train_generator(pixels, labels, SHALLOW, Schedule(steps=1, batch_size=8))
    assert made.pieces.shape == (2, 40, 3, 32, 32)
    assert sorted(made.piece_labels.tolist()) == sorted(labels.tolist())
    found = generate(made, 20, seed=3)
    for part, number in ((found.foregrounds, 1), (found.backgrounds, 2)):
        strongest = part.mean(axis=(1, 2)).argmax(axis=1)
        assert np.array_equal(strongest, 2 * found.labels[:, number])
    drawn = generate(made, 20, seed=3, taken=False)
    assert np.array_equal(drawn.masks, found.masks)
    assert not np.array_equal(drawn.foregrounds, found.foregrounds)


def test_shapes_are_drawn_among_those_of_their_label():
    made = Generator(classes=3).eval()
    made.remember(torch.rand(30, 1, 32, 32), torch.arange(30) % 3)
    labels = torch.tensor([0, 1, 2, 2, 1])
    for label, code in zip(labels, made.drawn(labels), strict=True):
        pool = made.codes[made.code_labels == label]
        assert bool((pool == code).all(dim=1).any())


SHALLOW = Weights(style=(0.1, 0.0, 0.0, 0.0))


def test_training_is_repeatable(patches):
    twice = [train_generator(*patches, SHALLOW, Schedule(steps=3, batch_size=8)) for _ in "ab"]
    states = [made.state_dict() for made in twice]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_few_steps_learn_the_colours(patches):
    reports = []
    schedule = Schedule(steps=30, batch_size=8)
    made = train_generator(*patches, SHALLOW, schedule, report=reports.append)
    assert reports[-1].done == reports[-1].total == 30
    for name in ("pixels", "saliency", "adversarial", "critic"):
        assert name in reports[-1].figures
    assert made.codes.shape == (40, LATENT)
    with torch.no_grad():
        red, blue = (made(*torch.full((3, 16), k)).image.mean((0, 2, 3)) for k in (0, 1))
    assert red[0] - red[2] > blue[0] - blue[2]


def test_the_classifier_learns_and_predicts_few_images(patches):
    pixels, labels = patches
    network = train_classifier(pixels, labels, epochs=4)
    assert (predict(network, pixels) == labels).mean() > 0.9
    assert predict(network, pixels[:3]).shape == (3,)


@pytest.mark.parametrize("pixels", [np.zeros((40, 28, 28, 3), np.uint8), np.zeros((4, 32, 32, 3))])
def test_wrong_images_are_named(pixels):
    with pytest.raises(InputError, match="the generator needs 32 or more of 32 x 32"):
        train_generator(pixels, np.zeros(len(pixels), int))
