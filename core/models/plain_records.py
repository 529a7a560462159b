"""Plain records of Python that torch's safe loader is told to allow: values, and no code.

What each of these does on loading is known: it keeps the entries it is given. A class of any other
name in a file is refused as before.
"""

from __future__ import annotations

import argparse
import datetime
import decimal
import pathlib
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch

RECORDS = (
    *(argparse.Namespace, types.SimpleNamespace, set),
    *(pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal),
)
"""Of the standard library. A ``defaultdict`` is none: the loader fills no mapping but its own."""


@contextmanager
def plain_records() -> Iterator[None]:
    """Have torch's safe loader take plain records inside the block."""
    with torch.serialization.safe_globals([*RECORDS, *_numbers()]):
        yield


@cache
def _numbers() -> tuple[Any, ...]:
    """What single numbers of NumPy are stored as; not its arrays, which may hold objects."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in np.sctypeDict.values() if kind is not np.object_}
    named = [(scalar, f"{module}.multiarray.scalar") for module in ("numpy._core", "numpy.core")]
    return (*named, np.dtype, *sorted(kinds - {type(np.dtype(object))}, key=lambda k: k.__name__))
