"""Pages on a workspace whose tags another program has spoilt: a sentence in every place."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.workspace import Workspace
from core.tags import database
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Open

PAGES = [
    "components",
    "tagging",
    "agreement",
    "ranking",
    "measures",
    "findings",
    "report",
    "compare",
    "mitigate",
    "map",
    "image",
    "overview",
]
UNTOUCHED = {"image", "overview", "map", "components"}
"""Pages of which at least a part needs no tags."""


def spoil(workspace: Workspace, audit: Audit, statement: str) -> None:
    store, label = TagStore.open(workspace), audit.classes[0].label
    for component in range(3):
        store.add("anonymous", audit.id, CandidateKey(label, PCA, component), Tag.SPURIOUS)
    store.engine.dispose()
    database.engine_of.cache_clear()
    with closing(sqlite3.connect(workspace.root / "tags.sqlite")) as other:
        other.execute(statement)
        other.commit()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE tag_events SET kind = 'so rt' WHERE id = 2", "1 entry cannot be understood"),
        ("ALTER TABLE tag_events RENAME COLUMN kind TO sort", "has no column kind"),
    ],
)
def test_a_page_says_what_is_wrong_with_the_tags(
    audit: Audit, workspace: Workspace, opened: Open, page: str, statement: str, said: str
) -> None:
    spoil(workspace, audit, statement)
    app = opened(page, audit=audit.id)
    assert not app.exception
    errors = [error.value.replace("\\", "") for error in app.error]
    assert page in UNTOUCHED or any(said in error for error in errors)
    assert all(said in error for error in errors)
