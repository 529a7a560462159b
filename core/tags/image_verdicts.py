"""What people say of the label of an image: keep it, put another in its place, leave the image out.

An append-only log beside that of the tags, in the same database. What most people said of an image
decides; a tie does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Row, insert, inspect, select

from core.errors import InputError, WorkspaceError
from core.tags.database import IMAGE_EVENTS, undecoded
from core.tags.entries import readable_text
from core.tags.log import TagStore
from core.tags.people import person, storable
from core.tags.votes import of_people

KEEP, RELABEL, EXCLUDE = "keep", "relabel", "exclude"
VERDICTS = (KEEP, RELABEL, EXCLUDE)

COLUMNS = ("image_id", "verdict", "label", "n")
"""Of the table of what is decided: by how many people, and the new label of a relabelled image."""


@dataclass(frozen=True)
class ImageVerdict:
    """One entry of the log."""

    id: int
    at: str
    """UTC, ISO 8601."""
    annotator: str
    audit_id: str
    image_id: str
    verdict: str | None
    """One of :data:`VERDICTS`; None: what was said is taken back."""
    label: str | None
    """What the label should be, of a relabelled image."""


@dataclass(frozen=True)
class ImageVerdicts:
    """The verdicts in a workspace's database of tags."""

    store: TagStore

    def add(
        self,
        annotator: str,
        audit_id: str,
        image_id: str,
        verdict: str | None,
        label: str | None = None,
    ) -> None:
        """Append what a person says of an image; saved when this returns.

        Raises
        ------
        InputError
            If there is no such verdict, or a new label is given where none belongs or is missing.
        WorkspaceError
            If the database cannot be written.
        """
        if verdict is not None and verdict not in VERDICTS:
            raise InputError(f"verdict {verdict!r}: choose {', '.join(VERDICTS)}")
        if (verdict == RELABEL) != bool(label):
            raise InputError(f"a label belongs to the verdict {RELABEL!r}, and to no other")
        entry = insert(IMAGE_EVENTS).values(
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            annotator=person(annotator),
            audit_id=audit_id,
            image_id=image_id,
            verdict=verdict,
            label=storable(label) if label else None,
        )
        with self.store.writing() as connection:
            connection.execute(entry)

    def standing(self, audit_id: str) -> list[ImageVerdict]:
        """The newest verdict of every person and image; taken-back ones left out.

        Raises
        ------
        WorkspaceError
            If an entry cannot be understood.
        """
        with self.store.reading() as connection:
            rows = _rows(connection, audit_id)
        entries = [_checked(ImageVerdict(**row._mapping)) for row in rows]
        latest = {(entry.annotator, entry.image_id): entry for entry in entries}
        return [entry for entry in latest.values() if entry.verdict is not None]


def _rows(connection: Connection, audit_id: str) -> Sequence[Row[Any]]:
    """The log of an audit, oldest first; none in a database that only shows and is of before."""
    if not inspect(connection).has_table(IMAGE_EVENTS.name):
        return []
    query = select(IMAGE_EVENTS).where(IMAGE_EVENTS.c.audit_id == audit_id)
    return undecoded(connection, query.order_by(IMAGE_EVENTS.c.id))


def _checked(entry: ImageVerdict) -> ImageVerdict:
    texts = (entry.at, entry.annotator, entry.image_id)
    known = entry.verdict is None or entry.verdict in VERDICTS
    labelled = (entry.verdict == RELABEL) == readable_text(entry.label)
    if not (known and labelled and all(readable_text(text) for text in texts)):
        raise WorkspaceError(
            f"row {ascii(entry.id)[:20]} of the table {IMAGE_EVENTS.name} cannot be understood; "
            "correct or delete it, or restore a backup"
        )
    return entry


def decided(entries: Sequence[ImageVerdict]) -> pd.DataFrame:
    """What more than half of those who spoke of an image said (:data:`COLUMNS`)."""
    table = of_people(pd.DataFrame([vars(entry) for entry in entries], columns=_FIELDS))
    found = []
    for image_id, said in table.groupby("image_id", sort=False):
        votes = said.groupby(["verdict", "label"], dropna=False).size()
        (verdict, label), most = votes.idxmax(), int(votes.max())
        if 2 * most > len(said):
            found.append((image_id, verdict, label if label == label else None, most))
    return pd.DataFrame(found, columns=list(COLUMNS))


_FIELDS = list(ImageVerdict.__dataclass_fields__)
