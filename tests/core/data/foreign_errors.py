"""One error of every kind that libraries raise where data is missing or damaged."""

import lzma
import struct
import zlib
from xml.etree import ElementTree

import pyarrow
from PIL import Image


class Unknown(Exception):  # noqa: N818
    """What no table of exceptions lists."""


FOREIGN = "foreign words 0x7f"
BROKEN = [
    OSError(FOREIGN),
    KeyError(FOREIGN),
    IndexError(FOREIGN),
    AttributeError(FOREIGN),
    AssertionError(FOREIGN),
    MemoryError(FOREIGN),
    OverflowError(FOREIGN),
    RuntimeError(FOREIGN),
    struct.error(FOREIGN),
    zlib.error(FOREIGN),
    lzma.LZMAError(FOREIGN),
    TypeError(FOREIGN),
    ElementTree.ParseError(FOREIGN),
    NotImplementedError(FOREIGN),
    ValueError(FOREIGN),
    ImportError(FOREIGN),
    pyarrow.ArrowInvalid(FOREIGN),
    pyarrow.lib.ArrowCapacityError(FOREIGN),
    Image.DecompressionBombError(FOREIGN),
    Unknown(FOREIGN),
]
