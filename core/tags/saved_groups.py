"""Groups of images that people gave a name to: a log beside that of the tags, in the same database.

A group belongs to an audit; what was last said under its name stands, whoever said it. In an audit
that is opened with its groups each of them is an attribute, ``group NAME``, of ``yes`` and ``no``,
so that whatever is sliced by attributes is sliced by groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, insert, inspect, select

from core.audits.audit import Audit
from core.data.far_images import full_name
from core.errors import InputError, WorkspaceError
from core.storage.workspace import Workspace
from core.tags.database import GROUP_EVENTS, undecoded
from core.tags.entries import readable_text
from core.tags.log import TagStore
from core.tags.people import called, person, storable

PREFIX = "group "
"""What stands before a group's name where it is an attribute."""

YES, NO = "yes", "no"


@dataclass(frozen=True)
class SavedGroup:
    """One entry of the log."""

    id: int
    at: str
    """UTC, ISO 8601."""
    annotator: str
    audit_id: str
    name: str
    how: str
    """Where it comes from, in words: a lasso on the map, a search, a filter."""
    image_ids: tuple[str, ...] | None
    """None: the group was taken back."""

    @property
    def attribute(self) -> str:
        """As an attribute of the audit's images."""
        return f"{PREFIX}{self.name}"


@dataclass(frozen=True)
class SavedGroups:
    """The groups in a workspace's database of tags."""

    store: TagStore

    def add(
        self, annotator: str, audit: Audit, name: str, image_ids: Sequence[str], how: str = ""
    ) -> SavedGroup:
        """Give some images a name, in place of what bore it; saved when this returns.

        Raises
        ------
        InputError
            If the name is empty or too long, no image is given, or one is not in the audit.
        WorkspaceError
            If the database cannot be written.
        """
        spelled = called(name)
        if spelled is None:
            raise InputError("a group needs a name: write what its images share")
        if not len(image_ids):
            raise InputError(f"the group {spelled!r} has no image: choose some first")
        if unknown := sorted(set(image_ids) - set(audit.images.index)):
            raise InputError(f"audit {audit.name!r} has no image {unknown[0]!r}")
        ids = audit.images.index[audit.images.index.isin(list(image_ids))].tolist()
        return self._append(annotator, audit.id, spelled, storable(how), ids)

    def remove(self, annotator: str, audit: Audit, name: str) -> SavedGroup:
        """Take a group back; its history stays.

        Raises
        ------
        InputError
            If there is none of that name.
        WorkspaceError
            If the database cannot be written.
        """
        group = self.named(audit.id, name)
        return self._append(annotator, audit.id, group.name, "", None)

    def named(self, audit_id: str, name: str) -> SavedGroup:
        """The group of a name; raises InputError where there is none, and names those there are."""
        found = self.standing(audit_id)
        spelled = called(name) or ""
        if spelled not in found:
            known = ", ".join(map(repr, found)) or "none"
            raise InputError(f"there is no group {spelled!r}; saved are {known}")
        return found[spelled]

    def standing(self, audit_id: str) -> dict[str, SavedGroup]:
        """The groups of an audit by name, in the order they were first saved in."""
        latest = {group.name: group for group in self.history(audit_id)}
        return {name: group for name, group in latest.items() if group.image_ids is not None}

    def history(self, audit_id: str) -> list[SavedGroup]:
        """Every entry of an audit, oldest first.

        Raises
        ------
        WorkspaceError
            If one cannot be understood.
        """
        query = select(GROUP_EVENTS).where(GROUP_EVENTS.c.audit_id == audit_id)
        with self.store.reading() as connection:
            if not inspect(connection).has_table(GROUP_EVENTS.name):
                return []  # a process that only shows, and a log of before
            rows = undecoded(connection, query.order_by(GROUP_EVENTS.c.id))
        return [_read(dict(row._mapping)) for row in rows]

    def newest(self, audit_id: str) -> int:
        """The newest entry of an audit; 0 where there is none: changes with every one."""
        newest = select(func.max(GROUP_EVENTS.c.id)).where(GROUP_EVENTS.c.audit_id == audit_id)
        with self.store.reading() as connection:
            if not inspect(connection).has_table(GROUP_EVENTS.name):
                return 0
            return int(connection.execute(newest).scalar() or 0)

    def _append(
        self, annotator: str, audit_id: str, name: str, how: str, ids: list[str] | None
    ) -> SavedGroup:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        by, listed = person(annotator), None if ids is None else "\n".join(ids)
        entry = insert(GROUP_EVENTS).values(
            at=at, annotator=by, audit_id=audit_id, name=name, how=how, image_ids=listed
        )
        with self.store.writing() as connection:
            number = int((connection.execute(entry).inserted_primary_key or (0,))[0])
        chosen = None if ids is None else tuple(ids)
        return SavedGroup(number, at, by, audit_id, name, how, chosen)


