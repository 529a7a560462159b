"""Noise under masks and pasted cues: identities, independence of batches, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from core.statistics.seeds import image_seed
from core.trials.noise import add_noise
from core.trials.paste import choose, paste, sample


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)


def test_noise_equals_its_formula(pixels: np.ndarray, rng: np.random.Generator) -> None:
    mask = rng.random((12, 15))
    z = np.random.default_rng(image_seed("a")).standard_normal(pixels.shape, dtype=np.float32)
    found = add_noise(pixels, mask, "a", sigma=0.4)
    for i, j, c in np.ndindex(pixels.shape):
        value = pixels[i, j, c] / 255 + 0.4 * z[i, j, c] * mask[i, j]
        assert found[i, j, c] == pytest.approx(255 * min(max(value, 0), 1), abs=0.5001)
    assert found.dtype == np.uint8


def test_noise_that_is_none(pixels: np.ndarray) -> None:
    assert (add_noise(pixels, np.ones((12, 15)), "a", sigma=0) == pixels).all()
    assert (add_noise(pixels, np.zeros((12, 15)), "a", sigma=9) == pixels).all()
    half = np.zeros((12, 15))
    half[:6] = 1
    noisy = add_noise(pixels, half, "a")
    assert (noisy[6:] == pixels[6:]).all()
    assert (noisy[:6] != pixels[:6]).mean() > 0.8


def test_noise_belongs_to_the_image(pixels: np.ndarray) -> None:
    mask = np.ones((12, 15))
    first = add_noise(pixels, mask, "a")
    add_noise(pixels, mask, "b")
    assert (add_noise(pixels, mask, "a") == first).all()
    assert (add_noise(pixels, mask, "b") != first).any()
    assert (add_noise(pixels, mask, "a", seed=1) != first).any()


def test_noise_has_the_asked_spread() -> None:
    grey = np.full((200, 200, 3), 127, np.uint8)
    for sigma in (0.05, 0.1):
        noisy = add_noise(grey, np.ones((200, 200)), "a", sigma=sigma)
        assert (noisy / 255).std() == pytest.approx(sigma, rel=0.02)


def test_paste_everywhere_nowhere_and_in_between(pixels: np.ndarray) -> None:
    source = 255 - pixels
    whole, nothing = np.ones((12, 15), bool), np.zeros((12, 15), bool)
    assert (paste(pixels, source, whole) == source).all()
    assert (paste(pixels, source, nothing) == pixels).all()
    half = nothing.copy()
    half[:, :7] = True
    mixed = paste(pixels, source, half)
    assert (mixed[:, :7] == source[:, :7]).all()
    assert (mixed[:, 7:] == pixels[:, 7:]).all()
    assert (paste(mixed, source, half) == mixed).all()


def test_sources_and_samples_depend_on_the_id_alone() -> None:
    ids = [f"image{i}" for i in range(400)]
    found = choose(ids, 5)
    assert set(found) == set(range(5))
    assert (choose(ids[::-1], 5)[::-1] == found).all()
    assert (choose(ids, 5, seed=1) != found).any()
    part = sample(ids, 50)
    assert part == sorted(part, key=ids.index)
    assert set(sample(ids[::-1], 50)) == set(part)
    assert sample(ids, 400) == ids


def test_bad_input(pixels: np.ndarray) -> None:
    mask = np.ones((12, 15))
    with pytest.raises(ValueError, match="sigma -1: must be at least 0"):
        add_noise(pixels, mask, "a", sigma=-1)
    with pytest.raises(ValueError, match=r"a mask \(3, 3\) does not fit an image \(12, 15\)"):
        add_noise(pixels, np.ones((3, 3)), "a")
    with pytest.raises(ValueError, match="a mask leaves"):
        add_noise(pixels, 2 * mask, "a")
    with pytest.raises(ValueError, match="a mask leaves"):
        add_noise(pixels, np.nan * mask, "a")
    with pytest.raises(ValueError, match="the sizes differ"):
        paste(pixels, pixels[:5], mask > 0)
    with pytest.raises(ValueError, match="give booleans"):
        paste(pixels, pixels, mask)
    with pytest.raises(ValueError, match="no source"):
        choose(["a"], 0)
