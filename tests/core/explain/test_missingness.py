"""Patches taken away, under fills and without tokens: identities, and what entropy is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from core.errors import InputError
from core.explain.explainer import Question
from core.explain.missingness import (
    MISSINGNESS,
    SHARES,
    class_entropy,
    kept_tokens,
    patch_order,
    token_grid,
)
from core.explain.subsets import grid
from core.models.model import Model
from core.types import Preprocess
from tests.tiny import SIZE, load_tiny

HALF = Preprocess((SIZE, SIZE), 1.0, "bilinear", (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def transformer() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model(
            "vit_tiny_patch16_224", img_size=SIZE, patch_size=8, depth=2, num_classes=3
        )
    return Model("vit", network, HALF)


def asks(model: Model, order: str = "random") -> Question:
    pixels = np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    settings = MISSINGNESS.read({"order": order})
    return Question(model, 1, settings, pixels=pixels, others=lambda _: [pixels[::-1].copy()])


def test_all_tokens_kept_is_the_plain_forward(transformer: Model) -> None:
    images = torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    assert token_grid(transformer.network) == (4, 4)
    with torch.no_grad():
        plain = transformer.scores(images)
        some = np.array([3, 5, 12])
        with kept_tokens(transformer.network, np.arange(16)):
            assert transformer.scores(images) == pytest.approx(plain, abs=1e-5)
        with kept_tokens(transformer.network, some):
            fewer = transformer.scores(images)
        with kept_tokens(transformer.network, some[::-1].copy()):
            assert transformer.scores(images) == pytest.approx(fewer, abs=1e-5)
        changed = images.clone()
        changed[:, :, :8, :8] = 0  # a patch that was left out
        with kept_tokens(transformer.network, some):
            assert transformer.scores(changed) == pytest.approx(fewer, abs=1e-5)
        assert (fewer - plain).abs().max() > 1e-3
        assert transformer.scores(images) == pytest.approx(plain, abs=1e-6)
    with pytest.raises(InputError, match="reads no tokens"), kept_tokens(load_tiny().network, some):
        pass


def test_every_way_begins_with_the_whole_image(transformer: Model) -> None:
    for model, ways in ((transformer, 5), (load_tiny(), 4)):
        said = MISSINGNESS.explain(asks(model))
        assert len(said.facts["ways"]) == ways
        given, probability = said.arrays["given"], said.arrays["probability"]
        assert given.shape == probability.shape == (ways, len(SHARES))
        assert np.ptp(given[:, 0]) == 0
        assert np.ptp(probability[:, 0]) < 1e-5
        assert all(row[0] for row in said.facts["unchanged"].values())
        assert said.facts["fill_sensitivity"][0] == pytest.approx(0, abs=1e-6)
        assert said.facts["fills_agree"][0]
        assert sorted(said.arrays["order"]) == list(range(len(said.arrays["order"])))
        same = MISSINGNESS.summary([said, said])
        assert same.arrays["class_entropy"] == pytest.approx(0)
        assert same.facts["unchanged"]["mean"][0] == 1
        assert "tokens" not in same.facts["ways"] or ways == 5


def test_most_first_is_least_first_backwards() -> None:
    question = asks(load_tiny(), "most")
    groups = grid((SIZE, SIZE), 4)
    most = patch_order(question, groups)
    least = patch_order(replace(question, settings={"order": "least"}), groups)
    assert most.tolist() == least[::-1].tolist()
    lots = [
        patch_order(replace(question, settings={"order": "random"}, seed=seed), groups).tolist()
        for seed in (0, 0, 1)
    ]
    assert lots[0] == lots[1] != lots[2]


def test_entropy_is_none_of_one_class_and_full_of_all() -> None:
    assert class_entropy(np.full(9, 2)) == 0
    assert class_entropy(np.arange(8)) == pytest.approx(np.log(8))
    assert class_entropy(np.array([0, 0, 1])) < np.log(2)
