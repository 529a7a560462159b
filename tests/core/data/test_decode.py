import contextlib
import io
import os
import re
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from core.config import MAX_PIXELS
from core.data.decode import copy_upright, file_digest, read_image
from core.errors import UnreadableImageError

# The station silences Pillow on import; pytest resets filters for every test.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

QUARTERS = np.array(
    [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]], [[0, 0, 0], [0, 255, 255]]],
    dtype=np.uint8,
)
"""Two by three pixels, all different: any wrong turn shows."""


def picture(scale=16):
    return Image.fromarray(QUARTERS.repeat(scale, 0).repeat(scale, 1))


def pixels(path):
    return np.asarray(read_image(path).image)


def test_plain_png(tmp_path):
    picture().save(tmp_path / "a.png")
    decoded = read_image(tmp_path / "a.png")
    assert (decoded.width, decoded.height, decoded.image.mode) == (32, 48, "RGB")
    assert np.array_equal(np.asarray(decoded.image), np.asarray(picture()))
    data = (tmp_path / "a.png").read_bytes()
    assert decoded.digest == blake2b(data, digest_size=16).hexdigest()
    assert file_digest(tmp_path / "a.png") == decoded.digest
    assert file_digest(tmp_path / "missing.png") == ""


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "tiff-lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, kind, orientation):
    inverse = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = picture() if inverse is None else picture().transpose(Image.Transpose(inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {
        "jpeg": {"quality": 100, "subsampling": 0},
        "webp": {"lossless": True},
        "tiff-lzw": {"compression": "tiff_lzw"},
    }
    path = tmp_path / f"a.{kind}"
    stored.save(path, format=kind.split("-")[0], exif=exif, **options.get(kind, {}))
    decoded = read_image(path)
    assert (decoded.width, decoded.height) == decoded.image.size == (32, 48)
    difference = np.asarray(decoded.image).astype(int) - np.asarray(picture())
    assert np.abs(difference).max() <= (12 if kind == "jpeg" else 0)
    assert np.array_equal(
        np.asarray(ImageOps.exif_transpose(decoded.image)), np.asarray(decoded.image)
    )


def test_damaged_metadata_leaves_the_image(tmp_path):
    picture().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert read_image(tmp_path / "a.jpg").image.size == (32, 48)


def test_16_bit_grey(tmp_path):
    levels = np.array([[0, 257, 128, 129], [65535, 32896, 256, 514]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(levels).save(tmp_path / name)
        grey = pixels(tmp_path / name)
        assert grey[..., 0].tolist() == [[0, 1, 0, 1], [255, 128, 1, 2]]
        assert (grey == grey[..., :1]).all()


def test_32_bit_grey(tmp_path):
    Image.fromarray(np.array([[0, 65535]], dtype=np.int32)).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255]
    Image.fromarray(np.array([[-5, 2**31 - 1]], dtype=np.int32)).save(tmp_path / "b.tif")
    assert pixels(tmp_path / "b.tif")[0, :, 0].tolist() == [0, 127]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 300.0], [0, 100, 255]),
        ([np.nan, -1.0, 1.0], [0, 0, 255]),
        ([np.inf, 2.0, 3.0], [255, 2, 3]),
    ],
    ids=["unit", "byte", "nan", "inf"],
)
def test_float_tiff(tmp_path, values, expected):
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif")[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "values",
    [
        np.array([[np.nan, np.nan], [0.5, 1.0], [0.25, -1.0]], np.float32),
        np.array([[0.5, 1.0], [np.nan, 7.0], [200.0, -1.0]], np.float32),
        np.array([[0, 1000], [65535, 3], [7, 9]], np.uint16),
        np.array([[0, 1000], [70000, -3], [7, 2**31 - 1]], np.int32),
    ],
    ids=["nan first", "larger later", "16 bit", "32 bit"],
)
def test_grey_levels_do_not_depend_on_the_band(tmp_path, monkeypatch, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    whole = pixels(tmp_path / "a.tif")
    monkeypatch.setattr("core.data.depth.BAND", 2)
    assert np.array_equal(pixels(tmp_path / "a.tif"), whole)
    assert whole.max() > 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "P"])
