"""Images of more than 8 bits: one scale for a data set, said, and never black."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.data.decode import read_image
from core.data.levels import in_bits, levels_of
from core.data.open import open_data
from core.errors import UnreadableImageError


def ramp(top: float, kind: Any, low: float = 0) -> np.ndarray:
    """(32, 48) from low to top, every column alike."""
    return np.repeat(np.linspace(low, top, 32)[:, None], 48, axis=1).astype(kind)


def png16(path: Path, values: np.ndarray) -> None:
    """A PNG of 16-bit values (h, w, 2 to 4), which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    height, width, channels = values.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def tiff16(
    path: Path, values: np.ndarray, order: str = "<", *, deflated: bool = False, kind: str = "u2"
) -> None:
    """A TIFF of 16-bit colours (h, w, 3), or of another kind, which Pillow does not write."""
    height, width, _ = values.shape
    data = values.astype(f"{order}{kind}").tobytes()
    data = zlib.compress(data) if deflated else data
    entries = [(256, width), (257, height), (258, 0), (259, 8 if deflated else 1), (262, 2)]
    entries += [(273, 0), (277, 3), (278, height), (279, len(data)), (284, 1), (339, 0)]
    end = 8 + 2 + 12 * len(entries) + 4
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(f"{order}IH", 8, len(entries))]
    for tag, value in entries:
        if tag in (258, 339):
            parts.append(struct.pack(f"{order}HHII", tag, 3, 3, end + 6 * (tag == 339)))
        else:
            value = end + 12 if tag == 273 else value
            parts.append(struct.pack(f"{order}HHII", tag, 4, 1, value))
    bits, of = 8 * np.dtype(kind).itemsize, {"u": 1, "i": 2, "f": 3}[kind[0]]
    parts.append(struct.pack(f"{order}I6H", 0, *(bits,) * 3, *(of,) * 3))
    path.write_bytes(b"".join(parts) + data)


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.ndim == 3 and path.suffix == ".tif":
        tiff16(path, values)
    elif values.ndim == 3:
        png16(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


CASES = {
    "12 bits in 16": ("png", ramp(4095, np.uint16), (0, 4095)),
    "10 bits in 16": ("tif", ramp(1000, np.uint16), (0, 1023)),
    "8 bits in 16": ("png", ramp(255, np.uint16), (0, 255)),
    "16 bits": ("png", ramp(65535, np.uint16), None),
    "12 bits in 32": ("tif", ramp(4000, np.int32), (0, 4095)),
    "below zero": ("tif", ramp(3000, np.int32, -1000), (-1000, 3000)),
    "shares": ("tif", ramp(1, np.float32), None),
    "-1 to 1": ("tif", ramp(1, np.float32, -1), (-1, 1)),
    "0 to 255": ("tif", ramp(254.5, np.float32), (0, 255)),
    "12 bits of colour, TIFF": (
        "tif",
        np.repeat(ramp(4095, np.uint16)[..., None], 3, axis=2),
        (0, 4095),
    ),
    "12 bits of colour": ("png", np.repeat(ramp(4095, np.uint16)[..., None], 3, axis=2), (0, 4095)),
}


@pytest.mark.parametrize(("ending", "values", "levels"), CASES.values(), ids=CASES)
def test_a_ramp_stays_a_ramp(
    tmp_path: Path, ending: str, values: np.ndarray, levels: tuple[float, float] | None
) -> None:
    save(tmp_path / "d" / "a" / f"1.{ending}", values)
    table = open_data(str(tmp_path / "d"), workspace=tmp_path)
    assert levels_of(table) == levels
    path = tmp_path / "d" / "a" / f"1.{ending}"
    pixels = np.asarray(read_image(path, levels=levels).image).astype(float)
    low, high = levels or (0, values.max())
    expected = 255 * (values.astype(float) - low) / (high - low)
    shown = expected[..., None] if expected.ndim == 2 else expected
    assert np.abs(pixels - shown).max() <= 0.501
    assert len(np.unique(pixels)) >= 30


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("f4", "32-bit floating-point numbers, 3 a pixel"),
        ("f8", "64-bit floating-point"),
        ("u4", "32-bit whole numbers"),
        ("i2", "16-bit whole numbers with a sign"),
    ],
)
def test_a_tiff_that_nothing_decodes_is_named(
    tmp_path: Path, order: str, kind: str, said: str
) -> None:
    path = tmp_path / "a.tif"
    tiff16(path, np.repeat(ramp(1, np.float32)[..., None], 3, axis=2), order, kind=kind)
    with pytest.raises(UnreadableImageError, match=f"a TIFF of .*{said}.*: save it with"):
        read_image(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UnreadableImageError, match="not an image of a known format|cut off"):
        read_image(path)


