"""What people say of labels: a log, a majority, and what cannot be said."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, text

from core.errors import InputError, WorkspaceError
from core.storage.workspace import Workspace
from core.tags.database import IMAGE_EVENTS
from core.tags.image_verdicts import EXCLUDE, KEEP, RELABEL, ImageVerdicts, decided
from core.tags.log import TagStore
from core.tags.votes import ADJUDICATION


@pytest.fixture
def verdicts(workspace: Workspace) -> ImageVerdicts:
    return ImageVerdicts(TagStore.open(workspace))


def test_the_newest_word_of_everybody_stands(verdicts: ImageVerdicts) -> None:
    verdicts.add("ann", "a", "i1", KEEP)
    verdicts.add("ann", "a", "i1", RELABEL, "cat")
    verdicts.add("bob", "a", "i1", EXCLUDE)
    verdicts.add("bob", "a", "i2", EXCLUDE)
    verdicts.add("bob", "a", "i2", None)
    verdicts.add("bob", "other", "i1", KEEP)
    found = [(e.annotator, e.image_id, e.verdict, e.label) for e in verdicts.standing("a")]
    assert found == [("ann", "i1", RELABEL, "cat"), ("bob", "i1", EXCLUDE, None)]


def test_more_than_half_decide(verdicts: ImageVerdicts) -> None:
    for who, verdict, label in (
        ("ann", RELABEL, "cat"),
        ("bob", RELABEL, "cat"),
        ("eve", RELABEL, "dog"),
    ):
        verdicts.add(who, "a", "i1", verdict, label)
    verdicts.add("ann", "a", "i2", KEEP)
    verdicts.add("bob", "a", "i2", EXCLUDE)
    verdicts.add(ADJUDICATION, "a", "i3", KEEP)
    table = decided(verdicts.standing("a"))
    assert table.to_dict("records") == [
        {"image_id": "i1", "verdict": RELABEL, "label": "cat", "n": 2}
    ]
    assert decided([]).empty


def test_what_cannot_be_said(verdicts: ImageVerdicts) -> None:
    with pytest.raises(InputError, match="verdict 'perhaps': choose keep, relabel, exclude"):
        verdicts.add("ann", "a", "i1", "perhaps")
    with pytest.raises(InputError, match="a label belongs to the verdict 'relabel'"):
        verdicts.add("ann", "a", "i1", RELABEL)
    with pytest.raises(InputError, match="a label belongs to the verdict 'relabel'"):
        verdicts.add("ann", "a", "i1", KEEP, "cat")


@pytest.mark.parametrize(
    "row", [{"verdict": "odd"}, {"verdict": RELABEL}, {"label": "cat"}, {"annotator": ""}]
)
def test_a_row_of_another_program_is_named(row: dict[str, str], verdicts: ImageVerdicts) -> None:
    sound = {"at": "t", "annotator": "ann", "audit_id": "a", "image_id": "i", "verdict": KEEP}
    with verdicts.store.engine.begin() as connection:
        connection.execute(insert(IMAGE_EVENTS).values({**sound, **row}))
    with pytest.raises(WorkspaceError, match="row 1 of the table image_events cannot be"):
        verdicts.standing("a")


def test_a_database_of_before_has_none(workspace: Workspace, verdicts: ImageVerdicts) -> None:
    with verdicts.store.engine.begin() as connection:
        connection.execute(text(f"DROP TABLE {IMAGE_EVENTS.name}"))
    assert verdicts.standing("a") == []
