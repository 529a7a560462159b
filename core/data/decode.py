"""One image file as an upright RGB picture, or the plain reason why not."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from core.config import MAX_PIXELS
from core.errors import UnreadableImageError

# Once, on import: a filter set per call would be shared by all threads and could not be undone.
warnings.filterwarnings("ignore", module=r"PIL\.")

FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF"),
    *("GIF", "PPM", "JPEG2000", "AVIF", "ICO"),
)
"""Formats decoded whatever the ending of the file. Not: those that start another program (EPS)."""

MAX_BYTES = 8 * MAX_PIXELS
"""Larger files are not read: four 16-bit channels of the largest image, uncompressed."""

LARGE = 16_000_000
"""Pixels above which an image for a page is decoded alone; below, it holds a quarter of a GB."""

BAND = 2**20
"""Pixels that are brought to 8 bits at a time, in 8 bytes each."""

WORDS = re.compile(r"(?!.*(\bb['\"]|(?<!-)\d|\d\d|object))[A-Za-z][A-Za-z0-9 ,.:;'/+-]{,100}")
"""What a decoder says in words; not bytes, addresses and numbers of this one file."""

ORIENTATION = 0x0112
"""Tag of EXIF that says how an image is turned."""

NO_MEMORY = "decoder error -9"
"""What Pillow says where libtiff refuses a tile or strip for its size, or finds no memory."""

DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError),
    *(AttributeError, NotImplementedError, RuntimeError, struct.error, zlib.error, MemoryError),
    *(Warning, Image.DecompressionBombError),
)
"""What Pillow's decoders are known to raise for damaged files."""


@dataclass(frozen=True)
class Decoded:
    """One image as every later station sees it."""

    image: Image.Image
    """Mode RGB, upright."""
    width: int
    """Pixels of the upright image."""
    height: int
    digest: str
    """BLAKE2b of the file's bytes, 32 hex digits."""


def read_image(path: Path, most: int = MAX_PIXELS) -> Decoded:
    """Decode an image to upright 8-bit RGB. Safe to call from many threads.

    The orientation in its metadata is applied once; of an animation the first frame is taken;
    transparency is dropped; 16-bit grey levels are divided by 257; floating-point images hold
    values in [0, 1] or [0, 255].

    Parameters
    ----------
    path : the image file; its ending does not matter.
    most : pixels of the largest image that is decoded.

    Raises
    ------
    UnreadableImageError
        For whatever cannot be decoded. The message is the plain reason
        without the path, so that equal reasons can be counted; callers name the file.
    """
    image, digest = read_upright(path, most)
    try:
        rgb = _rgb(image)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error
    return Decoded(image=rgb, width=rgb.width, height=rgb.height, digest=digest)


def read_upright(path: Path, most: int = MAX_PIXELS) -> tuple[Image.Image, str]:
    """Decode an image in its own mode, upright, with the digest of its file.

    Raises
    ------
    UnreadableImageError
        For whatever cannot be decoded. The message is the plain reason
        without the path, so that equal reasons can be counted; callers name the file.
    """
    data = _read_bytes(path)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        pixels = image.width * image.height
        if pixels > most:
            raise UnreadableImageError(_too_large(pixels, most))
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries have cut-off files filled up
        image.load()
    except UnreadableImageError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error
    _turn_upright(image)
    return image, _digest(data)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of an image once it is upright, from its header.

    Raises
    ------
    UnreadableImageError
        If there is none to read.
    """
    if not path.is_file():
        raise UnreadableImageError("the file does not exist")
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else (image.width, image.height)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error


@contextlib.contextmanager
def large_alone(path: Path) -> Iterator[None]:
    """Let pages decode one large image at a time; a small one waits for nobody."""
    if _declared(path) <= LARGE:
        yield
        return
    with _large:
        try:
            yield
        finally:
            hand_back()


def hand_back() -> None:
    """Give freed memory back to the system, of which glibc keeps that of every thread."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


_large = threading.Lock()


def _declared(path: Path) -> int:
    """Pixels that the header declares; 0 where there is none to read."""
    if not path.is_file():  # opening a pipe would wait for its other end
        return 0
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except DECODER_ERRORS:
        return 0


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes like ``Decoded.digest``; empty if the file cannot be read."""
    try:
        return _digest(_read_bytes(path))
    except UnreadableImageError:
        return ""


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError("it is not a file")
        if status.st_size > MAX_BYTES:
            raise UnreadableImageError(
                f"the file has {status.st_size:,} bytes, too many for an image"
            )
        data = path.read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        raise UnreadableImageError(_file_reason(error)) from error
    if not data:
        raise UnreadableImageError("the file is empty")
    return data


def _file_reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    return f"the file cannot be read ({getattr(error, 'strerror', None) or 'its name is no path'})"


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"the image has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, MemoryError) or str(error).startswith(NO_MEMORY):
        return "not enough memory to decode it"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "the file is cut off or damaged"
    return f"the image is damaged or of an unsupported kind{_said(error)}"


def _said(error: Exception) -> str:
    """In brackets what the decoder says, without what belongs to this one file."""
    text = " ".join(str(error).partition("(")[0].split())
    own = isinstance(error, OSError | SyntaxError)  # others are of Python, about its own objects
    return f" ({text})" if own and WORDS.fullmatch(text) else ""


def _too_large(pixels: int, most: int) -> str:
    return f"the image has {pixels:,} pixels, at most {most:,} are decoded"


def _turn_upright(image: Image.Image) -> None:
    """Apply the orientation in the metadata, in place; where that is damaged, the image stays."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except DECODER_ERRORS:
        return


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey(image).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point grey levels to 8 bits, a band at a time."""
    top = max(float(np.fmax.reduce(band, axis=None, initial=0)) for _, band in _bands(image))
    if image.mode == "F":
        scale = 255.0 if top <= 1.0 else 1.0
    else:
        scale = 1 / 257 if top <= 65535 else 255 / (2**32 - 1)
    grey = Image.new("L", image.size)
    for y, band in _bands(image):
        levels = np.nan_to_num(band.astype(np.float64), nan=0.0) * scale
        grey.paste(Image.fromarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8)), (0, y))
    return grey


def _bands(image: Image.Image) -> Iterator[tuple[int, np.ndarray[Any, np.dtype[np.generic]]]]:
    """Rows of an image from the top, with where they begin: arrays (h, width)."""
    rows = max(BAND // image.width, 1)
    for y in range(0, image.height, rows):
        yield y, np.asarray(image.crop((0, y, image.width, min(y + rows, image.height))))