def _read(row: dict[str, Any]) -> SavedGroup:
    try:
        listed = row["image_ids"]
        ids = None if listed is None else tuple(listed.split("\n"))
        texts = [row["at"], row["annotator"], row["name"], *(ids or ())]
        if all(readable_text(value) for value in texts):
            return SavedGroup(**{**row, "image_ids": ids})
    except (AttributeError, TypeError):  # it is no text
        pass
    raise WorkspaceError(
        f"row {ascii(row['id'])[:20]} of the table {GROUP_EVENTS.name} cannot be understood; "
        "correct or delete it, or restore a backup"
    )


class GroupedAudit(Audit):
    """An audit whose saved groups are attributes of its images."""

    def __init__(self, folder: Path, groups: Mapping[str, SavedGroup]) -> None:
        super().__init__(folder)
        self.groups = groups
        names = [group.attribute for group in groups.values()]
        own = [name for name in self.summary.attributes if name not in names]
        self.summary = replace(self.summary, attributes=(*own, *names))

    @cached_property
    def of_data(self) -> Audit:
        """The same without groups."""
        return Audit(self.folder)

    @cached_property
    def images(self) -> pd.DataFrame:
        """The images, with a column of every group."""
        images = self.of_data.images
        inside = {
            group.attribute: np.where(images.index.isin(list(group.image_ids or ())), YES, NO)
            for group in self.groups.values()
        }
        return images.assign(**inside)


def with_groups(folder: Path, groups: Mapping[str, SavedGroup]) -> Audit:
    """The audit of a folder, with its groups where it has some."""
    return GroupedAudit(folder, groups) if groups else Audit(folder)


def open_with_groups(workspace: Workspace, audit: str) -> Audit:
    """:meth:`core.audits.audit.Audit.open`, with the groups that people saved as attributes."""
    audit_id = workspace.find(audit).id
    groups = SavedGroups(TagStore.open(workspace)).standing(audit_id)
    return with_groups(workspace.folder(audit_id), groups)


def figures(audit: Audit, group: SavedGroup) -> dict[str, float]:
    """How a group fares on held-out images, beside the other images of its classes.

    Returns
    -------
    ``n`` images, ``held_out`` of them; ``accuracy`` of these with ``low`` and ``high``
    (Clopper-Pearson, 95 %), and ``rest``, the accuracy of the others, each class weighted as in
    the group. NaN where there is none.
    """
    from core.statistics.intervals import clopper_pearson

    inside = audit.images.index.isin(list(group.image_ids or ()))
    held = audit.images.assign(inside=inside)[np.asarray(audit.held_out, bool)]
    mine, others = held[held["inside"]], held[~held["inside"]]
    hits, n = int(mine["fair"].sum()), len(mine)
    low, high = clopper_pearson(hits, n) if n else (np.nan, np.nan)
    weights = mine["label"].value_counts()
    by_class = others.groupby("label")["fair"].mean().reindex(weights.index)
    known = n and by_class.notna().all()
    rest = (by_class * weights).sum() / n if known else np.nan
    return {
        **{"n": int(inside.sum()), "held_out": n, "accuracy": hits / n if n else np.nan},
        **{"low": float(low), "high": float(high), "rest": float(rest)},
    }


def manifest_of(audit: Audit, group: SavedGroup) -> pd.DataFrame:
    """The images of a group as a manifest: absolute ``path``, ``label``, ``split``, attributes."""
    plain = audit.of_data
    columns = ["path", "label", "split", *plain.summary.attributes]
    table = plain.images.loc[plain.images.index.isin(list(group.image_ids or ())), columns].copy()
    table["path"] = [full_name(audit.root, str(path)) for path in table["path"]]
    return table.reset_index(drop=True)
