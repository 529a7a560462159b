"""What pages hold of a table of images: rows are found without an index of Python's texts."""

from __future__ import annotations

from weakref import WeakValueDictionary

import pytest

from core.audits import image_rows
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from core.ui.frame.opened import open_audit
from tests.pages.conftest import Open

PAGES = [
    ("overview", {}),
    ("components", {"class": "cat"}),
    ("image", {"class": "cat"}),
    ("image", {"class": "cat", "which": "wrong"}),
    ("ranking", {"class": "cat"}),
    ("findings", {}),
    ("measures", {}),
    ("measures", {"view": "gaps"}),
    ("report", {}),
    ("tagging", {}),
    ("agreement", {}),
    ("map", {}),
    ("data", {}),
    ("mitigate", {}),
]


def has_engine(audit: Audit) -> bool:
    """Whether pandas keeps a text of Python for every image, a hundred bytes of each."""
    return "_engine" in audit.images.index._cache


@pytest.mark.parametrize(("page", "params"), PAGES, ids=[f"{p}{[*q]}" for p, q in PAGES])
def test_no_page_makes_an_index_of_texts(
    page: str,
    params: dict[str, str],
    audit: Audit,
    workspace: Workspace,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # the table of another test's audit of the same images, in which an index was made on purpose
    monkeypatch.setattr(image_rows, "_read", WeakValueDictionary())
    TagStore.open(workspace).add("ann", audit.id, CandidateKey("cat", PCA, 0), Tag.SPURIOUS)
    app = opened(page, audit=audit.id, **params)
    assert not app.exception
    shown = open_audit(audit.id)
    assert not has_engine(shown)
    assert shown.images.loc[shown.images.index[0]] is not None  # this would make it
    assert has_engine(shown)
