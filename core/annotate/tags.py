"""Tags: what people say about candidates, as an append-only log of events.

The current state is derived from the log, so undo and history come from it, and two people (or
two browser windows) never overwrite each other's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.exc import OperationalError

from core.errors import WorkspaceError
from core.store import Workspace, disk_errors
from core.types import Kind, Tag

_metadata = MetaData()

EVENTS = Table(
    "tag_events",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("annotator", String(120), nullable=False, index=True),
    Column("audit_id", String(32), nullable=False, index=True),
    Column("label", String(500), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("component", Integer, nullable=False),
    Column("tag", String(16), nullable=True),  # null: the tag was taken back
    Column("undoes", Integer, nullable=True),
)


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
    undoes: int | None
    """The entry that this one takes back."""


class TagStore:
    """The tags of a workspace, in its SQLite database (write-ahead log)."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, workspace: Workspace) -> TagStore:
        """The workspace's database, made when it does not exist yet."""
        return cls(_engine(str(workspace.root / "tags.sqlite")))

    def add(
        self, annotator: str, audit_id: str, label: str, kind: Kind, component: int, tag: Tag | None
    ) -> TagEvent:
        """Append a tag, or with None take the candidate's tag away; saved when this returns.

        Raises
        ------
        WorkspaceError
            If the database cannot be written.
        """
        return self._append(_name(annotator), audit_id, label, Kind(kind), component, tag, None)

    def _append(
        self,
        annotator: str,
        audit_id: str,
        label: str,
        kind: Kind,
        component: int,
        tag: Tag | None,
        undoes: int | None,
    ) -> TagEvent:
        values = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "annotator": annotator,
            "audit_id": audit_id,
            "label": label,
            "kind": kind.value,
            "component": int(component),
            "tag": Tag(tag).value if tag else None,
            "undoes": undoes,
        }
        try:
            with self.engine.begin() as connection:
                row = connection.execute(insert(EVENTS).values(**values))
                number = row.inserted_primary_key
        except OperationalError as error:
            raise WorkspaceError(
                f"the tag could not be saved in {self.engine.url.database}: {error.orig}; check "
                "that the workspace is writable and the disk is not full"
            ) from error
        return _event({"id": number[0] if number else 0, **values})

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
        return self._append(
            last.annotator,
            audit_id,
            last.label,
            last.kind,
            last.component,
            before[-1].tag if before else None,
            last.id,
        )

    def history(self, audit_id: str, annotator: str | None = None) -> list[TagEvent]:
        """The log of an audit, oldest first; of one person where a name is given."""
        query = select(EVENTS).where(EVENTS.c.audit_id == audit_id).order_by(EVENTS.c.id)
        if annotator is not None:
            query = query.where(EVENTS.c.annotator == _name(annotator))
        with self.engine.connect() as connection:
            return [_event(row._asdict()) for row in connection.execute(query)]

    def current(self, audit_id: str, annotator: str | None = None) -> list[TagEvent]:
        """The standing tag of every annotator and candidate; taken-back ones left out."""
        latest = {(e.annotator, *_candidate(e)): e for e in self.history(audit_id, annotator)}
        return [entry for entry in latest.values() if entry.tag is not None]


def _name(annotator: str) -> str:
    return annotator.strip()[:120] or "anonymous"


def _candidate(entry: TagEvent) -> tuple[str, Kind, int]:
    return entry.label, entry.kind, entry.component


def _event(values: Mapping[str, Any]) -> TagEvent:
    tag = Tag(values["tag"]) if values["tag"] else None
    return TagEvent(**{**values, "kind": Kind(values["kind"]), "tag": tag})


@cache
def _engine(path: str) -> Engine:
    """One engine per database and process."""
    with disk_errors(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    try:
        _metadata.create_all(engine)
    except OperationalError as error:
        raise WorkspaceError(
            f"cannot open the tags in {path}: {error.orig}; choose a writable --workspace"
        ) from error
    return engine
