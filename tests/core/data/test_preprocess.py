import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from core.data import preprocess
from core.data.decode import read_image
from core.data.preprocess import GAP, apply, as_seen, crop_box, least_size
from core.errors import ModelError
from core.types import Preprocess

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
SIZES = [(300, 200), (200, 301), (256, 256), (7, 5), (1, 1), (3, 40), (257, 256), (640, 481)]


def model(size, pct=0.875, interpolation="bicubic", mode="center"):
    size = size if isinstance(size, tuple) else (size, size)
    return Preprocess(size, pct, interpolation, MEAN, STD, mode)


def noise(width, height):
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "p",
    [
        model(64),
        model(64, 0.95, "bilinear"),
        model(65, 0.9, "lanczos"),
        model(48, 1.0, "nearest"),
        model(32, 1.0),
        model(32, 1.25),
        model((48, 64), 0.9),
        model((64, 40), 1.0, "bilinear"),
        model(64, 1.0, mode="squash"),
        model((50, 64), 0.8, mode="squash"),
        model(40, 1.3, mode="squash"),
    ],
    ids=str,
)
def test_equals_timm_exactly(p, size):
    timm_data = pytest.importorskip("timm.data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transform = timm_data.create_transform(
            input_size=(3, *p.input_size),
            crop_pct=p.crop_pct,
            interpolation=p.interpolation,
            crop_mode=p.crop_mode,
            is_training=False,
        )
    image = noise(*size)
    expected = image
    for step in transform.transforms:
        if "ToTensor" in type(step).__name__:
            break
        expected = step(expected)
    result = apply(p, image)
    assert result.dtype == np.uint8
    assert result.shape == (*p.input_size, 3)
    assert np.array_equal(result, np.asarray(expected))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("crop", "resize", "interpolation"),
    [(224, 232, "bilinear"), (224, 256, "bilinear"), (299, 342, "bilinear"), (224, 224, "bicubic")],
)
def test_equals_torchvision_exactly(size, crop, resize, interpolation):
    transforms = pytest.importorskip("torchvision.transforms")
    functional = transforms.functional
    preset = pytest.importorskip("torchvision.transforms._presets").ImageClassification(
        crop_size=crop,
        resize_size=resize,
        mean=MEAN,
        std=STD,
        interpolation=transforms.InterpolationMode(interpolation),
    )
    image = noise(*size)
    expected = functional.resize(image, preset.resize_size, interpolation=preset.interpolation)
    expected = functional.center_crop(expected, preset.crop_size)
    result = apply(model(crop, crop / resize, interpolation), image)
    assert np.array_equal(result, np.asarray(expected))
    import torch

    normal = torch.from_numpy(result).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)
    assert torch.equal(normal, preset(image))


@pytest.mark.parametrize(
    ("p", "width", "height", "expected"),
    [
        (model(224, 1.0), 224, 224, (0, 0, 224, 224)),
        (model(224, 0.875), 256, 256, (16, 16, 240, 240)),
        (model(224, 0.875), 512, 256, (144, 16, 368, 240)),
        (model(224, 0.875), 256, 512, (16, 144, 240, 368)),
        (model(100, 1.0), 400, 200, (100, 0, 300, 200)),
        (model(100, 1.0, mode="squash"), 400, 200, (0, 0, 400, 200)),
        (model(100, 0.5, mode="squash"), 400, 200, (100, 50, 300, 150)),
        (model(100, 2.0), 50, 50, (-25, -25, 75, 75)),
        (model((100, 200), 1.0), 400, 400, (0, 100, 400, 300)),
    ],
    ids=["same", "square", "wide", "tall", "scaled", "squash", "squash-cut", "padded", "oblong"],
)
def test_crop_box_by_hand(p, width, height, expected):
    assert crop_box(p, width, height) == pytest.approx(expected)


def test_crop_box_is_what_is_seen():
    p = model(64, 0.9)
    x0, y0, x1, y1 = crop_box(p, 640, 480)
    image = Image.new("RGB", (640, 480))
    image.paste((255, 255, 255), (round(x0), round(y0), round(x1), round(y1)))
    seen = apply(p, image)[..., 0]
    assert seen[2:-2, 2:-2].min() == 255
    assert np.mean(seen) > 245
    around = Image.new("RGB", (640, 480), "white")
    around.paste((0, 0, 0), (round(x0), round(y0), round(x1), round(y1)))
    assert apply(p, around)[2:-2, 2:-2].max() == 0


@pytest.mark.parametrize("size", [(1, 2_000), (2_001, 1), (2, 3_333)])
def test_very_long_images_stay_small_and_alike(monkeypatch, size):
    p = model(64, 0.9)
    image = noise(1, 9).resize(size, Image.Resampling.BILINEAR)
    exact = apply(p, image).astype(int)
    sizes = []
    original = Image.Image.resize

    def resize(self, size, *args, **kwargs):
        sizes.append(size)
        return original(self, size, *args, **kwargs)

    monkeypatch.setattr(preprocess, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(Image.Image, "resize", resize)
    cut = apply(p, image).astype(int)
    assert max(width * height for width, height in sizes) <= 100_000
    assert np.abs(cut - exact).max() <= 1


def test_unknown_settings_are_named():
    with pytest.raises(ModelError, match="unknown interpolation cubic; use one of nearest"):
        apply(model(8, interpolation="cubic"), noise(8, 8))
    with pytest.raises(ModelError, match="unknown crop mode border; use center or squash"):
        apply(model(8, mode="border"), noise(8, 8))
    with pytest.raises(ModelError, match="unknown crop mode border"):
        crop_box(model(8, mode="border"), 8, 8)


def test_result_can_be_written_to():
    assert apply(model(8), noise(9, 9)).flags.writeable


@pytest.mark.parametrize("turned", [1, 3, 6, 8])
def test_large_jpegs_are_decoded_smaller_where_that_is_asked_for(tmp_path, turned):
    path, p = tmp_path / "large.jpg", replace(model(32), shrink=True)
    rough = noise(15, 10).resize((900, 600), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = turned
    rough.save(path, quality=95, exif=exif)
    upright = (600, 900) if turned in (6, 8) else (900, 600)
    pixels, decoded = as_seen(p, path)
    assert (decoded.width, decoded.height) == upright
    assert decoded.image.size == tuple(-(-side // 8) for side in upright)  # 113 x 75
    assert all(a >= b for a, b in zip(decoded.image.size, least_size(p, *upright), strict=True))
    whole = apply(p, read_image(path).image)
    assert pixels.shape == whole.shape == (32, 32, 3)
    assert np.abs(pixels.astype(int) - whole).mean() < 1
    assert np.abs(pixels.astype(int) - whole)[:, [0, -1]].mean() < 2  # the borders are in place
    assert not np.array_equal(pixels, whole)
    assert np.array_equal(as_seen(replace(p, shrink=False), path)[0], whole)


def test_what_is_small_or_no_jpeg_is_decoded_whole(tmp_path):
    p = replace(model(32), shrink=True)
    noise(GAP * 36 * 2 - 1, 200).save(tmp_path / "small.jpg")
    noise(900, 600).save(tmp_path / "large.png")
    for name in ("small.jpg", "large.png"):
        pixels, decoded = as_seen(p, tmp_path / name)
        assert (decoded.width, decoded.height) == decoded.image.size
        assert np.array_equal(pixels, apply(p, read_image(tmp_path / name).image))
