"""Composition, the factorial on classifiers that decide by a known factor, augmentation."""

import numpy as np
import pytest

from core.corrections.counterfactual import (
    Augmentation,
    counterfactuals,
    default_changes,
    train_on_counterfactuals,
)
from core.corrections.training import Recipe
from core.errors import InputError
from core.trials.compositing import (
    OPERATIONS,
    challenge,
    changed_background,
    compose,
    filled_background,
    filled_texture,
    partners,
    pasted_cues,
)
from core.trials.examples import Examples
from core.trials.factorial import (
    CELLS,
    FACTORS,
    background_gap,
    decides_by,
    factor_effects,
    factorial_images,
    shape_bias,
)
from tests.tiny import load_tiny

COLOURS = np.array([(200, 0, 0), (0, 200, 0), (0, 0, 200)])
PLACES = np.array([(90, 90, 0), (0, 90, 90), (90, 0, 90)])


@pytest.fixture
def planted(rng):
    """Class k: the k-th shape in the k-th colour on the k-th background, all noisy."""
    labels = np.arange(30) % 3
    masks = np.zeros((30, 32, 32), bool)
    for i, k in enumerate(labels):
        top, left = rng.integers(4, 9, 2)
        height, width = ((8, 8), (16, 4), (4, 16))[k]
        masks[i, top : top + height, left : left + width] = True
    pixels = np.where(
        masks[..., None], COLOURS[labels][:, None, None], PLACES[labels][:, None, None]
    )
    noisy = np.clip(pixels + rng.integers(0, 30, pixels.shape), 0, 255).astype(np.uint8)
    return Examples(noisy, labels, masks)


def by_background(pixels):
    corner = pixels[:, -1, -1].astype(int)
    return np.abs(corner[:, None] - PLACES[None] - 15).sum(axis=2).argmin(axis=1)


def by_texture(pixels):
    """The colour of the object: the brightest pixel's channel."""
    return pixels.max(axis=(1, 2)).argmax(axis=1)


def by_shape(pixels):
    """Height and width of what is brighter than the background can be."""
    bright = pixels.max(axis=3) > 150
    height, width = bright.any(axis=2).sum(axis=1), bright.any(axis=1).sum(axis=1)
    return np.where(height > 12, 1, np.where(width > 12, 2, 0))


def test_compose_is_linear_bounded_and_has_its_ends(rng):
    f, b = rng.random((2, 3, 4, 4, 3))
    m = rng.random((3, 4, 4))
    assert np.array_equal(compose(np.ones((3, 4, 4)), f, b), f)
    assert np.array_equal(compose(np.zeros((3, 4, 4)), f, b), b)
    found = compose(m, f, b)
    assert (found >= np.minimum(f, b) - 1e-12).all()
    assert (found <= np.maximum(f, b) + 1e-12).all()
    assert np.allclose(compose(m, 2 * f + b, 3 * b), 2 * found + compose(m, b, b))
    assert np.allclose(compose(m, f, b) + compose(1 - m, f, b), f + b)
    hard = m > 0.5
    assert np.array_equal(compose(hard, f, b), compose(hard.astype(float), f, b))
    with pytest.raises(InputError, match="mask from"):
        compose(m + 1, f, b)
    with pytest.raises(InputError, match="cannot join"):
        compose(m[:2], f, b)


def test_filled_backgrounds_hold_nothing_of_the_object(planted):
    filled = filled_background(planted.pixels, planted.objects)
    assert filled.max() <= 120
    assert np.array_equal(filled[~planted.objects], planted.pixels[~planted.objects])
    texture = filled_texture(planted.pixels, planted.objects)
    assert (texture.max(axis=3) >= 200).all()
    whole, none = np.ones((1, 32, 32), bool), np.zeros((1, 32, 32), bool)
    assert len(np.unique(filled_background(planted.pixels[:1], whole).reshape(-1, 3), axis=0)) == 1
    assert np.array_equal(filled_background(planted.pixels[:1], none), planted.pixels[:1])


