"""Groups of images that people gave a name to: a log, attributes, figures."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from core.audits.audit import Audit
from core.errors import InputError, WorkspaceError
from core.measures.scope import has
from core.quality.decodable import decodable
from core.quality.error_slices import attribute_slices, error_slices
from core.report.boxes import labelled_images
from core.storage.workspace import Workspace
from core.tags.database import GROUP_EVENTS
from core.tags.log import TagStore
from core.tags.people import LONGEST_CALLED
from core.tags.saved_groups import SavedGroups, figures, manifest_of, open_with_groups
from tests.core.conftest import unmeasured


@pytest.fixture
def audit(tiny_audit: Audit, workspace: Workspace) -> Audit:
    return unmeasured(tiny_audit, workspace.root)


@pytest.fixture
def groups(audit: Audit, workspace: Workspace) -> SavedGroups:
    return SavedGroups(TagStore.open(workspace))


def test_what_was_said_last_stands(groups: SavedGroups, audit: Audit) -> None:
    ids = audit.images.index.tolist()
    assert groups.newest(audit.id) == 0
    groups.add("ann", audit, " snow\n<b> ", [ids[3], ids[1], ids[3]], "Selected on the map")
    groups.add("bob", audit, "dark", ids[:5])
    groups.add("bob", audit, "snow <b>", ids[2:4])
    groups.remove("ann", audit, "dark")
    found = groups.standing(audit.id)
    assert {name: group.image_ids for name, group in found.items()} == {"snow <b>": tuple(ids[2:4])}
    said = [(g.annotator, g.name, g.image_ids) for g in groups.history(audit.id)]
    assert said[0] == ("ann", "snow <b>", (ids[1], ids[3]))
    assert said[-1] == ("ann", "dark", None)
    assert groups.newest(audit.id) == groups.history(audit.id)[-1].id
    assert groups.standing("another") == {}


def test_what_is_no_group(groups: SavedGroups, audit: Audit) -> None:
    ids = audit.images.index.tolist()
    with pytest.raises(InputError, match="a group needs a name"):
        groups.add("ann", audit, " \t", ids)
    with pytest.raises(InputError, match="give at most 80"):
        groups.add("ann", audit, "x" * (LONGEST_CALLED + 1), ids)
    with pytest.raises(InputError, match="the group 'a' has no image"):
        groups.add("ann", audit, "a", [])
    with pytest.raises(InputError, match="has no image 'nowhere'"):
        groups.add("ann", audit, "a", [ids[0], "nowhere"])
    with pytest.raises(InputError, match="there is no group 'a'; saved are none"):
        groups.remove("ann", audit, "a")


@pytest.mark.parametrize("damaged", ["", "a\n\nb", b"\xff", "a\x00b"])
def test_a_damaged_entry_is_named(groups: SavedGroups, audit: Audit, damaged: object) -> None:
    groups.add("ann", audit, "a", audit.images.index[:2].tolist())
    row = {"at": "now", "annotator": "ann", "audit_id": audit.id, "name": "b", "how": ""}
    with groups.store.writing() as connection:
        connection.execute(insert(GROUP_EVENTS).values(**row, image_ids=damaged))
    with pytest.raises(WorkspaceError, match="row 2 of the table group_events"):
        groups.standing(audit.id)


def test_a_group_is_an_attribute(groups: SavedGroups, audit: Audit, workspace: Workspace) -> None:
    assert type(open_with_groups(workspace, audit.id)) is Audit
    ids = audit.images.index[[0, 2, 5]].tolist()
    slices, copies = error_slices.path(audit), decodable.path(audit)
    by_attributes = attribute_slices.path(audit)
    group = groups.add("ann", audit, "snow", ids)
    opened = open_with_groups(workspace, audit.id)
    assert opened.summary.attributes == (*audit.summary.attributes, "group snow")
    assert has(opened, group.attribute)[has(opened, group.attribute)].index.tolist() == ids
    assert opened.images.drop(columns=group.attribute).equals(audit.images)
    assert opened.of_data.summary.attributes == audit.summary.attributes
    assert error_slices.path(opened) == slices  # not of groups, so it is not made again
    assert decodable.path(opened) != copies
    assert attribute_slices.path(opened) != by_attributes
    manifest = manifest_of(opened, group)
    assert manifest["path"].tolist() == [str(audit.path(i)) for i in ids]
    assert "group snow" not in manifest
    boxed = labelled_images(audit, ids)
    assert [(image.image_id, image.label) for image in boxed] == list(
        zip(ids, audit.images.loc[ids, "label"], strict=True)
    )


def test_how_a_group_fares(groups: SavedGroups, audit: Audit) -> None:
    held = audit.images[audit.held_out]
    label = held["label"].iloc[0]
    mine = held[held["label"] == label]
    group = groups.add("ann", audit, "some", mine.index[:4].tolist())
    found = figures(audit, group)
    assert (found["n"], found["held_out"]) == (4, 4)
    assert found["accuracy"] == mine["fair"].iloc[:4].mean()
    assert found["rest"] == pytest.approx(mine["fair"].iloc[4:].mean())
    assert found["low"] <= found["accuracy"] <= found["high"]
    everything = groups.add("ann", audit, "all", audit.images.index.tolist())
    assert figures(audit, everything)["rest"] != figures(audit, everything)["rest"]  # no others
