"""One image file as an upright RGB picture, or the plain reason why not."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from core.config import MAX_PIXELS
from core.data.depth import Levels, eight_bits, is_deep
from core.data.far_images import address_of, far_bytes, is_there, readable
from core.data.optional_formats import opened_by_package
from core.errors import UnreadableImageError
from core.storage.memory import hand_back

# Once, on import: a filter set per call would be shared by all threads and could not be undone.
warnings.filterwarnings("ignore", module=r"PIL\.|pydicom\.")

FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF"),
    *("GIF", "PPM", "JPEG2000", "AVIF", "ICO"),
)
"""Formats decoded whatever the ending of the file. Not: those that start another program (EPS)."""

MAX_BYTES = 8 * MAX_PIXELS
"""Larger files are not read: four 16-bit channels of the largest image, uncompressed."""

LARGE = 16_000_000
"""Pixels above which an image for a page is decoded alone; below, it holds a quarter of a GB."""

WORDS = re.compile(r"(?!.*(\bb['\"]|(?<!-)\d|\d\d|object))[A-Za-z][A-Za-z0-9 ,.:;'/+-]{,100}")
"""What a decoder says in words; not bytes, addresses and numbers of this one file."""

ORIENTATION = 0x0112
"""Tag of EXIF that says how an image is turned."""

SIDEWAYS = (5, 6, 7, 8)
"""Its values of images that are stored on their side."""

MIRRORED = (2, 4, 5, 7)

SHRUNK = "decoded at a fraction"
"""Entry of what is known of an image: its upright size as a whole, and its box."""

NO_MEMORY = "decoder error -9"
"""What Pillow says where libtiff refuses a tile or strip for its size, or finds no memory."""

DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError),
    *(AttributeError, NotImplementedError, RuntimeError, struct.error, zlib.error, MemoryError),
    *(Warning, Image.DecompressionBombError),
)
"""What Pillow's decoders are known to raise for damaged files."""


Box = tuple[float, float, float, float]
"""Left, top, right and bottom, pixels."""


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
    box: Box | None = None
    """Where the whole picture is in one decoded at a fraction, whose last row and column may stand
    for less than a pixel; None: everywhere."""


Least = Callable[[int, int], tuple[int, int]]
"""From width and height of an upright image to those that what is decoded has to have at least."""


def read_image(
    path: Path,
    most: int = MAX_PIXELS,
    *,
    levels: Levels | None = None,
    least: Least | None = None,
) -> Decoded:
    """Decode an image to upright 8-bit RGB. Safe to call from many threads.

    The orientation in its metadata is applied once; of an animation the first frame is taken;
    transparency is dropped; more than 8 bits a channel are brought to 8.

    Parameters
    ----------
    path : the image file; its ending does not matter.
    most : pixels of the largest image that is decoded.
    levels : values that are black and white in images of more than 8 bits; None: 16-bit levels are
        divided by 257, floating-point ones are in [0, 1] or [0, 255].
    least : where given, a JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its size that
        is no smaller than this; its decoder leaves the finest detail out.

    Raises
    ------
    UnreadableImageError
        For whatever cannot be decoded. The message is the plain reason
        without the path, so that equal reasons can be counted; callers name the file.
    """
    data = read_bytes(path)
    image, deep = opened(data, most, least)
    shrunk = image.info.pop(SHRUNK, None)
    try:
        if deep:
            rgb = eight_bits(image, data, levels)
            _turn_like(rgb, image)
        else:
            _turn_upright(image)
            rgb = _rgb(image)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error
    (width, height), box = shrunk or (rgb.size, None)
    return Decoded(image=rgb, width=width, height=height, digest=_digest(data), box=box)


def read_upright(path: Path, most: int = MAX_PIXELS) -> tuple[Image.Image, str]:
    """Decode an image in its own mode, upright, with the digest of its file.

    Raises
    ------
    UnreadableImageError
        For whatever cannot be decoded. The message is the plain reason
        without the path, so that equal reasons can be counted; callers name the file.
    """
    data = read_bytes(path)
    image, _ = opened(data, most)
    _turn_upright(image)
    return image, _digest(data)


