"""One image file as an upright RGB picture, or the plain reason why not."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from core.config import MAX_PIXELS
from core.errors import UnreadableImageError

# Once, on import: a filter set per call would be shared by all threads and could not be undone.
warnings.filterwarnings("ignore", module=r"PIL\.")

FORMATS = (
    "JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "ICO",
)  # fmt: skip
"""Formats decoded whatever the ending of the file. Not: those that start another program (EPS)."""

MAX_BYTES = 8 * MAX_PIXELS
"""Larger files are not read: four 16-bit channels of the largest image, uncompressed."""

DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError,
    AttributeError, NotImplementedError, RuntimeError, struct.error, zlib.error, MemoryError,
    Warning, Image.DecompressionBombError,
)  # fmt: skip
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


def read_image(path: Path) -> Decoded:
    """Decode an image to upright 8-bit RGB. Safe to call from many threads.

    The orientation in its metadata is applied once; of an animation the first frame is taken;
    transparency is dropped; 16-bit grey levels are divided by 257; floating-point images hold
    values in [0, 1] or [0, 255].

    Parameters
    ----------
    path : the image file; its ending does not matter.

    Raises
    ------
    UnreadableImageError
        For whatever cannot be decoded. The message is the plain reason
        without the path, so that equal reasons can be counted; callers name the file.
    """
    image, digest = read_upright(path)
    try:
        rgb = _rgb(image)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error
    return Decoded(image=rgb, width=rgb.width, height=rgb.height, digest=digest)


def read_upright(path: Path) -> tuple[Image.Image, str]:
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
        if pixels > MAX_PIXELS:
            raise UnreadableImageError(_too_large(pixels))
        image.load()
    except UnreadableImageError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error
    _turn_upright(image)
    return image, _digest(data)


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
    return f"the file cannot be read ({getattr(error, 'strerror', None) or error})"


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return _too_large(None)
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return f"the file is cut off or damaged ({text or 'unexpected end'})"
    return f"the image is damaged or of an unsupported kind ({text or type(error).__name__})"


def _too_large(pixels: int | None) -> str:
    if pixels is None:
        return f"the image has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    return f"the image has {pixels:,} pixels, at most {MAX_PIXELS:,} are decoded"


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
        return Image.fromarray(_grey(np.asarray(image))).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _grey(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Bring 16-bit, 32-bit and floating-point grey levels to 8 bits, array (H, W)."""
    if values.dtype.kind == "f":
        levels = np.nan_to_num(values.astype(np.float64), nan=0.0)
        scale = 255.0 if levels.max(initial=0.0) <= 1.0 else 1.0
    else:
        levels = values.astype(np.float64)
        scale = 1 / 257 if levels.max(initial=0.0) <= 65535 else 255 / (2**32 - 1)
    return np.rint(np.clip(levels * scale, 0, 255)).astype(np.uint8)