def test_partners_are_of_another_class_or_another_image_of_the_same(planted, rng):
    for _ in range(5):
        other = partners(planted.labels, rng)
        assert (planted.labels[other] != planted.labels).all()
        same = partners(planted.labels, rng, same=True)
        assert (planted.labels[same] == planted.labels).all()
        assert (same != np.arange(30)).all()
    assert partners(np.array([0, 1, 1]), rng, same=True)[0] == 0
    with pytest.raises(InputError, match="two classes"):
        partners(np.zeros(4, int), rng)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_changed_backgrounds_keep_the_object_pixel_by_pixel(operation, planted, rng):
    masks = planted.objects
    found = changed_background(planted.pixels, planted.labels, masks, operation, rng)
    assert np.array_equal(found[masks], planted.pixels[masks])
    outside = found[~masks]
    assert not np.array_equal(outside, planted.pixels[~masks])
    if operation == "remove":
        assert len(np.unique(outside, axis=0)) == 1
    if operation == "swap":
        assert (by_background(found) != planted.labels).all()
    if operation == "shuffle":
        assert (by_background(found) == planted.labels).all()


def test_pasted_cues_are_those_of_another_class(planted, rng):
    cues = planted.objects & (planted.labels != 2)[:, None, None]
    pixels, rows = pasted_cues(planted.pixels, planted.labels, cues, rng)
    assert rows.tolist() == list(range(30))
    changed = (pixels != planted.pixels[rows]).any(axis=3)
    for i, row in enumerate(rows):
        colour = pixels[i][changed[i]].max(axis=0).argmax()
        assert colour != planted.labels[row]
        assert colour != 2
    only_first = cues & (planted.labels == 0)[:, None, None]
    _, rows = pasted_cues(planted.pixels, planted.labels, only_first, rng)
    assert set(planted.labels[rows]) == {1, 2}
    with pytest.raises(InputError, match="no image of another class has a cue"):
        pasted_cues(planted.pixels, planted.labels, np.zeros_like(cues), rng)


def test_the_background_challenge_has_its_versions(planted, rng):
    found = challenge(planted.pixels, planted.labels, planted.objects, rng)
    masks = planted.objects
    assert np.array_equal(found["original"], planted.pixels)
    assert (by_background(found["mixed_same"]) == planted.labels).all()
    assert (by_background(found["mixed_rand"]) != planted.labels).any()
    assert not found["only_fg"][~masks].any()
    assert not found["no_fg"][masks].any()
    assert np.array_equal(found["no_fg"][~masks], planted.pixels[~masks])


@pytest.mark.parametrize(
    ("predict", "factor"),
    [(by_shape, "shape"), (by_texture, "texture"), (by_background, "background")],
)
def test_a_classifier_that_decides_by_one_factor_is_found_out(predict, factor, planted):
    assert (predict(planted.pixels) == planted.labels).all()
    found = decides_by(planted, predict)
    assert found.effects.main[factor] == pytest.approx(1.0)
    others = [found.effects.main[name] for name in FACTORS if name != factor]
    assert others == pytest.approx([0, 0], abs=1e-12)
    assert max(map(abs, found.effects.interactions.values())) < 1e-12
    if factor != "background":
        assert found.shape_bias == (1.0 if factor == "shape" else 0.0)
        assert found.decided == found.n
        edges = wilson_by_formula(found.shape_bias, found.n)
        assert found.shape_bias_interval == pytest.approx(edges)
        assert found.background_gap == 0
    else:
        assert found.background_gap > 0.4
    low, high = found.background_gap_interval
    assert low < found.background_gap < high
    for key, (low, high) in found.effects.intervals.items():
        value = found.effects.main[key[0]] if len(key) == 1 else found.effects.interactions[key]
        assert low - 1e-12 <= value <= high + 1e-12
        assert high - low > 0.05


def test_factorial_images_keep_and_change_what_they_say(planted):
    found = factorial_images(planted, seed=3)
    own = planted.labels[found.rows]
    assert len(found.pixels) == 8 * 30
    assert np.array_equal(found.labels == own[:, None], found.levels == 1)
    whole = (found.levels == 1).all(axis=1)
    assert np.array_equal(found.pixels[whole], planted.pixels)
    for column, predict in enumerate((by_shape, by_texture, by_background)):
        assert np.array_equal(predict(found.pixels), found.labels[:, column])


