"""Names of annotators and candidates, and other texts that people give: what is stored and shown.

A name is stored in Unicode's composed form (NFC), without control characters and marks of writing
direction, every run of blanks as one, none at its ends; one that is longer than 120 characters
is cut and ends in a digest of the whole, so that two names never become one. So names that look
alike because they differ only in that are one person. A candidate's name is spelled the same way,
but refused where it is too long. Reasons keep their line breaks and blanks.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

from core.errors import InputError

LONGEST = 120
"""Characters of a name that the database has room for."""

LONGEST_CALLED = 80
"""Characters of the name of a candidate."""

NOBODY = "anonymous"

JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts cannot be spelled without."""

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what is no part of a name and ends or hides a part of a line."""


@lru_cache(maxsize=1024)
def person(name: str) -> str:
    """A name as it is stored; one that is stored already stays as it is."""
    kept = spelled(name)
    if len(kept) > LONGEST:
        digest = hashlib.blake2b(kept.encode(), digest_size=4).hexdigest()
        kept = f"{kept[: LONGEST - 9].rstrip()}~{digest}"
    return kept or NOBODY


def called(name: str) -> str | None:
    """The name of a candidate as it is stored; None of one that is empty.

    Raises
    ------
    InputError
        If it is longer than LONGEST_CALLED.
    """
    kept = spelled(name)
    if len(kept) > LONGEST_CALLED:
        raise InputError(
            f"the name {kept[:20]!r}… of a candidate has {len(kept)} characters; give at most "
            f"{LONGEST_CALLED}, and say the rest as the reason"
        )
    return kept or None


def spelled(name: str) -> str:
    """A name without what is unseen of it, whatever its length; see above."""
    spaced = " ".join(unicodedata.normalize("NFC", name).split())
    kept = "".join(c for c in spaced if c in JOINERS or unicodedata.category(c) not in HIDDEN)
    return " ".join(kept.strip(JOINERS).split())


def storable(text: str) -> str:
    """A text that every database holds: NUL and halves of surrogate pairs become ``?``."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")


def one_line(text: object) -> str:
    r"""A text as one line of a terminal or log: control characters are written as ``\x1b``."""
    return "".join(
        c if unicodedata.category(c) not in HIDDEN or c in JOINERS else ascii(c)[1:-1]
        for c in str(text)
    )
