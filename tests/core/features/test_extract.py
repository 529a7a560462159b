"""The pass: what it holds, reads and writes, and how often."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.audits.integrity import verify
from core.audits.run import run_audit
from core.data import decode
from core.data.open import open_data
from core.errors import WorkspaceError
from core.features.extract import extract, prepare
from core.features.shards import PLAN_COLUMNS, FeatureStore
from core.storage import digests
from core.storage.files import read_array
from core.storage.growing_array import GrowingArray
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.tiny import HALF, load_tiny


@pytest.fixture
def store(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """Two shards of ten of the images of ``folder``, to be computed."""
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 10)
    table = open_data(str(folder), workspace=tmp_path / "workspace").frame.iloc[:20]
    found = FeatureStore(tmp_path / "store")
    found.extend(table.assign(bytes=0, modified=0)[PLAN_COLUMNS])
    return found


def compute(store: FeatureStore, folder: Path) -> None:
    extract(
        load_tiny().to("cpu"),
        folder,
        store.shards,
        batch_size=4,
        workers=2,
        keep_maps=True,
        advanced=lambda _: None,
    )


def test_a_file_is_read_once_and_no_map_is_read_again(
    folder: Path, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, digested = Counter[str](), Counter[str]()
    bytes_of, of = decode.read_bytes, digests.digest_of
    monkeypatch.setattr(
        decode, "read_bytes", lambda path: (read.update([str(path)]), bytes_of(path))[1]
    )
    monkeypatch.setattr(
        digests, "digest_of", lambda path: (digested.update([path.name]), of(path))[1]
    )
    compute(store, folder)
    assert sorted(read.values()) == [1] * 20
    assert digested["features.npy"] == 2
    assert "maps.npy" not in digested
    for shard in store.shards:
        for path in shard.files.folder.glob("*.npy"):
            assert digests.known(path.parent)[path.name] == (of(path),)
        assert len(read_array(shard.files.maps)) == 10


def test_maps_are_written_batch_by_batch(
    folder: Path, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    added, add = list[int](), GrowingArray.add
    monkeypatch.setattr(
        GrowingArray, "add", lambda self, rows: (added.append(len(rows)), add(self, rows))[1]
    )
    compute(store, folder)
    assert added == [4, 4, 2] * 2


def test_what_cannot_be_written_ends_the_pass_soon(
    folder: Path, workspace: Workspace, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: GrowingArray, rows: np.ndarray) -> None:
        raise WorkspaceError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(GrowingArray, "add", full)
        with pytest.raises(WorkspaceError, match="the disk is full"):
            run_audit(tiny_request(folder), workspace)
    assert counts["encoded"] <= 4 * 5 < 36
    audit = run_audit(tiny_request(folder), workspace)
    assert audit.store.has_maps(audit.images.index.tolist())
    assert not verify(audit.folder).damaged


def test_an_image_is_described_where_it_is_asked_for(folder: Path) -> None:
    path = next(folder.rglob("*.jpg"))
    plain, described = prepare(path, HALF), prepare(path, HALF, describe=True)
    assert plain.properties.colour == ""
    assert described.properties.colour
    np.testing.assert_array_equal(plain.pixels, described.pixels)