def test_the_scale_is_that_of_the_brightest(tmp_path: Path) -> None:
    for place, top in enumerate((900, 4095, 120)):
        save(tmp_path / "d" / "a" / f"{place}.png", ramp(top, np.uint16))
    Image.new("L", (8, 8)).save(tmp_path / "d" / "a" / "eight.png")
    (tmp_path / "d" / "a" / "broken.png").write_bytes(b"\x89PNG")
    levels = levels_of(open_data(str(tmp_path / "d"), workspace=tmp_path))
    assert levels == (0, 4095)
    dark = read_image(tmp_path / "d" / "a" / "2.png", levels=levels).image
    assert np.asarray(dark).max() == round(255 * 120 / 4095)
    assert in_bits(levels) == "values 0 to 4095 (12 bits)"
    assert in_bits((-1000.0, 3000.0)) == "values -1000 to 3000"


@pytest.mark.parametrize(
    ("order", "deflated"), [("<", False), (">", False), ("<", True), (">", True)]
)
def test_every_bit_of_a_colour_tiff_counts(tmp_path: Path, order: str, deflated: bool) -> None:
    values = np.stack([ramp(4095, np.uint16), ramp(65535, np.uint16), ramp(300, np.uint16)], -1)
    tiff16(tmp_path / "1.tif", values, order, deflated=deflated)
    for levels in ((0, 300), (0, 4095), (0, 65535)):
        found = np.asarray(read_image(tmp_path / "1.tif", levels=levels).image).astype(float)
        expected = np.clip(values / levels[1], 0, 1) * 255
        assert np.abs(found - expected).max() <= 0.5


@pytest.mark.parametrize(("channels", "off"), [(4, 0.5), (2, 256 * 255 / 4095)])
def test_transparency_is_dropped(tmp_path: Path, channels: int, off: float) -> None:
    """Of grey with transparency Pillow gives the upper half alone."""
    values = np.repeat(ramp(4095, np.uint16)[..., None], channels, axis=2)
    values[..., -1] = 7
    png16(tmp_path / "1.png", values)
    found = np.asarray(read_image(tmp_path / "1.png", levels=(0, 4095)).image).astype(float)
    expected = np.repeat(ramp(4095, np.uint16)[..., None], 3, axis=2) / 4095 * 255
    assert np.abs(found - expected).max() <= off


def test_deep_images_are_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(ramp(4095, np.uint16))
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "1.png", exif=image.getexif())
    found = read_image(tmp_path / "1.png", levels=(0, 4095))
    assert (found.width, found.height) == (32, 48)


def test_eight_bits_are_left_alone(tmp_path: Path) -> None:
    save(tmp_path / "d" / "a" / "1.png", ramp(200, np.uint8))
    assert levels_of(open_data(str(tmp_path / "d"), workspace=tmp_path)) is None
    path = tmp_path / "d" / "a" / "1.png"
    assert read_image(path, levels=(0, 4095)).digest == read_image(path).digest
    assert np.array_equal(read_image(path, levels=(0, 4095)).image, read_image(path).image)
