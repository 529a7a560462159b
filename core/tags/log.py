"""Tags: what people say about candidates, as an append-only log of events.

The current state is derived from the log, so undo and history come from it, and two people (or
two browser windows) never overwrite each other's work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime

from sqlalchemy import URL, Connection, Engine, func, insert, select

from core.candidates.key import CandidateKey
from core.errors import InputError, WorkspaceError
from core.storage.roles import refuse_if_read_only
from core.storage.workspace import Workspace
from core.tags import people
from core.tags.address import SQLITE, place
from core.tags.database import EVENTS, columns, engine_of, entries, undecoded
from core.tags.entries import MOST, Fault, NewTag, described, is_called, read, read_all
from core.tags.entries import TagEvent as TagEvent
from core.tags.failures import told
from core.tags.people import person, storable
from core.types import Subtype, Tag

SAME = ("audit_id", "annotator", "label", "kind", "component")
"""What two entries have in common if the newer one replaces the older."""

MOST_NAMES = 200
"""Names that are offered where one is asked for."""

SAID = ("tag", "subtype", "confidence", "reason", "called")
"""What an entry says."""


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
        return cls(engine_of(URL.create(SQLITE, database=str(workspace.root / "tags.sqlite"))))

    def add(
        self,
        annotator: str,
        audit_id: str,
        key: CandidateKey,
        tag: Tag | None,
        *,
        subtype: Subtype | None = None,
        confidence: int | None = None,
        reason: str | None = None,
        called: str | None = None,
    ) -> TagEvent:
        """Append a tag, or with None take the candidate's tag away; saved when this returns.

        Parameters
        ----------
        called : the annotator's name for the candidate; empty: none; None: as it is.

        Raises
        ------
        InputError
            If a tag that is not spurious has a subtype, the confidence is not 1 to 5, the name is
            too long, or the component is no number that a database holds.
        WorkspaceError
            If the database cannot be written.
        """
        if subtype is not None and tag is not Tag.SPURIOUS:
            raise InputError(f"subtype {str(subtype)!r} belongs to the tag spurious, not to {tag}")
        if confidence is not None and not 1 <= confidence <= 5:
            raise InputError(f"confidence {confidence}: give 1 (a guess) to 5 (sure)")
        if not 0 <= key.number <= MOST:
            raise InputError(f"component {key.number}: give a number from 0 to {MOST}")
        named = {} if tag and called is None else {"called": people.called(called or "")}
        return self._append(
            {
                **named,
                "annotator": person(annotator),
                "audit_id": audit_id,
                "label": key.label,
                "kind": key.kind,
                "component": int(key.number),
                "tag": Tag(tag).value if tag else None,
                "subtype": Subtype(subtype).value if subtype else None,
                "confidence": confidence,
                "reason": storable(reason) if reason else None,
                "undoes": None,
            }
        )

    def call(self, annotator: str, audit_id: str, key: CandidateKey, name: str) -> TagEvent:
        """Give a candidate another name, or with an empty one none; what else was said stays.

        Raises
        ------
        InputError
            If the annotator has not tagged it, or the name is too long.
        WorkspaceError
            If the database cannot be read or written.
        """
        now = {event.key: event for event in self.current(audit_id, annotator)}.get(key)
        if now is None:
            raise InputError(f"a name belongs to a tag: tag {key.title} before you name it")
        if people.called(name) == now.called:
            return now
        return self.add(
            annotator,
            audit_id,
            key,
            now.tag,
            subtype=now.subtype,
            confidence=now.confidence,
            reason=now.reason,
            called=name,
        )

    def names(self) -> list[str]:
        """Names of candidates in all audits, the most frequent first; at most MOST_NAMES."""
        count = func.count()
        query = select(EVENTS.c.called).where(EVENTS.c.called.is_not(None))
        query = query.group_by(EVENTS.c.called).order_by(count.desc(), EVENTS.c.called)
        with self.reading() as connection:
            if EVENTS.c.called.name not in columns(connection):
                return []
            found = undecoded(connection, query.limit(MOST_NAMES))
        return [name for (name,) in found if is_called(name)]

    def _append(self, said: Mapping[str, object]) -> TagEvent:
        values = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **said}
        before = select(func.max(EVENTS.c.id)).where(
            *(EVENTS.c[name] == values[name] for name in SAME)
        )
        previous = before.scalar_subquery()
        kept = select(EVENTS.c.called).where(EVENTS.c.id == previous).scalar_subquery()
        entry = insert(EVENTS).values(**{"called": kept, **values, "previous": previous})
        told_back = (EVENTS.c.id, EVENTS.c.previous, EVENTS.c.called)
        with self.writing() as connection:
            saved = connection.execute(entry.returning(*told_back)).all()
            self._check_saved(len(saved), 1)
            values |= saved[0]._asdict()
            event = read([values[column.name] for column in EVENTS.columns])
            if isinstance(event, Fault):
                raise self._spoilt([event])
        return event

    def _check_saved(self, saved: int, given: int) -> None:
        """Raise WorkspaceError where the database took less than it was given (-1: not said)."""
        if 0 <= saved < given:
            raise WorkspaceError(
                f"the tags in {place(self.engine.url)}: a rule (a trigger) in the database kept "
                f"{given - saved} of {given} new entries out; remove it or restore a backup"
            )

    def add_many(self, audit_id: str, rows: Sequence[NewTag]) -> int:
        """Append many tags in one transaction; all or none. Returns how many were new.

        Of several rows of one annotator about one candidate the last counts. A row that says what
        its annotator's standing tag already says is left out, so importing a file twice changes
        nothing.
        """
        known_tags = {(e.annotator, e.key): e for e in self.current(audit_id)}
        last = {self._key(row): i for i, row in enumerate(rows)}  # of a person who answered twice
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        new = []
        for i, row in enumerate(rows):
            if last[self._key(row)] != i:
                continue
            entry = {**vars(row), "audit_id": audit_id, "undoes": None, "at": row.at or now}
            entry["annotator"] = person(row.annotator)
            entry["reason"] = storable(row.reason) if row.reason else None
            entry["previous"] = None
            known = known_tags.get(self._key(row))
            kept = known.called if known else None
            entry["called"] = kept if row.called is None else people.called(row.called)
            if known and all(entry[name] == getattr(known, name) for name in SAID):
                continue
            if known:
                entry["previous"] = known.id
            new.append(entry)
        with self.writing() as connection:
            if new:
                self._check_saved(connection.execute(insert(EVENTS), new).rowcount, len(new))
        return len(new)

    @staticmethod
    def _key(row: NewTag) -> tuple[str, CandidateKey]:
        return person(row.annotator), row.key

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; what cannot be saved is said in a sentence."""
        refuse_if_read_only()
        saved = "nothing of this was saved"
        with (
            told(self.engine.url, "the tag could not be saved in", saved),
            self.engine.begin() as connection,
        ):
            yield connection

    def undo(self, annotator: str, audit_id: str) -> TagEvent | None:
        """Take back the annotator's last entry that still stands; None if there is none.

        The undoing is an entry too: it restores the tag that stood before.
        """
        history = self.history(audit_id, annotator)
        gone = {entry.undoes for entry in history}
        left = [e for e in history if e.undoes is None and e.id not in gone]
        if not left:
            return None
        last = left[-1]
        before = [e for e in left[:-1] if e.key == last.key]
        restored = asdict(before[-1] if before else replace(last, tag=None))
        if not before:
            restored |= dict.fromkeys(SAID)
        for name in ("id", "at", "previous"):
            del restored[name]
        return self._append({**restored, "undoes": last.id})

    def history(self, audit_id: str, annotator: str | None = None) -> list[TagEvent]:
        """The log of an audit, oldest first; of one person where a name is given.

        Raises
        ------
        WorkspaceError
            If a row of it cannot be understood; the message names all such rows.
        """
        events, faults = self.log(audit_id, annotator)
        if faults:
            raise self._spoilt(faults)
        return events

    def log(
        self, audit_id: str, annotator: str | None = None
    ) -> tuple[list[TagEvent], list[Fault]]:
        """What can be understood of an audit's log, oldest first, and the rows that cannot."""
        with self.reading() as connection:
            query = entries(connection).where(EVENTS.c.audit_id == audit_id).order_by(EVENTS.c.id)
            if annotator is not None:
                query = query.where(EVENTS.c.annotator == person(annotator))
            return read_all(undecoded(connection, query))

    def _spoilt(self, faults: Sequence[Fault]) -> WorkspaceError:
        return WorkspaceError(
            f"the tags in {place(self.engine.url)}: {described(faults)}; restore them from a "
            "backup, or correct or delete these rows of the table tag_events"
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection; what cannot be read is said in a sentence."""
        with (
            told(self.engine.url, "the tags cannot be read from"),
            self.engine.connect() as connection,
        ):
            yield connection

    def state(self, audit_id: str) -> tuple[int, int]:
        """Number of entries of an audit's log and the newest one: changes with every entry."""
        query = select(func.count(), func.max(EVENTS.c.id)).where(EVENTS.c.audit_id == audit_id)
        with self.reading() as connection:
            count, newest = connection.execute(query).one()
        return int(count), int(newest or 0)

    def newest(self) -> int:
        """The newest entry of any audit; 0 where there is none."""
        with self.reading() as connection:
            return int(connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0)

    def current(self, audit_id: str, annotator: str | None = None) -> list[TagEvent]:
        """The standing tag of every annotator and candidate; taken-back ones left out."""
        return standing(self.history(audit_id, annotator))


def standing(history: Sequence[TagEvent]) -> list[TagEvent]:
    """The tags that stand at the end of a log: :meth:`TagStore.current`."""
    latest = {(e.annotator, e.key): e for e in history}
    return [entry for entry in latest.values() if entry.tag is not None]
