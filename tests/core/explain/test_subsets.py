"""Sufficient subsets: orders that can be known, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import InputError, ModelError
from core.explain.explainer import EXPLAINERS, Question
from core.explain.fills import FILLS, Given, filled, least_telling
from core.explain.narrowing import narrowed
from core.explain.sis import SIS, words_of
from core.explain.subsets import Order, areas, batched, border, evenly, exact, grid
from tests.tiny import SIZE, load_tiny

GROUPS = grid((8, 8), 4)
IMAGES = torch.from_numpy(np.random.default_rng(0).random((3, 3, 8, 8), np.float32))
BLACK = torch.zeros_like(IMAGES)
WEIGHTS = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 8, 8)).astype(np.float32))


def linear(images: torch.Tensor) -> torch.Tensor:
    return (images * WEIGHTS).sum((1, 2, 3)) / 4


def contributions(image: torch.Tensor) -> np.ndarray:
    parts = (image * WEIGHTS).sum(0).numpy().ravel() / 4
    return np.bincount(GROUPS.ravel(), parts)


def test_on_a_linear_number_every_way_takes_the_least_contribution_first() -> None:
    found = batched(linear, IMAGES, BLACK, GROUPS, step=1)
    for image, order in zip(IMAGES, found, strict=True):
        least_first = np.argsort(contributions(image)).tolist()
        assert order.removed.tolist() == least_first
        assert exact(linear, image, BLACK[0], GROUPS).removed.tolist() == least_first
        left = contributions(image)[least_first][::-1].cumsum()[::-1]
        odds = np.log(order.confidence / (1 - order.confidence))
        assert odds == pytest.approx([*left, 0], abs=1e-4)
        for tau in (0.2, 0.5, 0.9):
            top = np.flatnonzero(np.append(1 / (1 + np.exp(-left[::-1])), 0) >= tau)
            expected = 0 if tau <= 0.5 else top[0] + 1 if len(top) else -1
            assert order.size(tau) == (expected if order.confidence[0] >= tau else -1)


def test_orders_are_permutations_in_blocks_whatever_goes_with_an_image() -> None:
    together = batched(linear, IMAGES, BLACK, GROUPS, step=5, seed=3)
    for i, order in enumerate(together):
        assert sorted(order.removed) == list(range(16))
        assert order.left.tolist() == [16, 11, 6, 1, 0]
        alone = batched(linear, IMAGES[i : i + 1], BLACK[:1], GROUPS, step=5, seed=3)[0]
        assert alone.removed.tolist() == order.removed.tolist()
        assert alone.confidence == pytest.approx(order.confidence, abs=1e-6)
        for count in range(16):
            assert order.kept(count).sum() == count
            assert (order.kept(count) <= order.kept(count + 1)).all()
    even = torch.ones_like(IMAGES)

    def flat(images: torch.Tensor) -> torch.Tensor:
        return images.sum((1, 2, 3))

    first, again, other = (
        batched(flat, even, BLACK, GROUPS, step=1, seed=seed)[0].removed.tolist()
        for seed in (1, 1, 2)
    )
    assert first == again != other != sorted(other)


def test_a_subset_is_what_first_reaches_the_confidence_from_the_end() -> None:
    curve = np.array([0.95, 0.97, 0.5, 0.92, 0.3, 0.2, 0.1])
    order = Order(np.arange(6), curve, evenly(6, 1))
    assert [order.size(tau) for tau in (0.9, 0.96, 0.94, 0.05)] == [3, -1, 5, 0]


def test_groups_tile_an_image_of_any_size() -> None:
    uneven = grid((10, 7), 3)
    assert sorted(set(uneven.ravel())) == list(range(9))
    assert areas(uneven).sum() == pytest.approx(1)
    assert border(uneven).tolist() == [True] * 4 + [False] + [True] * 4
    single = grid((28, 28), 0)
    assert single.max() + 1 == 784
    assert border(single).sum() == 784 - 24 * 24
    with pytest.raises(InputError, match="up to 256 groups and was given 784"):
        exact(linear, IMAGES[0], BLACK[0], single)


def test_coarse_to_fine_is_nested_and_finds_what_is_enough() -> None:
    """Every confidence is that of the groups that are left, and few passes find few groups."""
    fine, passes = grid((8, 8), 8), list[int]()

    def odds(images: torch.Tensor) -> torch.Tensor:
        passes.append(len(images))
        return linear(images) + 1

    for image in IMAGES:
        passes.clear()
        tau = 0.9 * float((linear(image[None]) + 1).sigmoid()[0])
        order = narrowed(odds, image, BLACK[0] - 0.5, fine, tau)
        assert sorted(order.removed) == list(range(64))
        assert (order.left[0], order.left[-1]) == (64, 0)
        assert (np.diff(order.left) < 0).all()
        assert (len(order.steps), order.steps[-1]) == (64, len(order.left) - 2)
        for left, confidence in zip(order.left, order.confidence, strict=True):
            kept = torch.from_numpy(order.kept(int(left))[fine])
            shown = torch.where(kept, image, BLACK[0] - 0.5)[None]
            assert confidence == pytest.approx(float((linear(shown) + 1).sigmoid()[0]), abs=1e-5)
        assert sum(passes) < 64 * 65 / 2 / 4
        least = exact(odds, image, BLACK[0] - 0.5, grid((8, 8), 8)).size(tau)
        assert least <= order.size(tau) <= least + 8
        assert order.confidence[np.flatnonzero(order.left == order.size(tau))[0]] >= tau
    with pytest.raises(InputError, match="up to 256 groups and was given 784"):
        narrowed(linear, IMAGES[0], BLACK[0], grid((28, 28), 0), 0.5)


def test_a_patch_that_is_needed_is_what_is_left() -> None:
    """Log-odds that only see one corner: nothing else is enough, and it is found at any level."""
    fine = grid((28, 28), 14)
    image, black = torch.ones(3, 28, 28), torch.zeros(3, 28, 28)

    def corner(images: torch.Tensor) -> torch.Tensor:
        return 40 * images[:, 0, 2:6, 22:26].mean((1, 2)) - 20

    order = narrowed(corner, image, black, fine, 0.9)
    kept = order.kept(order.size(0.9)).reshape(14, 14)
    assert kept.sum() <= 4
    assert kept[1:3, 11:13].sum() == kept.sum()


def test_the_fill_that_tells_least_is_the_one_the_model_is_least_sure_of() -> None:
    sure, unsure = np.array([[0.98, 0.01, 0.01]]), np.array([[0.3, 0.3, 0.4]])
    assert least_telling({"mean": sure, "own": unsure, "grey": sure}) == "own"
    assert least_telling({"mean": unsure, "own": unsure}) == "mean"


def patched(count: int) -> tuple[torch.Tensor, np.ndarray]:
    """Images (n, 3, 32, 32) with a weak green square and a red patch, and where that is."""
    rng = np.random.default_rng(0)
    images = rng.normal(0.45, 0.06, (count, 3, 32, 32))
    images[:, 1, 14:24, 14:24] += rng.uniform(0.02, 0.5, (count, 1, 1))
    images[:, 0, 2:9, 2:9] += rng.uniform(0.3, 0.5, (count, 1, 1))
    patch = np.zeros((32, 32), bool)
    patch[2:9, 2:9] = True
    return torch.from_numpy(images.clip(0, 1).astype(np.float32)), patch


def by_colour(images: torch.Tensor) -> torch.Tensor:
    """Log-odds of a class that leans on red and is about green, by 3 x 3 detectors."""
    detectors = torch.tensor([[1, -0.5, -0.5], [-0.5, 1, -0.5]])[:, :, None, None] / 9
    seen = torch.nn.functional.conv2d(images, detectors.expand(2, 3, 3, 3), padding=1)
    red, green = (seen - 0.08).relu().mean((2, 3)).T
    return 600 * red + 150 * green - 4


def test_what_is_left_of_a_planted_shortcut_is_the_shortcut() -> None:
    images, patch = patched(20)
    fill = torch.full_like(images, 0.45)
    found = batched(by_colour, images, fill, grid((32, 32), 0), step=16)
    inside = [patch.ravel()[order.kept(48)].mean() for order in found]
    assert patch.mean() < 0.05
    assert np.mean(inside) >= 0.9
    assert all(order.confidence[0] > 0.9 > 2 * order.confidence[-1] for order in found)
    assert 0 < np.mean([order.size(0.9) for order in found]) < 80


def test_a_network_without_gradients_is_named() -> None:
    def rounded(images: torch.Tensor) -> torch.Tensor:
        return linear(images).detach()

    def broken(images: torch.Tensor) -> torch.Tensor:
        return linear(images) * float("nan")

    for odds, words in ((rounded, "no gradients on its device"), (broken, "not finite")):
        with pytest.raises(ModelError, match=words):
            batched(odds, IMAGES, BLACK, GROUPS, step=4)


def test_every_fill_is_another_picture_of_one_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    given = Given(pixels, (0.4, 0.5, 0.6), lambda: pixels[::-1])
    found = {name: filled(name, given) for name in FILLS}
    assert all(fill.shape == pixels.shape and fill.min() >= 0 for fill in found.values())
    assert found["mean"][3, 4] == pytest.approx([0.4, 0.5, 0.6])
    assert found["blur"].mean() == pytest.approx(pixels.mean() / 255, abs=0.02)
    assert found["blur"].std() < found["other"].std() / 2
    with pytest.raises(InputError, match="no fill 'pink'; choose mean, grey"):
        filled("pink", given)


@pytest.fixture(scope="module")
def question() -> Question:
    pixels = np.random.default_rng(4).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    given = {"tau": "0.445", "grid": "4", "k": "1", "fill": "mean", "search": "gradients"}
    return Question(load_tiny(), 0, SIS.read(given), pixels=pixels)


def test_the_method_says_what_it_saw(question: Question) -> None:
    model = question.model
    features = model.encode(torch.from_numpy(question.pixels)[None]).features.numpy()
    logits = model.logits(features)[0]
    whole = float(np.exp(logits[0]) / np.exp(logits).sum())
    said = SIS.explain(question)
    assert said.facts["probability"] == pytest.approx(whole, abs=1e-6)
    assert said.facts["probability"] == said.arrays["confidence"][0]
    assert said.facts["probability_of_fill"] == said.arrays["confidence"][-1]
    mean = set(model.preprocess.mean)
    same = {"grey"} if mean == {0.5} else {"black"} if mean == {0.0} else set()
    others = {"mean", "grey", "black", "blur"} - same
    assert set(said.facts["probability_by_fill"]) == others
    assert said.arrays["subset"].sum() == max(said.facts["size"], 0)
    assert set(SIS.pictures(said, question.pixels)) == {"subset", "order"}
    whole_class = SIS.explain(replace(question, settings={**question.settings, "tau": 0.99}))
    assert whole_class.facts["size"] == -1
    assert whole_class.words.startswith("no subset: the whole image gives output 0")
    wrong = int(logits.argmin())
    unlikely = SIS.explain(replace(question, class_idx=wrong))
    given = model.output_names[int(logits.argmax())]
    assert f"the model gives this image {given}, not " in " ".join(unlikely.notes)
    own = np.arange(3)
    both = SIS.explain(replace(question, more=[(model, own)]))
    assert both.arrays["confidence"] == pytest.approx(said.arrays["confidence"], abs=1e-6)
    mixed = SIS.explain(replace(question, more=[(model, own[::-1].copy())]))
    odds = np.exp(logits) / np.exp(logits).sum()
    assert mixed.arrays["confidence"][0] == pytest.approx((odds[0] + odds[2]) / 2, abs=1e-6)
    every = replace(question, settings={**question.settings, "exact": True, "grid": 3})
    assert len(SIS.explain(every).arrays["removed"]) == 9
    coarse = SIS.explain(replace(question, settings={**question.settings, "search": "coarse"}))
    assert (coarse.facts["search"], coarse.facts["exact"]) == ("coarse", False)
    pixels = SIS.explain(replace(question, settings={**question.settings, "grid": 0, "k": 200,
                                                     "search": "coarse"}))  # fmt: skip
    assert pixels.facts["search"] == "gradients"


def test_what_a_setting_cannot_be_is_refused() -> None:
    for given, words in (
        ({"tau": "2"}, "--set tau=2: give 0.01 to 0.999"),
        ({"fill": "pink"}, "--set fill=pink: choose auto, mean"),
        ({"k": "two"}, "--set k=two: give a whole number"),
        ({"exact": "maybe"}, "choose true, false"),
        ({"size": "1"}, "method 'sis' has no setting 'size'; it has fill"),
    ):
        with pytest.raises(InputError, match=words):
            EXPLAINERS["sis"].read(given)


def test_a_fill_that_is_enough_by_itself_is_no_subset_of_nothing() -> None:
    facts = {"share": 0.0, "size": 0, "groups": 196, "probability": 0.99, "tau": 0.9}
    facts |= {"output": "wolf", "fill": "black", "probability_of_fill": 0.97, "exact": False}
    facts |= {"border_share": None, "border_area": 0.27}
    assert words_of(facts) == (
        "nothing of the image is needed: black alone is given wolf with 97 %, so how little is "
        "enough cannot be told"
    )
    some = words_of(facts | {"share": 0.05, "size": 10})
    assert some.startswith("at most 5.0 % of the image (10 of 196 groups) are enough for 90 % wolf")
