"""Frozen values that are read from JSON documents and written back as they were.

A value says in its fields what its document holds: those without a default have to be there, the
others may lack in documents of earlier versions. Entries that no field is called like, of later
versions, are kept, and so is the order of all, so that what is read and written again is the same
document to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

Read = Callable[[Any, str], Any]
"""From a JSON value, and what it is called in messages, to ours."""

LATER, CALLED = "later", "called"
"""What is said of a field beside its type."""


class Mismatch(ValueError):
    """How a document differs from what a value needs, in words."""


def later(default: Any) -> Any:
    """A field whose entry is written only once it is another than this one."""
    return field(default=default, metadata={LATER: True})


def called(name: str, default: Any) -> Any:
    """A field whose entry bears another name, one with a space."""
    return field(default=default, metadata={CALLED: name})


class Entry(NamedTuple):
    """What an entry of a document is to a value."""

    field: str
    read: Read
    default: Any
    """MISSING where every document has it."""
    later: bool


@dataclass(frozen=True)
class JsonValue:
    """A value that is one JSON object."""

    unknown: Mapping[str, Any] = field(default_factory=dict, hash=False, kw_only=True)
    """Entries of another version."""
    written: tuple[str, ...] = field(default=(), compare=False, repr=False, kw_only=True)
    """Entries that it was read from, in their order; empty where it was made here."""

    @classmethod
    @cache
    def entries(cls) -> dict[str, Entry]:
        """Every entry of such a document, by its name there."""
        hints = get_type_hints(cls)
        return {
            each.metadata.get(CALLED, each.name): Entry(
                each.name,
                (_or_nan if _is_nan(each.default) else _as_it_is)(_reader(hints[each.name])),
                each.default,
                each.metadata.get(LATER, False),
            )
            for each in fields(cls)
            if each.name not in ("unknown", "written")
        }

    @classmethod
    def from_json(cls, found: Any, name: str = "") -> Self:
        """Read a JSON object.

        Parameters
        ----------
        name : what it is called in messages; empty for a whole document.

        Raises
        ------
        Mismatch
            If it is none, or an entry is missing or of another kind.
        """
        if not isinstance(found, Mapping):
            raise Mismatch(f"{name or 'it'} is no object")
        entries, known, inside = cls.entries(), {}, f"{name}." if name else ""
        for key, entry in entries.items():
            if key in found:
                known[entry.field] = entry.read(found[key], f"{inside}{key}")
            elif entry.default is MISSING:
                raise Mismatch(f"{inside}{key} is missing")
        unknown = {key: said for key, said in found.items() if key not in entries}
        return cls(**known, unknown=unknown, written=tuple(found))

    def to_json(self) -> dict[str, object]:
        """The object: entries that were read, in their order, then what came since.

        Of a value that was made here, every entry but those that come later.
        """
        known = self.entries()
        ours = {key: getattr(self, entry.field) for key, entry in known.items()}
        kept = self.written or [key for key, entry in known.items() if not entry.later]
        since = [key for key in ours if not _alike(ours[key], known[key].default)]
        all_of_it = {**ours, **self.unknown}
        return {key: as_json(all_of_it[key]) for key in dict.fromkeys([*kept, *since])}

    def with_entries(self, **changes: Any) -> Self:
        """A copy with entries that are written whatever they are, after those there were."""
        names = (*(self.written or self.to_json()), *changes)
        return replace(self, **changes, written=tuple(dict.fromkeys(names)))


def as_json(value: Any) -> Any:
    """A value as what JSON has: objects, lists, texts, numbers."""
    if isinstance(value, JsonValue):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: as_json(inside) for key, inside in value.items()}
    return [as_json(inside) for inside in value] if isinstance(value, list | tuple) else value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _alike(one: Any, other: Any) -> bool:
    return bool(one == other) or (_is_nan(one) and _is_nan(other))


def _as_it_is(read: Read) -> Read:
    return read


def _or_nan(read: Read) -> Read:
    """JSON has no NaN; null stands for it where that is what a field is by default."""
    return lambda value, name: float("nan") if value is None else read(value, name)


@cache
def _reader(kind: Any) -> Read:
    """How a value of a type is read."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind in (Any, object):
        return lambda value, _: value
    if origin is tuple:
        return _list_of(_reader(inside[0]))
    if origin is Mapping:
        return _object_of(_reader(inside[1]))
    if origin is Literal:
        return _one_of(inside)
    if inside:  # X | Y
        return _either([_reader(one) for one in inside])
    if issubclass(kind, JsonValue):
        read: Read = kind.from_json
        return read
    return _scalar({float: (int, float)}.get(kind, (kind,)))


def _scalar(kinds: tuple[type, ...]) -> Read:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise Mismatch(f"{name} is of another kind")  # Python counts with True and False
        return value

    return read


def _one_of(words: tuple[Any, ...]) -> Read:
    def read(value: Any, name: str) -> Any:
        if value not in words:
            raise Mismatch(f"{name} is none of {', '.join(words)}")
        return value

    return read


def _list_of(read: Read) -> Read:
    def read_all(value: Any, name: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Mismatch(f"{name} is no list")
        return tuple(read(one, f"{name}[]") for one in value)

    return read_all


def _object_of(read: Read) -> Read:
    def read_all(value: Any, name: str) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            raise Mismatch(f"{name} is no object")
        return {key: read(one, f"{name}.{key}") for key, one in value.items()}

    return read_all


def _either(readers: list[Read]) -> Read:
    def read_one(value: Any, name: str) -> Any:
        for read in readers[:-1]:
            try:
                return read(value, name)
            except Mismatch:
                continue
        return readers[-1](value, name)

    return read_one
