"""Names of annotators and other texts that people give: what is stored of them, and shown.

A name is stored in Unicode's composed form (NFC), without control characters and marks of writing
direction, every run of blanks as one, none at its ends; one that is longer than 120 characters
is cut and ends in a digest of the whole, so that two names never become one. So names that look
alike because they differ only in that are one person. Reasons keep their line breaks and blanks.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

LONGEST = 120
"""Characters of a name that the database has room for."""

NOBODY = "anonymous"

JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts cannot be spelled without."""

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what is no part of a name and ends or hides a part of a line."""


@lru_cache(maxsize=1024)
def person(name: str) -> str:
    """A name as it is stored; one that is stored already stays as it is."""
    spaced = " ".join(unicodedata.normalize("NFC", name).split())
    kept = "".join(c for c in spaced if c in JOINERS or unicodedata.category(c) not in HIDDEN)
    kept = " ".join(kept.strip(JOINERS).split())
    if len(kept) > LONGEST:
        digest = hashlib.blake2b(kept.encode(), digest_size=4).hexdigest()
        kept = f"{kept[: LONGEST - 9].rstrip()}~{digest}"
    return kept or NOBODY


def storable(text: str) -> str:
    """A text that every database holds: NUL and halves of surrogate pairs become ``?``."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


def one_line(text: object) -> str:
    r"""A text as one line of a terminal or log: control characters are written as ``\x1b``."""
    return "".join(
        c if unicodedata.category(c) not in HIDDEN or c in JOINERS else ascii(c)[1:-1]
        for c in str(text)
    )
