"""Entries of the log of tags, and what is said of rows that are none.

Rows come from a database that other programs can write to: every value is checked before it is
believed. A row that cannot be understood is never left out in silence: it is a :class:`Fault`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from core.candidates.key import CandidateKey
from core.candidates.kinds import NAME
from core.tags.people import LONGEST_CALLED, one_line
from core.types import Subtype, Tag, count_of


@dataclass(frozen=True)
class NewTag:
    """What somebody says of a candidate, before it is an entry of the log."""

    annotator: str
    label: str
    """Raw label of the class."""
    kind: str
    component: int
    tag: str | None
    subtype: str | None = None
    confidence: int | None = None
    reason: str | None = None
    at: str | None = None
    """When it was said, ISO 8601; None: now."""
    called: str | None = None
    """A name for the candidate; empty: none; None: as the annotator called it before."""

    @property
    def key(self) -> CandidateKey:
        """Of what it is said."""
        return CandidateKey(self.label, self.kind, self.component)


@dataclass(frozen=True)
class TagEvent:
    """One entry of the log."""

    id: int
    at: str
    """UTC, ISO 8601."""
    annotator: str
    audit_id: str
    label: str
    """Raw label of the class."""
    kind: str
    """Name of a kind of candidates, which may not be installed here."""
    component: int
    tag: Tag | None
    """None: the tag was taken back."""
    subtype: Subtype | None = None
    """What kind of spurious; None where it was not said."""
    confidence: int | None = None
    """1 (guess) to 5 (sure); None where it was not said."""
    reason: str | None = None
    """In the annotator's words."""
    undoes: int | None = None
    """The entry that this one takes back."""
    previous: int | None = None
    """The entry before it of the same annotator on the same candidate."""
    called: str | None = None
    """The annotator's name for the candidate (:func:`core.tags.people.called`)."""

    @property
    def key(self) -> CandidateKey:
        """Of what it is said."""
        return CandidateKey(self.label, self.kind, self.component)


class Fault(NamedTuple):
    """A row of the log that cannot be understood."""

    id: Any
    why: str


TAGS = {str(tag): tag for tag in Tag}
SUBTYPES = {str(subtype): subtype for subtype in Subtype}
SURE = (1, 2, 3, 4, 5)
MOST = 2**31 - 1
"""Largest number that every database holds."""

SHORT = 30
"""Characters of a value that are shown."""

SHOWN, NAMED = 5, 40
"""Faulty rows that are described, and those of which the numbers are given."""

KIND = re.compile(NAME)

BROKEN = re.compile("[\0\ud800-\udfff]")
"""What no text that was stored by this program holds."""


def _text(value: Any) -> bool:
    return type(value) is str and (
        "\0" not in value if value.isascii() else BROKEN.search(value) is None
    )


def readable_text(value: Any) -> bool:
    """Whether a value of the database is a text that this program can have stored."""
    return _text(value) and value != ""


def _number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def _one_of(known: Mapping[str, object]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in known


def _kind(value: Any) -> bool:
    return isinstance(value, str) and KIND.fullmatch(value) is not None


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _sure(value: Any) -> bool:
    return type(value) is int and value in SURE


def is_called(value: Any) -> bool:
    """Whether a value is a name of a candidate as it is stored."""
    unspoilt = readable_text(value) and value == one_line(value) == " ".join(value.split())
    return unspoilt and len(value) <= LONGEST_CALLED


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_number, "is no number"),
    "at": (_text, "is no text"),
    "annotator": (readable_text, "is no name"),
    "audit_id": (_text, "is no text"),
    "label": (_text, "is no text"),
    "kind": (_kind, "is no kind of candidates"),
    "component": (_number, "is no number from 0 on"),
    "tag": (_or_none(_one_of(TAGS)), f"is not {', '.join(TAGS)}"),
    "subtype": (_or_none(_one_of(SUBTYPES)), f"is not {', '.join(SUBTYPES)}"),
    "confidence": (_or_none(_sure), "is not 1, 2, 3, 4, 5"),
    "reason": (_or_none(_text), "is no text"),
    "undoes": (_or_none(_number), "is no entry"),
    "previous": (_or_none(_number), "is no entry"),
    "called": (
        _or_none(is_called),
        f"is no name of one line and {LONGEST_CALLED} characters",
    ),
}
"""By column, in the order of the log's: what a value has to be, and what is said of others."""


def read_all(rows: Sequence[Sequence[Any]]) -> tuple[list[TagEvent], list[Fault]]:
    """The entries among some rows of the log, and the rows that are none."""
    if _sound(rows):
        found = [_fault(row) or _entry(row) for row in rows]
    else:
        found = [read(row) for row in rows]
    return (
        [row for row in found if isinstance(row, TagEvent)],
        [row for row in found if isinstance(row, Fault)],
    )


def _sound(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether every value of every row means something, each looked at once."""
    return all(
        all(sound(value) for _, value in set(zip(map(type, column), column, strict=True)))
        for column, (sound, _) in zip(zip(*rows, strict=True), CHECKS.values(), strict=False)
    )


def read(row: Sequence[Any]) -> TagEvent | Fault:
    """An entry from the values of the log's columns, or why there is none."""
    for value, (name, (sound, words)) in zip(row, CHECKS.items(), strict=True):
        if not sound(value):
            return Fault(row[0], f"{name} {ascii(value)[:SHORT]} {words}")
    return _fault(row) or _entry(row)


def _fault(row: Sequence[Any]) -> Fault | None:
    """What does not go together in a row of which every value means something."""
    number, tag, subtype = row[0], row[7], row[8]
    if subtype and tag != Tag.SPURIOUS:
        return Fault(number, f"subtype {subtype!r} belongs to the tag spurious, not to {tag!r}")
    return None


def _entry(row: Sequence[Any]) -> TagEvent:
    number, at, annotator, audit_id, label, kind, component, tag, subtype, *more = row
    said = TAGS[tag] if tag else None
    which = SUBTYPES[subtype] if subtype else None
    return TagEvent(number, at, annotator, audit_id, label, kind, component, said, which, *more)


def described(faults: Sequence[Fault]) -> str:
    """Which rows cannot be understood and why, as one clause."""
    n = len(faults)
    some = "; ".join(f"entry {ascii(fault.id)[:SHORT]}: {fault.why}" for fault in faults[:SHOWN])
    text = f"{count_of(n, 'entry', 'entries')} cannot be understood ({some}"
    if n > SHOWN:
        rest = ", ".join(ascii(fault.id)[:SHORT] for fault in faults[SHOWN:NAMED])
        text += f"; and {rest}" + (f" and {n - NAMED} more" if n > NAMED else "")
    return f"{text})"
