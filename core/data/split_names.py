"""Folders and cells that name a split, in the words people use."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from core.types import TRAIN

KINDS: Mapping[str, frozenset[str]] = {
    TRAIN: frozenset({"train", "training", "trn", "tr", "trainset", "trainval", "learn"}),
    "val": frozenset({"val", "valid", "validation", "validate", "dev", "development", "valset"}),
    "test": frozenset({"test", "testing", "tst", "te", "ts", "testset", "eval", "evaluation"}),
}
"""Words, small letters, that name a split, by our name for it."""

HELD_OUT = frozenset({"val", "valid", "validation", "test"})
"""Names of held-out splits that stay as they are written."""

FILLERS = frozenset(
    {"set", "data", "dataset", "split", "images", "image", "imgs", "img", "folder", "samples"}
    | {"", "original", "part", "files", "pictures", "photos", "ds"}
)
"""Further words in such a name that mean nothing."""

NUMBERED = {"0": TRAIN, "1": "val", "2": "test"}
"""What the numbers mean in metadata (Sagawa et al. 2020; WILDS)."""


def kind_of(name: str, alike: Collection[str] = ()) -> str | None:
    """Our name of the split that a name means, None where it means none.

    Parameters
    ----------
    alike : names beside it, among which a word that all share counts as a filler (``seg_train``
        beside ``seg_test``).
    """
    words = _words(name)
    found = {kind for kind, known in KINDS.items() for word in words if word in known}
    rest = [word for word in words if not any(word in known for known in KINDS.values())]
    shared = set.intersection(*(set(_words(other)) for other in alike)) if len(alike) > 1 else set()
    plain = all(word in FILLERS or word in shared or word.isdecimal() for word in rest)
    return found.pop() if len(found) == 1 and plain else None


def _words(name: str) -> list[str]:
    """Words of a name in small letters; a number at the end of a word counts as its own."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z]*[^a-z0-9]+|(?<=[a-z])(?=\d)", apart.lower()) if word]


def split_name(name: str, kind: str | None) -> str:
    """How a split is called here: held-out ones that are plain words keep theirs."""
    plain = name.lower()
    return plain if kind is None or plain in HELD_OUT else kind
