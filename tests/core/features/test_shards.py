"""Shards of a plan: how large they are, and one table of what all of them say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from core.audits.audit import Audit
from core.audits.integrity import verify
from core.audits.run import run_audit
from core.features.shards import SLICE, FeatureStore, Shard, size_of_shards, with_slices
from core.storage.files import read_frame, write_frame
from core.storage.workspace import Workspace
from tests.conftest import draw, tiny_request


def test_many_images_have_larger_shards() -> None:
    sizes = [size_of_shards(n) for n in (1, 65_536, 65_537, 1_280_000, 100_000_000)]
    assert sizes == [256, 256, 512, 4096, 4096]


def test_a_plan_numbers_its_shards() -> None:
    plan = pd.DataFrame({"image_id": list("abcdefg")})
    assert with_slices(plan, [3])[SLICE].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert with_slices(plan, [2, 4, 1])[SLICE].tolist() == [0, 0, 1, 1, 1, 1, 2]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Shards of four images, nine of which are many; the folders that were looked into."""
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 4)
    monkeypatch.setattr("core.features.shards.CONSOLIDATED", 9)
    seen: list[Path] = []
    finished = Shard.finished.fget
    assert finished is not None

    def looked(shard: Shard) -> bool:
        seen.append(shard.files.folder)
        return finished(shard)

    monkeypatch.setattr(Shard, "finished", property(looked))
    return seen


def test_an_audit_of_many_shards_is_opened_without_them(
    folder: Path, workspace: Workspace, many: list[Path], rng
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    plain = Audit(shutil.copytree(audit.folder, workspace.root / "audits" / "plain"))
    plain.files.shard_rows.unlink()
    (plain.folder / "digests.json").unlink()
    many.clear()
    ids = audit.images.index.tolist()
    assert audit.store.rows.equals(plain.store.rows)
    assert (audit.store.features(ids) == plain.store.features(ids)).all()
    assert {path.parents[1] for path in many} == {plain.folder}
    assert verify(audit.folder).damaged == {}
    draw(folder / "train/red/new.jpg", (220, 40, 40), rng)
    more = run_audit(tiny_request(folder), workspace)
    assert read_frame(more.files.shard_rows)["shard"].nunique() == 10


def test_a_table_that_does_not_go_with_the_plan_is_not_believed(
    folder: Path, workspace: Workspace, many: list[Path], counts: dict[str, int]
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    whole = audit.store.rows
    write_frame(audit.files.shard_rows, read_frame(audit.files.shard_rows).iloc[:-1])
    assert FeatureStore(audit.folder).rows.equals(whole)
    shutil.rmtree(audit.folder / "shards" / "000-00004")
    counts.update(decoded=0, encoded=0)
    again = run_audit(tiny_request(folder), workspace)
    assert counts["encoded"] == 4
    assert len(read_frame(again.files.shard_rows)) == 36
    assert verify(again.folder).damaged == {}
