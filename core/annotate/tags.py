"""Tags: what people say about candidates, as an append-only log of events.

The current state is derived from the log, so undo and history come from it, and two people (or
two browser windows) never overwrite each other's work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.exc import DatabaseError

from core.annotate.database import EVENTS, engine_of, place, without_password
from core.errors import InputError, WorkspaceError
from core.store import Workspace, refuse_if_read_only
from core.types import Kind, Subtype, Tag

SAME = ("audit_id", "annotator", "label", "kind", "component")
"""What two entries have in common if the newer one replaces the older."""


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
    kind: Kind
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


class TagStore:
    """The tags of a workspace: in its SQLite database, or in the one that it names by URL."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, workspace: Workspace) -> TagStore:
        """The workspace's database, made or brought up to date where that is needed.

        Raises
        ------
        InputError
            If the URL is none, or its driver is not installed.
        WorkspaceError
            If the database cannot be opened, or was written by a newer version.
        """
        if workspace.database:
            return cls(engine_of(workspace.database))
        return cls(engine_of(f"sqlite:///{workspace.root / 'tags.sqlite'}"))

    def add(
        self,
        annotator: str,
        audit_id: str,
        label: str,
        kind: Kind,
        component: int,
        tag: Tag | None,
        *,
        subtype: Subtype | None = None,
        confidence: int | None = None,
        reason: str | None = None,
    ) -> TagEvent:
        """Append a tag, or with None take the candidate's tag away; saved when this returns.

        Raises
        ------
        InputError
            If a tag that is not spurious has a subtype, or the confidence is not 1 to 5.
        WorkspaceError
            If the database cannot be written.
        """
        if subtype is not None and tag is not Tag.SPURIOUS:
            raise InputError(f"subtype {subtype!r} belongs to the tag spurious, not to {tag!r}")
        if confidence is not None and not 1 <= confidence <= 5:
            raise InputError(f"confidence {confidence}: give 1 (a guess) to 5 (sure)")
        return self._append(
            {
                "annotator": _name(annotator),
                "audit_id": audit_id,
                "label": label,
                "kind": Kind(kind).value,
                "component": int(component),
                "tag": Tag(tag).value if tag else None,
                "subtype": Subtype(subtype).value if subtype else None,
                "confidence": confidence,
                "reason": reason or None,
                "undoes": None,
            }
        )

    def _append(self, values: dict[str, Any]) -> TagEvent:
        values = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}
        before = select(func.max(EVENTS.c.id)).where(
            *(EVENTS.c[name] == values[name] for name in SAME)
        )
        entry = insert(EVENTS).values(**values, previous=before.scalar_subquery())
        with self._writing() as connection:
            number, previous = connection.execute(
                entry.returning(EVENTS.c.id, EVENTS.c.previous)
            ).one()
        return _event({"id": number, **values, "previous": previous})

    def add_many(self, audit_id: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Append many tags in one transaction; all or none. Returns how many were new.

        Of several rows of one annotator about one candidate the last counts. A row that says what
        its annotator's standing tag already says is left out, so importing a file twice changes
        nothing.

        Parameters
        ----------
        rows : annotator, label, kind, component, tag, subtype, confidence, reason, and ``at``
            (None: now).
        """
        standing = {(e.annotator, *_candidate(e)): e for e in self.current(audit_id)}
        last = {self._key(row): i for i, row in enumerate(rows)}  # of a person who answered twice
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        new = []
        for i, row in enumerate(rows):
            if last[self._key(row)] != i:
                continue
            entry = {**row, "audit_id": audit_id, "undoes": None, "at": row["at"] or now}
            entry["annotator"] = _name(row["annotator"])
            entry["previous"] = None
            known = standing.get(self._key(row))
            said = (row["tag"], row["subtype"], row["confidence"], row["reason"])
            if known and said == (known.tag, known.subtype, known.confidence, known.reason):
                continue
            if known:
                entry["previous"] = known.id
            new.append(entry)
        with self._writing() as connection:
            if new:
                connection.execute(insert(EVENTS), new)
        return len(new)

    @staticmethod
    def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return _name(row["annotator"]), row["label"], Kind(row["kind"]), row["component"]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction; what cannot be saved is said in a sentence."""
        refuse_if_read_only()
        try:
            with self.engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            raise WorkspaceError(
                f"the tag could not be saved in {place(self.engine.url)}: "
                f"{without_password(error.orig, self.engine.url)}; check that it is writable and "
                "the disk is not full"
            ) from None

    def undo(self, annotator: str, audit_id: str) -> TagEvent | None:
        """Take back the annotator's last entry that still stands; None if there is none.

        The undoing is an entry too: it restores the tag that stood before.
        """
        history = self.history(audit_id, annotator)
        gone = {entry.undoes for entry in history}
        standing = [e for e in history if e.undoes is None and e.id not in gone]
        if not standing:
            return None
        last = standing[-1]
        before = [e for e in standing[:-1] if _candidate(e) == _candidate(last)]
        restored = asdict(before[-1] if before else replace(last, tag=None))
        if not before:
            restored |= {"subtype": None, "confidence": None, "reason": None}
        for name in ("id", "at", "previous"):
            del restored[name]
        return self._append({**restored, "undoes": last.id})

    def history(self, audit_id: str, annotator: str | None = None) -> list[TagEvent]:
        """The log of an audit, oldest first; of one person where a name is given."""
        query = select(EVENTS).where(EVENTS.c.audit_id == audit_id).order_by(EVENTS.c.id)
        if annotator is not None:
            query = query.where(EVENTS.c.annotator == _name(annotator))
        with self._reading() as connection:
            return [_read(row) for row in connection.execute(query)]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection; what cannot be read is said in a sentence."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except DatabaseError as error:
            raise WorkspaceError(
                f"the tags in {place(self.engine.url)} cannot be read: "
                f"{without_password(error.orig, self.engine.url)}; restore them from a backup"
            ) from None

    def state(self, audit_id: str) -> tuple[int, int]:
        """Number of entries of an audit's log and the newest one: changes with every entry."""
        query = select(func.count(), func.max(EVENTS.c.id)).where(EVENTS.c.audit_id == audit_id)
        with self._reading() as connection:
            count, newest = connection.execute(query).one()
        return int(count), int(newest or 0)

    def current(self, audit_id: str, annotator: str | None = None) -> list[TagEvent]:
        """The standing tag of every annotator and candidate; taken-back ones left out."""
        latest = {(e.annotator, *_candidate(e)): e for e in self.history(audit_id, annotator)}
        return [entry for entry in latest.values() if entry.tag is not None]


def _name(annotator: str) -> str:
    return annotator.strip()[:120] or "anonymous"


def _candidate(entry: TagEvent) -> tuple[str, Kind, int]:
    return entry.label, entry.kind, entry.component


def _event(values: Mapping[str, Any]) -> TagEvent:
    return _read([values[column.name] for column in EVENTS.columns])


KINDS = {str(kind): kind for kind in Kind}
TAGS = {str(tag): tag for tag in Tag}
SUBTYPES = {str(subtype): subtype for subtype in Subtype}


def _read(row: Sequence[Any]) -> TagEvent:
    """An entry from the values of EVENTS' columns."""
    number, at, annotator, audit_id, label, kind, component, tag, subtype, *more = row
    said = TAGS[tag] if tag else None
    which = SUBTYPES[subtype] if subtype else None
    return TagEvent(
        number, at, annotator, audit_id, label, KINDS[kind], component, said, which, *more
    )
