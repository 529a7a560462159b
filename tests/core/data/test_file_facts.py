"""What files tell: quality, camera, name, and a hash that survives scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.file_facts import MAKE, MODEL, file_facts, name_pattern


def smooth(rng: np.random.Generator, side: int = 200) -> Image.Image:
    pixels = rng.integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("quality", [20, 50, 75, 92, 100])
def test_the_quality_that_a_file_was_saved_with(
    quality: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    smooth(rng).save(tmp_path / "a.jpg", quality=quality)
    facts = file_facts(tmp_path / "a.jpg")
    assert facts.jpeg_quality == pytest.approx(quality, abs=1)
    assert facts.file_bytes == (tmp_path / "a.jpg").stat().st_size
    assert facts.file_format == "JPEG"


def test_camera_and_name(tmp_path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[MAKE], exif[MODEL] = "Acme ", "A1"
    smooth(rng).save(tmp_path / "IMG_0042.jpg", exif=exif)
    facts = file_facts(tmp_path / "IMG_0042.jpg")
    assert (facts.camera, facts.name_pattern) == ("Acme A1", "img_#.jpg")
    assert name_pattern("scan-deadbeef01-3.png") == "scan-@-#.png"


def test_a_scaled_copy_has_the_same_hash(tmp_path: Path, rng: np.random.Generator) -> None:
    image, other = smooth(rng), smooth(rng)
    image.save(tmp_path / "a.png")
    image.resize((90, 90)).save(tmp_path / "b.jpg", quality=40)
    other.save(tmp_path / "c.png")
    a, b, c = (file_facts(tmp_path / n).perceptual_hash for n in ("a.png", "b.jpg", "c.png"))
    assert apart(a, b) <= 4
    assert apart(a, c) > 12


def test_what_is_no_image_tells_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    facts = file_facts(tmp_path / "a.jpg")
    assert (facts.file_bytes, facts.file_format, facts.perceptual_hash) == (8, "", "")
    gone = file_facts(tmp_path / "b1.jpg")
    assert np.isnan(gone.file_bytes)
    assert gone.name_pattern == "b#.jpg"
