"""What the tags of an audit amount to, kept for the process until somebody tags again."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd
from sqlalchemy import Engine

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.tags.called import Names, names_of
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from core.tags.votes import answers
from core.trials import leaned_on as leaned
from core.ui.frame import opened


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


def names(audit: Audit) -> Names:
    """What people call the candidates of an audit, as the log stands now."""
    return decisions(audit).names


def names_in(audit_id: str) -> Names:
    """:func:`names` of an audit that may be gone; its tags stay."""
    tags = store()
    return _names(audit_id, tags.engine, tags.state(audit_id))


@lru_cache(maxsize=16)
def _names(audit_id: str, engine: Engine, state: tuple[int, int]) -> Names:
    del state  # part of the key only
    return names_of(TagStore(engine).history(audit_id))


def names_used() -> list[str]:
    """Names that people gave before, in any audit, the most frequent first."""
    return _used(store().engine, store().newest())


@lru_cache(maxsize=2)
def _used(engine: Engine, newest: int) -> list[str]:
    del newest  # part of the key only
    return TagStore(engine).names()


def said(audit: Audit) -> pd.DataFrame:
    """All standing answers of an audit (:func:`core.tags.votes.answers`), not to be changed."""
    tags = store()
    return _said(audit.id, tags.engine, tags.state(audit.id))


@lru_cache(maxsize=4)
def _said(audit_id: str, engine: Engine, state: tuple[int, int]) -> pd.DataFrame:
    del state  # part of the key only
    return answers(TagStore(engine).current(audit_id))


def state(audit: Audit) -> tuple[int, int, int]:
    """Changes with every tag of an audit and with every trial: the key of what is made of them."""
    return (*store().state(audit.id), audit.files.outcomes_version)


def leaned_on(audit: Audit) -> tuple[leaned.LeanedOn, ...]:
    """Every class with what it leans on, as tags and trials stand now."""
    core = decisions(audit).core.keys_of
    keys = frozenset(key for of in core.values() for key in of)
    return _leaned_on(audit, keys, audit.files.outcomes_version)


@lru_cache(maxsize=16)
def _leaned_on(
    audit: Audit, core: frozenset[CandidateKey], version: int
) -> tuple[leaned.LeanedOn, ...]:
    del version  # part of the key only
    return tuple(leaned.leaned_on(audit, core))
