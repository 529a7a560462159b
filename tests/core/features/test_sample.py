"""The maps that an audit keeps where those of all images do not fit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core.features.feed
from core.audits.audit import Audit
from core.audits.integrity import verify
from core.audits.run import run_audit
from core.errors import WorkspaceError
from core.features.extract import keep_maps
from core.features.sample import sampled
from core.storage.digests import seal
from core.storage.workspace import Workspace
from core.types import silent
from tests.conftest import draw, tiny_request
from tests.core.run_fixture import by_id

SIZE = 12 * 64 * 4
"""Bytes of the maps of an image in the tiny network."""

pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 4)
    monkeypatch.setattr("core.audits.analysis.SHARD_SIZE", 4)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets how many images' maps fit."""

    def to(images: int) -> None:
        monkeypatch.setattr("core.audits.run.MAP_BUDGET", images * SIZE + SIZE // 2)

    return to


def ids_of(audit: Audit) -> list[str]:
    return [str(name) for name in audit.images.index]


def kept(audit: Audit) -> dict[str, bytes]:
    """Bits of the maps that are stored, by image."""
    ids = np.array(ids_of(audit))
    ids = ids[audit.store.mapped(ids.tolist())]
    maps = audit.store.maps(ids.tolist())
    return {str(name): one.tobytes() for name, one in zip(ids, maps, strict=True)}


def files(audit: Audit) -> dict[str, bytes]:
    """The arrays and tables of an audit."""
    return {
        path.relative_to(audit.folder).as_posix(): path.read_bytes()
        for path in sorted(audit.folder.rglob("*"))
        if path.suffix in (".npy", ".parquet")
    }


# Which images


def table(*sizes: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, labels and whether they are for training, of classes with so many images of either."""
    labels = np.repeat([f"c{i}" for i in range(len(sizes))], [2 * n for n in sizes])
    return [f"{i:016x}" for i in range(len(labels))], labels, np.arange(len(labels)) % 2 == 0


@pytest.mark.parametrize("room", [0, 2, 10, 60, 400, 5000])
def test_the_sample_fits_and_is_shared_out_evenly(room: int) -> None:
    ids, labels, fitting = table(300, 300, 10, 1)
    found = sampled(ids, labels, fitting, room)
    assert found.sum() <= room
    training, pool = Counter(labels[found & fitting]), Counter(labels[found & ~fitting])
    each = min(150, (room - min(1000, room // 3)) // 4)
    assert [training[f"c{i}"] for i in range(4)] == [min(each, n) for n in (300, 300, 10, 1)]
    assert sum(pool.values()) == min(1000, room // 3, 611)
    assert pool["c0"] - pool["c1"] in (-1, 0, 1)


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    ids, labels, fitting = table(40, 90, 3)
    found = [sampled(ids, labels, fitting, room) for room in (9, 30, 31, 90, 500)]
    for small, large in zip(found, found[1:], strict=False):
        assert not (small & ~large).any()


def test_the_sample_is_of_ids_not_of_places(rng: np.random.Generator) -> None:
    ids, labels, fitting = table(40, 90, 3)
    order = rng.permutation(len(ids))
    moved = sampled([ids[i] for i in order], labels[order], fitting[order], 50)
    assert (moved == sampled(ids, labels, fitting, 50)[order]).all()
    assert (moved != sampled(ids, labels, fitting, 50)).any()


def test_without_held_out_images_the_pool_is_of_training() -> None:
    ids, labels, _ = table(40, 90)
    found = sampled(ids, labels, np.ones(len(ids), bool), 60)
    assert Counter(labels[found]) == {"c0": 20, "c1": 20}
    assert not sampled([], [], np.zeros(0, bool), 60).any()


# In the pass


def test_the_pass_keeps_a_sample(folder: Path, workspace: Workspace, room: Any) -> None:
    whole = kept(run_audit(tiny_request(folder), Workspace(workspace.root / "other")))
    room(20)
    audit = run_audit(tiny_request(folder), workspace)
    found = kept(audit)
    assert len(whole) == 36
    assert 15 < len(found) <= 20
    assert found == {name: whole[name] for name in found}
    assert verify(audit.folder).damaged == {}
    assert not audit.store.has_maps(ids_of(audit))
    assert audit.store.has_maps(list(found))
    stored = audit.store.stored_maps(list(found))
    assert len(stored) == len(found)
    assert stored[2:5].tobytes() == b"".join(list(found.values())[2:5])
    lacking = [name for name in ids_of(audit) if name not in found]
    with pytest.raises(WorkspaceError, match=r"maps\.npy lacks the maps of \d"):
        audit.store.maps(lacking)


def test_maps_that_are_not_kept_are_computed_as_before(
    folder: Path, workspace: Workspace, room: Any
) -> None:
    room(20)
    audit = run_audit(tiny_request(folder), workspace)
    maps = audit.maps(ids_of(audit))
    assert maps.mean(axis=(2, 3)) == pytest.approx(audit.features(ids_of(audit)), abs=1e-5)


def test_a_pass_that_is_stopped_keeps_the_same_sample(
    folder: Path, workspace: Workspace, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(20)
    other = run_audit(tiny_request(folder), Workspace(workspace.root / "other"))
    stopped(monkeypatch, after=5)
    with pytest.raises(KeyboardInterrupt):
        run_audit(tiny_request(folder), workspace)
    room(3)
    assert files(run_audit(tiny_request(folder), workspace)) == files(other)


def stopped(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """The next encoding but ``after`` is interrupted, once."""
    encode, calls = core.features.feed.Feed.put, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(core.features.feed.Feed, "put", failing)


def test_running_it_again_computes_nothing(
    folder: Path, workspace: Workspace, room: Any, counts: dict[str, int]
) -> None:
    room(20)
    before = files(run_audit(tiny_request(folder), workspace))
    counts.update(decoded=0, encoded=0)
    assert files(run_audit(tiny_request(folder), workspace)) == before
    room(7)
    assert files(run_audit(tiny_request(folder), workspace)) == before
    assert counts == {"decoded": 0, "encoded": 0}


def test_new_images_join_the_sample(
    folder: Path, workspace: Workspace, room: Any, counts: dict[str, int], rng: np.random.Generator
) -> None:
    room(20)
    old = kept(run_audit(tiny_request(folder), workspace))
    for i in range(6):
        draw(folder / f"train/green/{i}.jpg", (40, 220, 40), rng)
    counts.update(decoded=0, encoded=0)
    audit = run_audit(tiny_request(folder, name="tiny"), workspace)
    assert counts == {"decoded": 6, "encoded": 6}
    found = kept(audit)
    assert {name: found[name] for name in old} == old
    green = set(audit.images.index[audit.images["label"] == "green"])
    assert len(green & set(found)) == 4  # a third of the training images' room


# Later


def test_an_audit_without_maps_gets_the_sample(
    folder: Path, workspace: Workspace, room: Any, counts: dict[str, int]
) -> None:
    other = Workspace(workspace.root / "other")
    whole = kept(run_audit(tiny_request(folder), other))
    room(0)
    before = run_audit(tiny_request(folder), workspace)
    assert kept(before) == {}
    features, old = by_id(before), files(before)
    room(20)
    counts.update(decoded=0, encoded=0)
    audit = run_audit(tiny_request(folder), workspace)
    found = kept(audit)
    assert counts == {"decoded": len(found), "encoded": len(found)}
    assert 15 < len(found) <= 20
    assert found == {name: whole[name] for name in found}
    assert by_id(audit) == features
    again = {name: bits for name, bits in files(audit).items() if "map" not in name}
    differ = {name for name in again.keys() | old.keys() if again.get(name) != old.get(name)}
    of_parts = ("found/part", "candidates.parquet", "summary.json")  # they are found in the maps
    assert all(name.startswith(of_parts) for name in differ)
    assert audit.count(audit.classes[0], "part") > 0
    assert verify(audit.folder).damaged == {}
    room(36)
    larger = kept(run_audit(tiny_request(folder), workspace))
    assert {name: larger[name] for name in found} == found
    assert len(larger) > len(found)
    assert larger == {name: whole[name] for name in larger}


def test_adding_maps_goes_on_where_it_was_stopped(
    folder: Path,
    workspace: Workspace,
    room: Any,
    counts: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room(0)
    run_audit(tiny_request(folder), workspace)
    room(20)
    with monkeypatch.context() as patch:
        stopped(patch, after=4)
        with pytest.raises(KeyboardInterrupt):
            run_audit(tiny_request(folder), workspace)
    (manifest,) = workspace.manifests()
    assert manifest.state == "finished"
    audit = Audit(workspace.folder(manifest.id))
    part = kept(audit)
    assert 0 < len(part) < 15
    counts.update(decoded=0, encoded=0)
    found = kept(run_audit(tiny_request(folder), workspace))
    assert counts["encoded"] == len(found) - len(part)
    assert {name: found[name] for name in part} == part


def test_all_maps_of_a_shard_need_no_list(folder: Path, workspace: Workspace, room: Any) -> None:
    whole = files(run_audit(tiny_request(folder), Workspace(workspace.root / "other")))
    room(20)
    audit = run_audit(tiny_request(folder), workspace)
    keep(audit, ids_of(audit))
    maps = {name: bits for name, bits in files(audit).items() if "/map" in name}
    assert maps == {name: bits for name, bits in whole.items() if "/map" in name}
    audit.store.drop_maps()
    assert verify(audit.folder).damaged == {}
    assert kept(Audit(audit.folder)) == {}


def keep(audit: Audit, ids: list[str]) -> None:
    keep_maps(
        audit.load_model(), audit.root, audit.store, ids, batch_size=4, workers=2, report=silent
    )


def test_maps_of_images_that_changed_are_not_kept(
    folder: Path, workspace: Workspace, room: Any, rng: np.random.Generator
) -> None:
    room(0)
    audit = run_audit(tiny_request(folder), workspace)
    draw(folder / "train/red/03.jpg", (40, 220, 40), rng)
    (folder / "train/red/04.jpg").unlink()
    keep(audit, ids_of(audit))
    paths = audit.images["path"][~audit.store.mapped(ids_of(audit))]
    assert sorted(paths) == ["train/red/03.jpg", "train/red/04.jpg"]


def test_other_hardware_adds_no_maps(
    folder: Path, workspace: Workspace, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(0)
    run_audit(tiny_request(folder), workspace)
    room(20)
    monkeypatch.setattr("core.models.device.supports", lambda *_: False)
    assert kept(run_audit(tiny_request(folder), workspace)) == {}


# Damage


@pytest.mark.parametrize("begun", [20, 0], ids=["in the pass", "later"])
@pytest.mark.parametrize("name", ["plan/000.parquet", "mapped.npy", "maps.npy"])
def test_damage_is_mended(
    folder: Path, workspace: Workspace, room: Any, begun: int, name: str
) -> None:
    for images in (begun, 20):
        room(images)
        audit = run_audit(tiny_request(folder), workspace)
    before = files(audit)
    broken = next(path for path in before if path.endswith(name))
    (audit.folder / broken).write_bytes(b"broken")
    assert list(verify(audit.folder).damaged) == [broken]
    again = run_audit(tiny_request(folder), workspace)
    assert files(again) == before


def test_rows_that_are_not_there_are_refused(folder: Path, workspace: Workspace, room: Any) -> None:
    room(20)
    audit = run_audit(tiny_request(folder), workspace)
    shard = next(s for s in audit.store.shards if s.files.mapped.exists())
    np.save(shard.files.mapped, np.array([0, 9]))
    seal(shard.files.folder)
    with pytest.raises(WorkspaceError, match=r"mapped\.npy names rows that are not there"):
        audit.store.has_maps(shard.plan["image_id"].tolist())
