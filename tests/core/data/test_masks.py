import numpy as np
import pytest
from PIL import Image

from core.data.masks import box_mask, crop_mask, mask_on_grid, read_mask
from core.data.preprocess import apply
from core.errors import DataError
from core.types import Preprocess

INSIDE = np.zeros((6, 8), dtype=bool)
INSIDE[1:4, 2:7] = True


def model(size, pct=1.0, mode="center"):
    return Preprocess((size, size), pct, "nearest", (0.5,) * 3, (0.5,) * 3, mode)


def grey(value, dtype=np.uint8):
    return Image.fromarray((INSIDE * value).astype(dtype))


def coloured():
    return Image.fromarray(INSIDE[..., None] * np.array([0, 0, 7], dtype=np.uint8))


def cut_out(opaque=255):
    image = Image.new("RGB", (8, 6))
    image.putalpha(grey(opaque))
    return image


def indexed():
    image = Image.fromarray(INSIDE.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


@pytest.mark.parametrize(
    ("image", "ending"),
    [
        (grey(255), "png"),
        (grey(1), "png"),
        (grey(255).convert("1"), "png"),
        (grey(1, np.uint16), "png"),
        (grey(-3, np.int32), "tif"),
        (grey(0.25, np.float32), "tif"),
        (coloured(), "png"),
        (coloured().convert("RGBA"), "png"),
        (cut_out(), "png"),
        (cut_out(1), "png"),
        (indexed(), "png"),
    ],
    ids=["L", "ones", "bits", "I16", "I", "F", "RGB", "RGBA", "cut-out", "faint", "P"],
)
def test_any_mode_is_inside_where_not_zero(tmp_path, image, ending):
    image.save(tmp_path / f"m.{ending}")
    mask = read_mask(tmp_path / f"m.{ending}", (8, 6))
    assert mask.dtype == bool
    assert np.array_equal(mask, INSIDE)


def test_other_sizes_are_resized_to_the_source(tmp_path):
    grey(255).resize((16, 12), Image.Resampling.NEAREST).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", (8, 6)), INSIDE)
    grey(255).save(tmp_path / "s.png")
    large = read_mask(tmp_path / "s.png", (80, 60))
    assert large.shape == (60, 80)
    assert large.mean() == pytest.approx(INSIDE.mean())


def test_unreadable_masks_are_named(tmp_path):
    (tmp_path / "m.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"mask .*m\.png: the file is empty; replace it"):
        read_mask(tmp_path / "m.png", (8, 6))
    with pytest.raises(DataError, match="does not exist; replace it"):
        read_mask(tmp_path / "no.png", (8, 6))


def test_box_mask_by_hand():
    assert np.array_equal(box_mask((2, 1, 7, 4), 8, 6), INSIDE)
    assert np.array_equal(box_mask((1.6, 0.7, 6.5001, 3.6), 8, 6), INSIDE)
    assert box_mask((-5, -5, 50, 50), 8, 6).all()
    assert not box_mask((20, 20, 30, 30), 8, 6).any()


@pytest.mark.parametrize("box", [(2, 1, 2, 4), (2, 4, 7, 1), (np.nan, 1, 7, 4)])
def test_empty_boxes_are_refused(box):
    with pytest.raises(DataError, match="is empty; x_max must exceed x_min"):
        box_mask(box, 8, 6)


@pytest.mark.parametrize("p", [model(32), model(28, 0.875), model(20, 1.0, "squash"), model(9, 2)])
@pytest.mark.parametrize("size", [(64, 48), (48, 80), (33, 32), (5, 3)])
def test_crop_mask_equals_the_image_path(p, size):
    mask = np.random.default_rng(0).random(size[::-1]) > 0.5
    image = Image.fromarray((mask * 255).astype(np.uint8)).convert("RGB")
    cropped = crop_mask(mask, p)
    assert cropped.dtype == bool
    assert np.array_equal(cropped, apply(p, image)[..., 0] > 0)


def test_grid_by_hand():
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :3] = True
    assert mask_on_grid(mask, (2, 2)).tolist() == [[1.0, 0.5], [0.0, 0.0]]
    assert mask_on_grid(mask, (1, 1)) == pytest.approx(6 / 16)
    assert mask_on_grid(mask, (4, 4)) == pytest.approx(mask.astype(float))


def test_grid_against_oversampling():
    mask = np.random.default_rng(3).random((30, 22)) > 0.4
    fine = mask.repeat(7, 0).repeat(7, 1)
    expected = fine.reshape(7, 30, 7, 22).mean(axis=(1, 3))
    assert mask_on_grid(mask, (7, 7)) == pytest.approx(expected)


@pytest.mark.parametrize("grid", [(7, 7), (3, 5), (64, 50), (1, 1)])
def test_grid_keeps_the_mean(grid):
    mask = np.random.default_rng(1).random((32, 20)) > 0.3
    shares = mask_on_grid(mask, grid)
    assert shares.shape == grid
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.mean() == pytest.approx(mask.mean())
    assert (mask_on_grid(np.ones((32, 20), dtype=bool), grid) > 1 - 1e-12).all()
