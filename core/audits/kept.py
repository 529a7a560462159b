"""Tables about an audit: computed once, then found under what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pandas as pd

from core.audits.audit import Audit
from core.audits.other_kinds import found_in
from core.errors import WorkspaceError
from core.storage.amendments import amend
from core.storage.files import read_frame, read_json, there, write_frame
from core.storage.layout import AuditFiles
from core.storage.memory import hand_back
from core.storage.workspace import fingerprint
from core.types import Reporter, silent

MOST_KEYS = 32
"""Keys of an audit that stay; of more, those that were made first go."""

BLOCK = 8_192
"""Rows that are hashed at a time."""

Compute = Callable[[Audit, Reporter], pd.DataFrame]

Place = Callable[[AuditFiles, str, str], Path]
"""Where a table lies, by its name and by the key of what it depends on."""


@dataclass(frozen=True)
class Kept:
    """A table that is computed where it is not stored. Calling it gives the table."""

    name: str
    columns: tuple[str, ...]
    compute: Compute
    version: int = 1
    """Of the formula; another one computes everything again."""
    place: Place = AuditFiles.quality_table
    also: Mapping[str, object] = field(default_factory=dict)
    """What else it depends on."""
    grouped: bool = False
    """Whether groups that people saved are attributes to it; a new one then computes it again."""
    kinds: tuple[str, ...] = ()
    """Of candidates it is made of; found anew, it is computed again."""

    def __call__(self, audit: Audit, report: Reporter = silent) -> pd.DataFrame:
        """The table; a workspace that only shows keeps nothing."""
        audit = audit if self.grouped else audit.of_data
        known = self.known(audit)
        if known is not None:
            return known
        found = self.compute(audit, report)
        with suppress(WorkspaceError):
            write_frame(self.path(audit), found)
        return found

    def known(self, audit: Audit) -> pd.DataFrame | None:
        """The table where it is stored."""
        path = self.path(audit)
        return read_frame(path, needed=self.columns) if there(path) else None

    def path(self, audit: Audit) -> Path:
        """Where the table is, or would be."""
        audit = audit if self.grouped else audit.of_data
        return self.place(audit.files, self.name, fingerprint(self._depends(audit)))

    def _depends(self, audit: Audit) -> dict[str, object]:
        of: dict[str, object] = {"audit": audit.manifest.fingerprint, "head": audit.head_key}
        if self.kinds:
            of["found"] = found_in(audit.files, self.kinds)
        return {**of, "version": self.version, "images": images_key(audit), **self.also}


@lru_cache(maxsize=8)
def images_key(audit: Audit) -> str:
    """Changes with the images, their labels, splits and attributes."""
    columns = ["digest", "label", "split", *audit.summary.attributes]
    return key_with_rows(audit, {}, "rows", columns)


def key_with_rows(
    audit: Audit, depends: Mapping[str, object], name: str, columns: Sequence[str]
) -> str:
    """:func:`fingerprint` of some parts and, as the part ``name``, of columns of every image."""
    return kept_key(
        audit,
        {**depends, "columns": list(columns), "part": name},
        lambda: fingerprint({**depends, name: _hashed(audit.images, columns)}),
    )


def kept_key(audit: Audit, of: Mapping[str, object], make: Callable[[], str]) -> str:
    """A key of what images are, as it was made before: hashing a million of them takes seconds.

    It is kept beside the audit. A table of images whose digest is another one, or whose columns
    people added to, is hashed itself.

    Parameters
    ----------
    of : what else the key is made of, and what tells it from others.
    """
    place = audit.files.image_keys
    known = fingerprint({**of, "images": audit.images_digest})
    may_be_kept = bool(audit.images_digest) and audit.of_data is audit
    kept = read_json(place, {}) if may_be_kept and there(place) else {}
    if known not in kept:
        new = {known: make()}
        kept = {**kept, **new}
        hand_back()
        if may_be_kept:
            with suppress(WorkspaceError):  # a workspace that only shows
                amend(place, lambda found: dict([*found.items(), *new.items()][-MOST_KEYS:]), {})
    return str(kept[known])


def _hashed(images: pd.DataFrame, columns: Sequence[str]) -> str:
    """Hashes of all rows as text; some rows at a time, since texts of all are a gigabyte."""
    parts = [b""]
    for start in range(0, len(images), BLOCK):
        told = images.iloc[start : start + BLOCK].reindex(columns=[*columns]).astype(str)
        parts.append(pd.util.hash_pandas_object(told, index=True).to_numpy().tobytes())
    return b"".join(parts).hex()