def test_other_modes_become_rgb(tmp_path, mode):
    picture().convert(mode).save(tmp_path / "a.png")
    expected = np.asarray(picture().convert(mode).convert("RGB"))
    assert np.array_equal(pixels(tmp_path / "a.png"), expected)


def test_transparency_is_dropped_not_blended(tmp_path):
    image = picture().convert("RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(picture()))
    palette = picture().quantize(8)
    palette.save(tmp_path / "p.png", transparency=bytes([0, 128, 255]))
    assert np.array_equal(pixels(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))


def test_cmyk_jpeg(tmp_path):
    picture().convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert Image.open(tmp_path / "a.jpg").mode == "CMYK"
    assert pixels(tmp_path / "a.jpg")[8, 8, 0] > 240


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "tiff", "mpo"])
def test_animation_gives_its_first_frame(tmp_path, kind):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if kind == "webp" else {}
    path = tmp_path / "a.jpg"
    first.save(path, format=kind, save_all=True, append_images=[second], **options)
    assert pixels(path)[0, 0].tolist() in ([255, 0, 0], [254, 0, 0])


def test_wrong_ending_does_not_matter(tmp_path):
    picture().save(tmp_path / "a.jpg", format="PNG")
    assert read_image(tmp_path / "a.jpg").image.size == (32, 48)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def giant(width, height):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def encoded(kind):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "^the file is empty$"),
        (b"hello, I am text", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
        (encoded("JPEG")[:2000], "cut off or damaged"),
        (encoded("PNG")[:2000], "cut off or damaged"),
        (encoded("WEBP")[:2000], "damaged"),
        (encoded("BMP")[:2000], "cut off or damaged"),
        (encoded("TIFF")[:2000], "not an image|damaged"),
        (encoded("JPEG")[:20], "not an image|damaged"),
        (encoded("PNG")[:60] + b"\0" * 500, "damaged"),
        (giant(100_000, 100_000), "more than 178,956,970 pixels"),
        (giant(2**31 - 1, 2**31 - 1), "more than 178,956,970 pixels"),
        (giant(9_500, 9_500), "damaged"),
    ],
    ids=[
        "empty",
        "text",
        "postscript",
        "jpeg",
        "png",
        "webp",
        "bmp",
        "tiff",
        "jpeg-head",
        "png-zeros",
        "giant",
        "largest",
        "warned",
    ],
)
def test_unreadable_files_say_why(tmp_path, data, reason):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=reason):
        read_image(tmp_path / "a.jpg")


def test_own_limit_comes_before_decoding(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(giant(20_000, 10_001))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnreadableImageError, match=rf"200,020,000 pixels, at most {MAX_PIXELS:,}"):
        read_image(tmp_path / "a.png")


def test_every_prefix_of_a_file_is_refused_or_decoded(tmp_path):
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        buffer = io.BytesIO()
        picture(2).save(buffer, format=kind)
        data = buffer.getvalue()
        for end in range(1, len(data), 7):
            (tmp_path / "a").write_bytes(data[:end])
            with contextlib.suppress(UnreadableImageError):
                assert read_image(tmp_path / "a").image.size == (4, 6)


def test_random_damage_is_refused_or_decoded(tmp_path):
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        data = np.frombuffer(encoded(kind), dtype=np.uint8)
        for _ in range(40):
            damaged = data.copy()
            damaged[rng.integers(0, min(300, len(data)), 4)] = rng.integers(0, 256, 4)
            (tmp_path / "a").write_bytes(damaged.tobytes())
            with contextlib.suppress(UnreadableImageError):
                assert read_image(tmp_path / "a").image.mode == "RGB"


FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000", "AVIF", "ICO", "MPO")
DECODER = "decoder error -2 when reading image file"
SENTENCE = re.compile(r"(?!.*(\bb['\"]|0x|object|  |Error|Exception))[a-z][\x20-\x7e]{10,150}")


