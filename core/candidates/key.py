"""What names a candidate of a class in tags, addresses, requests and files: ``van/pca-0``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.candidates.kinds import KINDS, title_of
from core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = r"(0|[1-9][0-9]{0,9})"
_TEXT = re.compile(rf"(?s:(.*)/)?([a-z]+)-{_NUMBER}")
_OLDER = re.compile(rf"{_NUMBER}([./])([a-z]+)\2{_NUMBER}")
"""``12.pca.0`` and ``12/pca/0``: the class by its output."""


@dataclass(frozen=True, order=True)
class CandidateKey:
    """One candidate of one class, whatever audit it is read from."""

    label: str
    """Raw label of the class; any text, a slash or a dash included."""
    kind: str
    """Name of a kind (:mod:`core.candidates.kinds`)."""
    number: int
    """0-based index by descending eigenvalue, the feature index of a neuron, or the number of a
    carried direction of the class."""

    def __str__(self) -> str:
        return f"{self.label}/{self.short}"

    @property
    def short(self) -> str:
        """Where the class is known: ``pca-0``."""
        return f"{self.kind}-{self.number}"

    @property
    def title(self) -> str:
        """In words, without the class; components and carried directions count from 1."""
        return title_of(self.kind, self.number)

    @classmethod
    def parse(
        cls, text: str, *, label: str | None = None, outputs: Sequence[str] = ()
    ) -> CandidateKey:
        """The key that a text writes; ``str(key)`` is read as the key that it came from.

        Parameters
        ----------
        label : class of a short text, ``pca-0``; without it the text has to say it.
        outputs : raw label of every output, for addresses that were written with its index,
            ``12.pca.0`` and ``12/pca/0``; without it these mean nothing.

        Raises
        ------
        InputError
            If the text names no candidate.
        """
        found, older = _TEXT.fullmatch(text), _OLDER.fullmatch(text)
        if found and found[2] in KINDS and (found[1] if label is None else label) is not None:
            whose = label if found[1] is None else found[1]
            return cls(str(whose), found[2], int(found[3]))
        if older and older[3] in KINDS and int(older[1]) < len(outputs):
            return cls(outputs[int(older[1])], older[3], int(older[4]))
        example = "pca-0" if label is not None else "van/pca-0"
        raise InputError(
            f"{text!r} names no candidate; write it like {example}, of the kinds {', '.join(KINDS)}"
        )


def keys_in(table: pd.DataFrame, label: str | None = None) -> list[CandidateKey]:
    """The key of every row of a table with ``kind`` and ``component``.

    Parameters
    ----------
    label : raw label of the class that all rows are of; without it the column ``label`` says it.
    """
    labels = table["label"] if label is None else [label] * len(table)
    rows = zip(labels, table["kind"], table["component"], strict=True)
    return [CandidateKey(str(name), str(kind), int(number)) for name, kind, number in rows]
