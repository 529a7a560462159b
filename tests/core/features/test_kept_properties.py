"""What images look like is written by the pass, and added to audits that lack it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import core.features.shards
from core.audits.audit import Audit
from core.audits.integrity import verify
from core.audits.run import run_audit
from core.data.preprocess import apply
from core.data.properties import COLUMNS, properties_of
from core.errors import WorkspaceError
from core.features.extract import keep_properties
from core.features.shards import FeatureStore
from core.storage.files import remove, write_frame
from core.storage.workspace import Workspace
from core.types import silent
from tests.conftest import tiny_request


def forget(audit: Audit) -> None:
    """Make it an audit of an earlier version."""
    for shard in audit.store.shards:
        remove(shard.files.properties)


def test_the_pass_writes_those_of_what_the_encoder_sees(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    found = audit.properties
    assert list(found) == [*COLUMNS, "aspect"]
    for image_id in audit.images.index[::7]:
        pixels = apply(audit.preprocess, audit.image(image_id))
        assert tuple(found.loc[image_id, COLUMNS]) == pytest.approx(
            properties_of(Image.fromarray(pixels))
        )
    assert (found["aspect"] == 1).all()


def test_images_that_cannot_be_read_have_none(folder: Path, workspace: Workspace) -> None:
    (folder / "train/red/empty.jpg").touch()
    audit = run_audit(tiny_request(folder), workspace)
    rows = audit.store.rows
    unreadable = ~rows["readable"].to_numpy(bool)
    assert audit.store.properties["brightness"].isna().to_numpy()[unreadable].all()
    assert not audit.properties.isna().to_numpy().any()


def test_the_same_audit_again_adds_what_an_older_one_lacks(
    folder: Path, workspace: Workspace, counts: dict[str, int]
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    before = audit.properties
    forget(audit)
    older = Audit.open(workspace, "tiny")
    assert older.properties[COLUMNS[:-1]].isna().to_numpy().all()
    counts["encoded"] = 0
    after = run_audit(tiny_request(folder), workspace).properties
    pd.testing.assert_frame_equal(after, before)
    assert counts["encoded"] == 0
    assert not verify(audit.folder).damaged


def test_changed_images_are_left_out(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    forget(audit)
    changed = audit.images.index[0]
    path = audit.path(changed)
    path.write_bytes(path.read_bytes() + b"x")
    keep_properties(audit.root, audit.store, audit.preprocess, workers=2, report=silent)
    after = Audit.open(workspace, "tiny").properties
    assert np.flatnonzero(after["brightness"].isna()).tolist() == [0]


def test_a_table_of_another_length_is_damaged(folder: Path, workspace: Workspace) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    file = audit.store.shards[0].files.properties
    write_frame(file, pd.DataFrame([properties_of(Image.new("RGB", (4, 4)))]))
    with pytest.raises(WorkspaceError, match="has another number of rows"):
        _ = Audit.open(workspace, "tiny").properties


def test_those_of_some_images_are_read_from_their_shards_alone(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 8)
    audit = run_audit(tiny_request(folder), workspace)
    whole, store = audit.store.properties, FeatureStore(audit.folder)
    ids = [*store.shards[2].plan["image_id"][:3], store.shards[0].plan["image_id"].iloc[-1]]
    read, frame = [], core.features.shards.read_frame

    def counted(path: Path, *arguments: Any, **more: Any) -> pd.DataFrame:
        read.append(path)
        return frame(path, *arguments, **more)

    monkeypatch.setattr(core.features.shards, "read_frame", counted)
    pd.testing.assert_frame_equal(store.properties_of(ids), whole.loc[ids], check_names=False)
    looks = store.shards[0].files.properties.name
    asked = {store.shards[number].files.properties for number in (0, 2)}
    assert {path for path in read if path.name == looks} == asked
    remove(store.shards[2].files.properties)
    left = FeatureStore(audit.folder).properties_of(ids)
    assert left["brightness"].isna().tolist() == [True, True, True, False]