def damaged(data, rng):
    """One file cut off, or with a few wrong bytes, mostly near its beginning."""
    if rng.random() < 0.3:
        return data[: int(rng.integers(1, len(data)))]
    found = bytearray(data)
    end = len(data) if rng.random() < 0.3 else min(200, len(data))
    for at in rng.integers(0, end, int(rng.integers(1, 9))):
        found[at] = rng.integers(0, 256)
    return bytes(found)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_reason_of_a_damaged_file_is_a_sentence(tmp_path, kind):
    rng = np.random.default_rng(list(kind.encode()))
    data, reasons = encoded(kind), set()
    for _ in range(60):
        (tmp_path / "a").write_bytes(damaged(data, rng))
        try:
            read_image(tmp_path / "a")
        except UnreadableImageError as error:
            reasons.add(str(error))
    assert reasons
    assert [reason for reason in reasons if not SENTENCE.fullmatch(reason)] == []
    countable = [reason for reason in reasons if "pixels" not in reason]
    assert len(countable) <= 8, countable


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SyntaxError("broken PNG file (chunk b'\\x89PNG\\n(')"), " (broken PNG file)"),
        (OSError("cannot decode <_io.BytesIO object at 0x7f1>"), ""),
        (OSError(DECODER), f" ({DECODER})"),
        (SyntaxError("not a TIFF file (header b'\\x00' not valid)"), " (not a TIFF file)"),
        (OSError("bad chunk b'IDAT'"), ""),
        (OSError("line\none\x00\x07"), ""),
        (OSError("offset 123456 lies behind the end"), ""),
        (OSError("word " * 100), ""),
        (IndexError("list index out of range"), ""),
        (struct.error("unpack requires a buffer of 4 bytes"), ""),
        (OSError(), ""),
    ],
)
def test_what_a_decoder_says_is_repeated_only_in_words(tmp_path, monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    picture().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(UnreadableImageError) as caught:
        read_image(tmp_path / "a.png")
    reason = str(caught.value).removeprefix("the image is damaged or of an unsupported kind")
    assert reason == said


def test_missing_folder_and_pipe(tmp_path):
    with pytest.raises(UnreadableImageError, match="does not exist"):
        read_image(tmp_path / "no.png")
    with pytest.raises(UnreadableImageError, match="not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="not a file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        read_image(tmp_path / ("x" * 300))
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        read_image(Path("a\0b"))
    with pytest.raises(UnreadableImageError, match=r"cannot be read \(its name is no path\)$"):
        read_image(tmp_path / "a\0b")


def test_no_permission(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"x")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnreadableImageError, match="no permission to read"):
        read_image(tmp_path / "a.png")


def test_many_threads(tmp_path):
    paths = []
    for i, kind in enumerate(["png", "jpeg", "webp", "tiff", "gif", "bmp"] * 5):
        path = tmp_path / f"{i}.{kind}"
        Image.new("RGB", (20 + i, 10), (i, i, i)).save(path)
        paths.append(path)
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda path: read_image(path).image.size, paths * 4))
    assert sizes == [(20 + i, 10) for i in range(30)] * 4


def test_a_cut_off_file_is_never_filled_up(tmp_path, monkeypatch):
    """The library that prints PDF tells Pillow to fill up what is missing."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    (tmp_path / "cut.jpg").write_bytes(encoded("JPEG")[:2000])
    with pytest.raises(UnreadableImageError, match="cut off or damaged"):
        read_image(tmp_path / "cut.jpg")


def test_pillow_stays_quiet_and_unchanged(tmp_path):
    (tmp_path / "a.png").write_bytes(giant(9_500, 9_500))
    code = (
        "from pathlib import Path\n"
        "from PIL import Image, ImageFile\n"
        "before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES\n"
        "from core.data.decode import read_image\n"
        "try:\n    read_image(Path('a.png'))\n"
        "except Exception as error:\n    assert 'damaged' in str(error), error\n"
        "assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_copies_mean_the_same_to_readers_with_and_without_exif(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(ending, {})
    picture().save(tmp_path / f"a.{ending}", exif=exif, **how)
    copy_upright(tmp_path / f"a.{ending}", tmp_path / f"b.{ending}")
    if orientation == 1:
        assert (tmp_path / f"b.{ending}").read_bytes() == (tmp_path / f"a.{ending}").read_bytes()
    with Image.open(tmp_path / f"b.{ending}") as copy:
        assert copy.getexif().get(0x0112, 1) == 1
        without = np.asarray(copy.convert("RGB"))
    upright = pixels(tmp_path / f"a.{ending}")
    assert without.shape == upright.shape
    assert np.abs(without.astype(int) - upright).mean() < (6 if ending == "jpg" else 1e-9)
    assert np.array_equal(pixels(tmp_path / f"b.{ending}"), without)