def opened(
    data: bytes, most: int = MAX_PIXELS, least: Least | None = None
) -> tuple[Image.Image, bool]:
    """An image in its own mode, as it was stored, and whether it holds more than 8 bits."""
    try:
        image = _identified(data, most)
        pixels = image.width * image.height
        if pixels > most:
            raise UnreadableImageError(_too_large(pixels, most))
        deep = is_deep(image)  # what is decoded forgets it
        if least is not None and image.format == "JPEG":
            _shrink(image, least)
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries have cut-off files filled up
        image.load()
    except UnreadableImageError:
        raise
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error
    return image, deep


def _shrink(image: Image.Image, least: Least) -> None:
    """Have a JPEG decoded at a fraction of its size, in place, unless it is stored mirrored.

    Its upright size and its box once it is upright are kept.
    """
    turned = image.getexif().get(ORIENTATION, 1)
    sideways = turned in SIDEWAYS
    upright = image.size[::-1] if sideways else image.size
    wanted = least(*upright)
    if turned in MIRRORED or not (
        drafted := image.draft(None, wanted[::-1] if sideways else wanted)
    ):
        return
    _, (_, _, right, bottom) = drafted
    away, below = image.width - right, image.height - bottom
    boxes = {
        3: (away, below, image.width, image.height),
        6: (below, 0, image.height, right),
        8: (0, away, bottom, image.width),
    }
    image.info[SHRUNK] = upright, boxes.get(turned, (0, 0, right, bottom))


def _identified(data: bytes, most: int) -> Image.Image:
    """An image whose pixels are not decoded yet, where Pillow itself opens it."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        return opened_by_package(data, most)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of an image once it is upright, from its header.

    Raises
    ------
    UnreadableImageError
        If there is none to read.
    """
    if not is_there(path):
        raise UnreadableImageError("the file does not exist")
    try:
        with Image.open(readable(path, MAX_BYTES), formats=FORMATS) as image:
            turned = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
            return (image.height, image.width) if turned else (image.width, image.height)
    except UnidentifiedImageError:
        return read_upright(path)[0].size
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error


def copy_upright(source: Path, target: Path) -> None:
    """Copy an image byte by byte; one that its metadata turns is written turned, without them.

    Readers differ in whether they turn an image (OpenCV does, Pillow does not), so a place in it
    means the same to all of them only where nothing is left to turn. A JPEG is encoded again then,
    with little compression; other formats lose nothing.

    Raises
    ------
    UnreadableImageError
        If one that must be turned cannot be decoded.
    """
    if not _is_turned(source):
        if address_of(source):
            target.write_bytes(read_bytes(source))
        else:
            shutil.copyfile(source, target)
        return
    image, _ = read_upright(source)
    kept = {name: image.info[name] for name in ("icc_profile", "dpi") if name in image.info}
    how = {"quality": 95, "subsampling": 0} if image.format == "JPEG" else {}
    try:
        image.save(target, format=image.format, lossless=True, **kept, **how)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(_reason(error)) from error


def _is_turned(path: Path) -> bool:
    """Whether the metadata of an image say that it is to be turned or mirrored."""
    try:
        with Image.open(readable(path, MAX_BYTES), formats=FORMATS) as image:
            return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except DECODER_ERRORS:
        return False


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


_large = threading.Lock()


def _declared(path: Path) -> int:
    """Pixels that the header declares; 0 where there is none to read."""
    if not is_there(path):  # opening a pipe would wait for its other end
        return 0
    try:
        with Image.open(readable(path, MAX_BYTES), formats=FORMATS) as image:
            return image.width * image.height
    except DECODER_ERRORS:
        return 0


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes like ``Decoded.digest``; empty if the file cannot be read."""
    try:
        return _digest(read_bytes(path))
    except UnreadableImageError:
        return ""


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises
    ------
    UnreadableImageError
        If it cannot be read, is empty, or too large for an image.
    """
    try:
        data = far_bytes(path, MAX_BYTES) if address_of(path) else _file_bytes(path)
    except (OSError, ValueError, MemoryError) as error:
        raise UnreadableImageError(_file_reason(error)) from error
    if not data:
        raise UnreadableImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(f"the file has more than {MAX_BYTES:,} bytes")
    return data


def _file_bytes(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImageError("it is not a file")
    if status.st_size > MAX_BYTES:
        raise UnreadableImageError(f"the file has {status.st_size:,} bytes, too many for an image")
    return path.read_bytes()


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


def _turn_like(picture: Image.Image, image: Image.Image) -> None:
    """Turn a picture upright as the metadata of the image that it was made from says, in place."""
    try:
        picture.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    except DECODER_ERRORS:
        return
    _turn_upright(picture)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")