def wilson_by_formula(p: float, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def test_effects_of_a_table_by_hand():
    shares = {(0, 0): 0.1, (0, 1): 0.2, (1, 0): 0.5, (1, 1): 1.0}
    correct = np.concatenate([np.arange(10) < round(10 * p) for p in shares.values()])
    levels = np.repeat(list(shares), 10, axis=0)
    found = factor_effects(correct, levels, ("a", "b"))
    assert found.main == pytest.approx({"a": 0.6, "b": 0.3})
    assert found.interactions == pytest.approx({("a", "b"): 0.2})
    assert found.cells == pytest.approx(shares)
    limits = {p: wilson_by_formula(p, 10) for p in shares.values()}
    signs = {("a",): (-1, -1, 1, 1), ("b",): (-1, 1, -1, 1), ("a", "b"): (1, -1, -1, 1)}
    for key, sign in signs.items():
        ends = [
            (p - limits[p][0], limits[p][1] - p)[::s]
            for p, s in zip(shares.values(), sign, strict=True)
        ]
        down, up = np.linalg.norm(ends, axis=0) / 2
        value = found.main[key[0]] if len(key) == 1 else found.interactions[key]
        assert found.intervals[key] == pytest.approx((value - down, value + up))
    missing = factor_effects(correct[:30], levels[:30], ("a", "b"))
    assert np.isnan(missing.main["a"])
    assert np.isnan(missing.intervals[("a",)]).all()
    with pytest.raises(InputError, match="give"):
        factor_effects(correct, levels + 1, ("a", "b"))


def test_cells_are_all_and_in_order():
    assert len(set(CELLS)) == 8


def test_shape_bias_and_background_gap():
    shape, texture = np.array([0, 0, 0, 0]), np.array([1, 1, 1, 1])
    assert shape_bias(np.array([0, 0, 1, 2]), shape, texture) == pytest.approx(2 / 3)
    assert np.isnan(shape_bias(np.array([2, 2, 2, 2]), shape, texture))
    assert background_gap(np.array([1, 1, 0, 1]), np.array([1, 0, 0])) == pytest.approx(5 / 12)


def test_counterfactual_sets_hold_what_was_asked_for(planted):
    augmentation = Augmentation(("swap", "remove"), copies=2)
    made = counterfactuals(planted, augmentation)
    assert len(made) == 30 * 5
    assert np.array_equal(made.labels, np.tile(planted.labels, 5))
    assert np.array_equal(made.pixels[:30], planted.pixels)
    assert np.array_equal(made.objects, np.tile(planted.objects, (5, 1, 1)))
    alone = counterfactuals(planted, Augmentation(("swap",), originals=False))
    assert len(alone) == 30
    again = counterfactuals(planted, Augmentation(("swap",), originals=False))
    other = counterfactuals(planted, Augmentation(("swap",), originals=False, seed=1))
    assert np.array_equal(alone.pixels, again.pixels)
    assert not np.array_equal(alone.pixels, other.pixels)


def test_masks_decide_what_is_done_by_default(planted):
    cued = Examples(planted.pixels, planted.labels, planted.objects, planted.objects)
    assert default_changes(planted) == ("swap",)
    assert default_changes(cued) == ("paste",)
    made = counterfactuals(cued, Augmentation(("paste", "swap")))
    assert made.objects[30:60].sum() == 0
    assert np.array_equal(made.objects[60:], planted.objects)


def test_training_on_other_backgrounds_makes_a_network_forget_them(planted):
    model = load_tiny("x")
    recipe = Recipe(epochs=12, rate=3e-2)
    held = counterfactuals(planted, Augmentation(("swap",), originals=False, seed=9))
    plain = train_on_counterfactuals(
        model, planted, Augmentation(("shuffle",)), recipe, held=held
    ).history[-1]
    taught = train_on_counterfactuals(
        model, planted, Augmentation(("swap",), copies=3), recipe, held=held
    ).history[-1]
    assert taught["accuracy"] >= plain["accuracy"] + 0.3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda e: counterfactuals(e, Augmentation(("paste",))), "pasting cues needs masks"),
        (lambda e: counterfactuals(e, Augmentation(("swap",))), "'swap' needs masks"),
        (lambda e: train_on_counterfactuals(load_tiny("x"), e), "counterfactual training needs"),
        (lambda e: decides_by(e, by_shape), "test needs masks"),
        (lambda e: Augmentation(("mirror",)), "counterfactual mirror"),
        (lambda e: Augmentation(()), "counterfactual none"),
        (lambda e: Augmentation(copies=0), "copies 0"),
        (
            lambda e: changed_background(
                e.pixels, e.labels, e.pixels[..., 0] > 0, "blur", np.random.default_rng(0)
            ),
            "background 'blur'",
        ),
    ],
)
def test_missing_masks_and_wrong_words_are_named(build, message, planted):
    with pytest.raises(InputError, match=message):
        build(Examples(planted.pixels, planted.labels))
