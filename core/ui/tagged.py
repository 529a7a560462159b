"""What the tags of an audit amount to, kept for the process until somebody tags again."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import Engine

from core.annotate.tags import TagStore
from core.audit import Audit
from core.measures.decisions import Decisions, decided
from core.ui import opened


def store() -> TagStore:
    """The tags of this process's workspace."""
    return TagStore.open(opened.workspace())


def decisions(audit: Audit) -> Decisions:
    """The candidates that are decided core or spurious, as the log stands now."""
    tags = store()
    return _decided(audit, tags.engine, tags.state(audit.id))


@lru_cache(maxsize=8)
def _decided(audit: Audit, engine: Engine, state: tuple[int, int]) -> Decisions:
    del state  # part of the key only
    return decided(audit, TagStore(engine))
