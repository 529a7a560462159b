"""Images from outside: what they may cost, and what is said of those that would cost more."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.data import foreign
from core.data.decode import LARGE, large_alone, read_image
from core.data.foreign import read_foreign, refuse_if_full
from core.errors import UnreadableImageError, WorkspaceError

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

ROOT = Path(__file__).resolve().parents[3]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(mebibytes: int) -> bytes:
    """So many zeros, a thousandth of that in length."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mebibytes)) + packer.flush()


def png(side: int, bits: int = 1) -> bytes:
    """A black square that is cheap to make."""
    rows = zeros(side * (-(-side * bits // 8) + 1) // 2**20 + 1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def webp(side: int) -> bytes:
    """Lossless, of one colour: the same few bytes for every size, which the header says."""
    data = bytearray(encoded(Image.new("RGB", (16, 16), (3, 5, 9)), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    rest = struct.unpack("<I", data[at : at + 4])[0] >> 28
    data[at : at + 4] = struct.pack("<I", (side - 1) | (side - 1) << 14 | rest << 28)
    return bytes(data)


def tiff(side: int, kind: int, data: bytes, **tags: int) -> bytes:
    """A grey square of 32 bits a pixel, floating-point if ``kind`` is 3, of deflated ``data``."""
    values = {256: side, 257: side, 258: 32, 259: 8, 262: 1, 277: 1, 339: kind}
    values |= {int(tag[1:]): value for tag, value in tags.items()}
    place = 324 if 322 in values else 273
    values |= {place: 10 + 12 * (len(values) + 2) + 4, 325 if 322 in values else 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, values[tag]) for tag in sorted(values))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + entries + bytes(4) + data


def ico(inside: bytes) -> bytes:
    """A picture of 16 x 16, so the directory says."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + inside


def gif(side: int) -> bytes:
    """A frame that is larger than its canvas."""
    data = bytearray(encoded(Image.new("P", (side, side)), "GIF"))
    data[6:10] = struct.pack("<HH", 10, 10)
    return bytes(data)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": lambda: png(8000),
    "webp": lambda: webp(16383),
    "tiff": lambda: tiff(60_000, 1, zeros(1)),
    "float tiff": lambda: tiff(13_000, 3, zeros(1)),
    "gif": lambda: gif(8000),
    "ico": lambda: ico(png(8000)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_too_many_pixels_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(BOMBS[kind]())
    with pytest.raises(UnreadableImageError, match=r"pixels(, at most 50,000,000 are decoded)?$"):
        read_foreign(tmp_path / "a")


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "PNG"), ("L", "JPEG"), ("P", "GIF"), ("I;16", "TIFF"), ("F", "TIFF")]
)
def test_an_image_from_outside_is_decoded_as_any_other(
    tmp_path: Path, mode: str, kind: str
) -> None:
    (tmp_path / "a").write_bytes(encoded(Image.new(mode, (40, 30), 3), kind))
    mine, same = read_foreign(tmp_path / "a"), read_image(tmp_path / "a")
    assert np.array_equal(np.asarray(mine.image), np.asarray(same.image))
    assert (mine.width, mine.height, mine.digest) == (40, 30, same.digest)


def test_the_reason_is_that_of_every_other_image(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with pytest.raises(UnreadableImageError, match="^the file is not an image of a known format$"):
        read_foreign(tmp_path / "a")


PEAK = r"""
import json, re, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from core.data.foreign import read_foreign
from core.errors import UnreadableImageError

def tried(path):
    try:
        return read_foreign(path).image.size
    except UnreadableImageError as error:
        return str(error)

with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(tried, map(Path, sys.argv[1:])))
mine = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
other = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([found, mine / 2**20, other / 2**20]))
"""


def test_three_bombs_at_once_take_little_memory(tmp_path: Path) -> None:
    side = 5000
    bombs = {
        "a.webp": encoded(Image.new("RGB", (side, side)), "WEBP", lossless=True, method=0),
        "b.tif": tiff(side, 3, zeros(4 * side * side // 2**20 + 1)),
        "c.png": png(side),
        "d.tif": tiff(100, 1, zeros(400), t322=20_000, t323=20_000),
        "e.ico": ico(png(13_000)),
        "f.png": png(16)[:-12] + chunk(b"zTXt", b"c\0\0" + zeros(500)) + chunk(b"IEND", b""),
    }
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in bombs)],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": True},
    )
    found, mine, other = json.loads(done.stdout)
    assert found[:3] == [[side, side]] * 3
    assert found[3] == "not enough memory to decode it"
    assert found[4] == "the image has 169,000,000 pixels, at most 50,000,000 are decoded"
    assert mine < 0.4
    assert other < 1.6


def test_a_decoder_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(encoded(Image.new("L", (9, 9)), "PNG"))
    monkeypatch.setattr(foreign, "SECONDS", 0)
    with pytest.raises(UnreadableImageError, match="takes more than 0 seconds"):
        read_foreign(tmp_path / "a")


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/bin/false", "the decoder broke down on it, or wanted more than 1.5 GiB"),
        ("/nowhere", "no process can be started to decode it; try again"),
    ],
)
def test_a_decoder_that_breaks_down_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, reason: str
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(UnreadableImageError, match=reason):
        read_foreign(tmp_path / "a")


def test_uploads_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_if_full(tmp_path / "missing")
    (tmp_path / "up1").mkdir()
    (tmp_path / "up1" / "image").write_bytes(bytes(100))
    refuse_if_full(tmp_path)
    monkeypatch.setattr(foreign, "KEPT", 100)
    with pytest.raises(WorkspaceError, match=r"takes in no more; delete some of the folders in /"):
        refuse_if_full(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with large_alone(tmp_path / "pipe.png"), large_alone(Path("a\0b")):
        pass


def test_one_large_image_at_a_time_and_no_small_one_waits(tmp_path: Path) -> None:
    from threading import Event, Thread

    side = int(LARGE**0.5) + 1
    (tmp_path / "large").write_bytes(png(side))
    (tmp_path / "small").write_bytes(png(16))
    entered = Event()

    def second() -> None:
        with large_alone(tmp_path / "large"):
            entered.set()

    with large_alone(tmp_path / "large"):
        thread = Thread(target=second)
        thread.start()
        with large_alone(tmp_path / "small"), large_alone(tmp_path / "missing"):
            assert not entered.wait(0.3)
    assert entered.wait(5)
    thread.join()
