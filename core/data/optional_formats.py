"""Images that only an optional package decodes: DICOM by pydicom, HEIC by pillow-heif.

Without the package their files are counted as left out, and the package is named.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from core.data.depth import REMEDY, tiff_values
from core.errors import UnreadableImageError
from core.types import FloatArray


class Optional(NamedTuple):
    """One kind of file, and what reads it."""

    title: str
    module: str
    extra: str
    """``pip install 'spurioscope[extra]'``."""
    endings: frozenset[str]
    """Small letters, without the dot."""


DICOM = Optional("DICOM", "pydicom", "dicom", frozenset({"dcm", "dicom"}))
HEIC = Optional("HEIC", "pillow_heif", "heic", frozenset({"heic", "heif", "hif"}))

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What stands in the first box of such a file (ISO/IEC 23008-12); AVIF has brands of its own."""


@cache
def is_there(kind: Optional) -> bool:
    """Whether the package of a kind is installed."""
    return find_spec(kind.module) is not None


def is_readable(ending: str) -> bool:
    """Whether files of this ending, small letters without the dot, can be read here."""
    return any(ending in kind.endings and is_there(kind) for kind in (DICOM, HEIC))


def hints(endings: Iterable[str]) -> str:
    """Which packages would read files that were left out, as sentences; empty for none.

    Parameters
    ----------
    endings : small letters, with their dot.
    """
    found = {ending.removeprefix(".") for ending in endings}
    lacking = [kind for kind in (DICOM, HEIC) if kind.endings & found and not is_there(kind)]
    return " ".join(_hint(kind) for kind in lacking)


def _hint(kind: Optional) -> str:
    return f"{kind.title} needs a package: pip install 'spurioscope[{kind.extra}]'."


def kind_of_file(start: bytes) -> Optional | None:
    """Which of these a file is, by its first bytes; None for any other."""
    if start[128:132] == b"DICM":
        return DICOM
    return HEIC if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS else None


def opened_by_package(data: bytes, most: int) -> Image.Image:
    """An image that Pillow alone does not open.

    Parameters
    ----------
    data : the file, or its beginning where nothing is decoded of it.
    most : pixels of the largest one that is decoded.

    Raises
    ------
    UnidentifiedImageError
        If it is none of these kinds.
    UnreadableImageError
        If its package is missing, or it is too large.
    """
    kind = kind_of_file(data)
    if kind is None:
        if values := tiff_values(data):
            raise UnreadableImageError(f"it is {values}, which nothing here decodes: {REMEDY}")
        raise UnidentifiedImageError("no image of a known format")
    if not is_there(kind):
        raise UnreadableImageError(f"it is {kind.title}: {_hint(kind).rstrip('.')}")
    if kind is DICOM:
        return _dicom(data, most)
    _register()
    return Image.open(io.BytesIO(data), formats=("HEIF",))


@cache
def _register() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def _dicom(data: bytes, most: int) -> Image.Image:
    """The first frame: colours, grey by the file's window, or values that have no scale yet.

    Stored values become those of the modality (rescale slope and intercept, or its table). A window
    (or a table of values of interest) that the file names says what is black and white; without
    one the data set's scale does (:mod:`core.data.levels`). MONOCHROME1, whose lowest value is
    white, is turned round (DICOM PS3.3 C.7.6.3.1.2, C.11.1, C.11.2).
    """
    import pydicom
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    file = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in file:
        raise UnreadableImageError("it is DICOM without pixels")
    pixels = int(file.Rows) * int(file.Columns)
    if pixels > most:
        raise UnreadableImageError(f"the image has {pixels:,} pixels, at most {most:,} are decoded")
    stored = pixel_array(file, index=0)
    if file.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)
    if stored.ndim == 3:
        deep = stored.dtype.itemsize > 1
        return Image.fromarray((stored >> 8 if deep else stored).astype(np.uint8))
    values = apply_modality_lut(stored, file).astype(np.float64)
    inverted = file.PhotometricInterpretation == "MONOCHROME1"
    if any(name in file for name in ("WindowCenter", "VOILUTSequence")):
        grey = _windowed(values, file)
        return Image.fromarray(255 - grey if inverted else grey)
    if inverted:
        low, high = apply_modality_lut(_ends(file), file).astype(np.float64)
        values = low + high - values
    whole = bool((values == np.rint(values)).all())
    return Image.fromarray(values.astype(np.int32 if whole else np.float32))


def _ends(file: Any) -> FloatArray:
    """Lowest and highest value that a pixel can be stored as."""
    bits = int(file.BitsStored)
    low = -(2 ** (bits - 1)) if file.PixelRepresentation else 0
    return np.array([low, low + 2**bits - 1], np.int32)


def _windowed(values: FloatArray, file: Any) -> FloatArray:
    """Values of the modality as grey levels, uint8, by the file's first window, or its table."""
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if "WindowCenter" in file:
        beyond = [-1e12, 1e12]  # what these become is black and white
        with np.errstate(over="ignore"):
            found = apply_windowing(np.append(values, beyond), file)
        shown, (low, high) = found[:-2], found[-2:]
    else:
        shown = apply_voi(values.astype(np.int64), file)
        low, high = 0, 2 ** int(file.VOILUTSequence[0].LUTDescriptor[2]) - 1
    grey = (np.reshape(shown, values.shape) - low) * 255 / (high - low)
    levels: FloatArray = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
    return levels
