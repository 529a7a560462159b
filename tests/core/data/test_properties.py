from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from core.data import properties as looks
from core.data.properties import COLOURS, Properties


def properties_of(pixels: np.ndarray) -> Properties:
    return looks.properties_of(Image.fromarray(pixels))


def plain(colour: tuple[int, int, int], size: int = 16) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "word"),
    [
        ((0, 0, 0), "black"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
        ((220, 20, 20), "red"),
        ((255, 140, 0), "orange"),
        ((250, 230, 20), "yellow"),
        ((30, 120, 30), "green"),
        ((40, 40, 220), "blue"),
        ((135, 206, 235), "blue"),
        ((128, 0, 200), "purple"),
        ((255, 105, 180), "pink"),
        ((255, 160, 160), "pink"),
        ((120, 72, 20), "brown"),
    ],
)
def test_colours_bear_their_plain_names(colour: tuple[int, int, int], word: str) -> None:
    assert properties_of(plain(colour)).colour == word
    assert word in COLOURS


def test_a_constant_image_has_nothing_but_its_brightness() -> None:
    found = properties_of(plain((51, 51, 51)))
    assert found.brightness == pytest.approx(0.2)
    assert (found.contrast, found.sharpness, found.border) == (0, 0, 0)


def test_the_colour_of_most_pixels_counts() -> None:
    pixels = plain((30, 120, 30))
    pixels[:, :6] = (40, 40, 220)
    assert properties_of(pixels).colour == "green"


def test_half_black_half_white_has_the_largest_contrast() -> None:
    pixels = plain((0, 0, 0))
    pixels[:, 8:] = 255
    assert properties_of(pixels).contrast == pytest.approx(0.5)


def test_sharpness_is_lost_by_blur(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)))
    assert properties_of(blurred).sharpness < properties_of(pixels).sharpness / 2


def test_sharpness_is_the_spread_of_the_laplacian(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    luma = np.asarray(Image.fromarray(pixels).convert("L"), float) / 255
    slow = [
        luma[i - 1, j] + luma[i + 1, j] + luma[i, j - 1] + luma[i, j + 1] - 4 * luma[i, j]
        for i in range(1, 4)
        for j in range(1, 5)
    ]
    assert properties_of(pixels).sharpness == pytest.approx(np.std(slow), rel=1e-5)


def test_a_border_is_the_area_of_plain_edges(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)
    assert properties_of(pixels).border == 0
    pixels[:, :1], pixels[:3], pixels[-2:] = 7, 7, 250
    assert properties_of(pixels).border == pytest.approx(1 - 15 * 9 / 200)


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (1, 9)])
def test_tiny_images_have_properties(shape: tuple[int, int]) -> None:
    assert np.isfinite(properties_of(np.zeros((*shape, 3), np.uint8))[:4]).all()


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 40), (224, 224), (301, 203)])
def test_sharpness_is_to_the_last_bit_what_numpy_says_in_float32(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    luma = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    inner = luma[1:-1, 1:-1]
    slow = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    assert properties_of(pixels).sharpness == float(slow.std()) / 255


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 9), (223, 226)])
def test_every_fourth_pixel_is_asked_for_its_colour(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    pixels = np.full((*shape, 3), 255, np.uint8)
    asked = pixels[::4, ::4]
    asked[:] = (30, 120, 30)
    fewer = rng.permutation(asked.shape[0] * asked.shape[1])[: asked[..., 0].size // 2 - 1]
    asked[np.unravel_index(fewer, asked.shape[:2])] = (40, 40, 220)
    assert properties_of(pixels).colour == "green"  # white is what most pixels are
    asked[:] = 255
    pixels[1::4, :] = pixels[:, 1::4] = (30, 120, 30)
    assert properties_of(pixels).colour == "white"


@pytest.mark.parametrize(
    ("rows", "columns", "left"),
    [
        ([0], [], 19 * 10),
        ([-1], [], 19 * 10),
        ([], [0], 20 * 9),
        ([], [-1], 20 * 9),
        ([0, -1], [0, -1], 18 * 8),
        ([9], [4], 20 * 10),
    ],
    ids=["top", "bottom", "left", "right", "frame", "inside"],
)
def test_a_border_at_any_edge_is_seen(
    rng: np.random.Generator, rows: list[int], columns: list[int], left: int
) -> None:
    pixels = rng.integers(0, 256, (20, 10, 3), dtype=np.uint8)
    pixels[rows], pixels[:, columns] = 30, 30
    assert properties_of(pixels).border == pytest.approx(1 - left / 200)
