"""What libraries that load data sets raise, in words of ours, and the images lost to it."""

from __future__ import annotations

import contextlib
import csv
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TypeVar
from urllib.error import URLError

from pyarrow import ArrowException

from core.errors import DataError, SpurioscopeError, UnreadableImageError
from core.types import count_of

T = TypeVar("T")

DAMAGED = (
    *(EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(pickle.UnpicklingError, csv.Error, ArrowException, UnicodeError, SyntaxError),
)

KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (MemoryError, "there is not enough memory"),
    (DAMAGED, "a file is cut off or damaged"),
    (NotImplementedError, "it lacks a part that every data set of images has"),
    (FileNotFoundError, "a file is missing"),
    ((ConnectionError, TimeoutError, URLError, HTTPException), "the connection failed"),
    (OSError, "a file is damaged or cannot be read"),
    (LookupError, "an entry that should be there is missing"),
    (
        (ValueError, TypeError, AttributeError, ArithmeticError, AssertionError),
        "a value is not what it should be",
    ),
    (RuntimeError, "its files are missing or not complete"),
)
"""Kinds of errors, the first that fits counts, and what they mean to a user."""

ATTEMPTS = 1000
"""Images after which reading ends where not a single one could be read."""


def reason(error: Exception) -> str:
    """Say why a library failed, without its own words."""
    if isinstance(error, UnreadableImageError):
        return str(error)
    if isinstance(error, ImportError):
        return f"it needs {package(error)}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return next((text for kinds, text in KINDS if isinstance(error, kinds)), "its library failed")


def package(error: ImportError) -> str:
    """Name the package that an import did not find."""
    return f"the package {error.name}" if error.name else "a package that is not installed"


@contextlib.contextmanager
def in_our_words(
    kind: type[SpurioscopeError], say: Callable[[Exception], str] = reason
) -> Iterator[None]:
    """Turn whatever a library raises into an error of ours; which kinds it has, nobody lists.

    Parameters
    ----------
    kind : the error to raise.
    say : its message, from what was raised.
    """
    try:
        yield
    except SpurioscopeError:
        raise
    except Exception as error:
        raise kind(say(error)) from error


class NoLabelError(UnreadableImageError):
    """An image without a label: left out, but nothing is wrong with it."""


@dataclass
class LeftOut:
    """Images of a data set that cannot be read: counted by split, while the others go on."""

    source: str
    """The data set as its user named it."""
    read: int = 0
    unlabelled: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    """Of each split, why its first image could not be read."""

    def attempt(self, split: str, read: Callable[[], T]) -> T | None:
        """Return what ``read`` returns; None, counted, where it fails.

        Raises
        ------
        DataError
            If none of the first :data:`ATTEMPTS` images could be read.
        """
        try:
            with in_our_words(UnreadableImageError):
                found = read()
        except NoLabelError:
            self.unlabelled[split] += 1
            return None
        except UnreadableImageError as error:
            self.unread[split] += 1
            self.first.setdefault(split, str(error))
            if self.unread.total() >= ATTEMPTS:
                self.refuse_if_none()
            return None
        self.read += 1
        return found

    def refuse_if_none(self) -> None:
        """Raise DataError if not a single image could be read."""
        if self.read:
            return
        tried = self.unread.total() + self.unlabelled.total()
        why = next(iter(self.first.values()), "none has a label" if tried else "it is empty")
        raise DataError(
            f"{self.source} holds no image that can be read ({tried:,} tried): {why}; only data "
            "sets with one class per image can be audited: export its images as CLASS/IMAGE and "
            "give that folder"
        )

    def notes(self) -> list[str]:
        """Say in one sentence per split and kind what was left out."""
        return [
            *(
                f"{_images(n, split)} without a label, left out."
                for split, n in self.unlabelled.items()
            ),
            *(
                f"{_images(n, split)} that could not be read, left out; the first: "
                f"{self.first[split]}."
                for split, n in self.unread.items()
            ),
        ]


def _images(count: int, split: str) -> str:
    return f"{count_of(count, 'image')} of the split {split}"
