"""What an image's file tells without the image: size, JPEG quality, camera, name; and a hash."""

from __future__ import annotations

import re
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from core.config import MAX_PIXELS
from core.data.decode import DECODER_ERRORS, FORMATS, MAX_BYTES
from core.data.far_images import readable
from core.types import FloatArray

MAKE, MODEL = 0x010F, 0x0110
"""Tags of EXIF: who made the camera, and which one."""

HASHED, KEPT = 32, 8
"""Side of the luma that is transformed, and of the lowest frequencies that make the hash."""

NAN = float("nan")


class FileFacts(NamedTuple):
    """Of one file."""

    file_bytes: float
    """Size of the file; NaN where it is gone."""
    file_format: str
    """As the decoder calls it; empty where it is no image."""
    jpeg_quality: float
    """By the luma's quantisation table, 1 to 100, as libjpeg counts; NaN where it is no JPEG."""
    camera: str
    """Make and model in EXIF; empty without."""
    name_pattern: str
    """The file's name, runs of digits as ``#`` and of hexadecimal digits of eight and more as
    ``@``."""
    perceptual_hash: str
    """64 bits in hexadecimal digits (:func:`perceptual_hash`); empty where it is no image, or has
    more than MAX_PIXELS."""


UNKNOWN = FileFacts(NAN, "", NAN, "", "", "")


def file_facts(path: Path) -> FileFacts:
    """The facts of a file; of one that is gone or damaged as many as there are. Thread-safe."""
    facts = UNKNOWN._replace(name_pattern=name_pattern(path.name))
    try:
        content = readable(path, MAX_BYTES)
        size = len(content.getvalue()) if isinstance(content, BytesIO) else path.stat().st_size
        facts = facts._replace(file_bytes=float(size))
        with Image.open(content, formats=FORMATS) as image:
            tables = getattr(image, "quantization", None)
            exif = image.getexif()
            facts = facts._replace(
                file_format=image.format or "",
                jpeg_quality=jpeg_quality(np.array(tables[0])) if tables else NAN,
                camera=" ".join(str(exif[tag]).strip() for tag in (MAKE, MODEL) if tag in exif),
            )
            if image.width * image.height > MAX_PIXELS:
                return facts
            image.draft("L", (4 * HASHED, 4 * HASHED))
            return facts._replace(perceptual_hash=perceptual_hash(image))
    except DECODER_ERRORS:
        return facts


def name_pattern(name: str) -> str:
    """A file's name without what numbers it."""
    return re.sub(r"\d+", "#", re.sub(r"[0-9a-f]{8,}", "@", name.lower()))


@cache
def _half() -> FloatArray:
    """Libjpeg's luma table (64,) at quality 50, which all others are multiples of."""
    content = BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG", quality=50)
    with Image.open(content) as image:
        return np.array(image.quantization[0], np.float64)  # type: ignore[attr-defined]


def jpeg_quality(table: FloatArray) -> float:
    """The quality, 1 to 100, at which libjpeg quantises by a table (64,) most like this one."""
    scale = float(np.median(100 * table / _half()))
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return float(np.clip(round(quality), 1, 100))


def perceptual_hash(image: Image.Image) -> str:
    """Signs of the lowest frequencies of the luma against their median, 16 hexadecimal digits.

    A discrete cosine transform of the picture at 32 x 32 (Zauner 2010, section 3.2.1); images that
    differ in size or compression have most bits in common.
    """
    from scipy.fft import dctn

    luma = np.asarray(image.convert("L").resize((HASHED, HASHED)), np.float64)
    low = dctn(luma, norm="ortho")[:KEPT, :KEPT].ravel()
    return np.packbits(low > np.median(low)).tobytes().hex()
