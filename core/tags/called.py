"""What people call candidates, and how a candidate is written wherever it is shown.

A name belongs to a tag. Those of the standing tags of people count: the most frequent one first,
of equally frequent ones the one that was given first. Names that differ in capitals alone are one,
as it was spelled first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from core.candidates.key import CandidateKey, keys_in
from core.tags.entries import TagEvent
from core.tags.log import standing
from core.tags.votes import ADJUDICATION, GOLD

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 3
"""Names of one candidate that are shown; the others stand in the history."""


@dataclass(frozen=True)
class Names:
    """The standing names of an audit's candidates."""

    given: Mapping[CandidateKey, Sequence[str]] = field(default_factory=dict)
    """Those of every candidate that has one, the most frequent first."""

    def first(self, key: CandidateKey) -> str:
        """The most frequent name of a candidate; empty where it has none."""
        return next(iter(self.given.get(key, ())), "")

    def of(self, key: CandidateKey) -> str:
        """The names of a candidate as one text; empty where it has none."""
        return " / ".join(self.given.get(key, ())[:SHOWN])

    def written(self, key: CandidateKey) -> str:
        """A candidate in words, without its class: ``snow (component 1)``, or its number alone."""
        return titled(key.title, self.given.get(key, ()))

    def heading(self, key: CandidateKey) -> str:
        """:meth:`written` at the beginning of a line; a name stays as people wrote it."""
        return self.written(key) if key in self.given else key.title.capitalize()

    def in_table(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table with ``label`` and ``subject`` whose candidates bear their names.

        Tables are stored without: people may call a candidate something else tomorrow.
        """
        if not self.given or table.empty:
            return table
        rows = zip(table["label"], table["subject"], strict=True)
        return table.assign(subject=[self.said(label, of) for label, of in rows])

    def beside(self, table: pd.DataFrame, outputs: Sequence[str]) -> pd.DataFrame:
        """A table with ``class_idx``, ``kind`` and ``component``, and a column ``called`` more.

        Parameters
        ----------
        outputs : raw label of every output.
        """
        labels = [outputs[class_idx] for class_idx in table["class_idx"]]
        keys = keys_in(table.assign(label=labels))
        return table.assign(called=[self.of(key) for key in keys])

    def said(self, label: str, title: str) -> str:
        """:meth:`written` of a title without names; other texts as they are."""
        return self._by_title.get((label, title), title)

    @cached_property
    def _by_title(self) -> dict[tuple[str, str], str]:
        return {(key.label, key.title): self.written(key) for key in self.given}


NAMELESS = Names()


def titled(title: str, names: Sequence[str]) -> str:
    """The title of a candidate behind its names, if it has any."""
    return f"{' / '.join(names[:SHOWN])} ({title})" if names else title


def names_of(history: Sequence[TagEvent]) -> Names:
    """The standing names at the end of a log (:meth:`core.tags.log.TagStore.history`)."""
    first: dict[tuple[CandidateKey, str], TagEvent] = {}
    for event in history:
        if event.called:
            first.setdefault((event.key, event.called.casefold()), event)
    counts: dict[CandidateKey, Counter[str]] = {}
    for event in standing(history):
        if event.called and event.annotator not in (ADJUDICATION, GOLD):
            counts.setdefault(event.key, Counter())[event.called.casefold()] += 1
    given = {}
    for key, count in counts.items():
        order = sorted(count, key=lambda name: (-count[name], first[key, name].id))
        given[key] = [str(first[key, name].called) for name in order]
    return Names(given)
