"""Workspaces in a bucket: the same bytes as on a disk, whoever is killed, wherever it is opened."""

from __future__ import annotations

import errno
import importlib.util
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import core.storage.bucket
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.errors import InputError, WorkspaceError
from core.jobs.engine import ENGINES, Crowd, EngineKind
from core.jobs.work import Order, Work
from core.jobs.worker import serve
from core.storage import leases, mirror, ranged
from core.storage.bucket import Bucket, Version
from core.storage.files import (
    is_locked,
    link_tree,
    locked,
    read_array,
    read_json,
    remove,
    replacing_folder,
    write_array,
    write_json,
)
from core.storage.mirror import SLACK, is_far
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.core.storage.servers import SECRETS, at, content, memory

SECRET, KEY = SECRETS

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in the memory of this process."""
    driver = memory(monkeypatch)
    driver.mkdir("/bucket")
    yield "memory://bucket/team"
    driver.rm("/bucket", recursive=True)


@pytest.fixture
def filled(address: str, plain: Audit) -> str:
    """The bucket with a copy of it, made by another program."""
    import fsspec

    memory = fsspec.filesystem("memory", use_listings_cache=False)
    memory.put(f"{plain.folder}/", f"/bucket/team/audits/{plain.id}/", recursive=True)
    return address


class Killed(BaseException):
    """What stands for the end of a process."""


@pytest.mark.parametrize("after", [1, 20, 60])
def test_killed_at_any_write_it_is_resumed_elsewhere(
    address: str,
    data: Path,
    plain: Audit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """The disk of the first machine is lost with it."""
    store, left = Bucket.store, [after]

    def dies(self: Bucket, source: Path, name: str) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return store(self, source, name)

    one = at(address, tmp_path / "one")
    monkeypatch.setattr(Bucket, "store", dies)
    with pytest.raises(Killed):
        run_audit(tiny_request(data), one)
    monkeypatch.setattr(Bucket, "store", store)
    shutil.rmtree(tmp_path / "one")
    mirror._mirrors.clear()
    again = run_audit(tiny_request(data), at(address, tmp_path / "two"))
    assert content(again.folder) == content(plain.folder)


def test_a_shard_is_the_one_that_was_there_first_and_none_without_its_marker(
    filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (Audit.open(at(filled, tmp_path / name), "tiny") for name in ("one", "two"))
    stored, order = [], []
    create = Bucket.create
    monkeypatch.setattr(Bucket, "create", lambda *asked: order.append(asked[1]) or create(*asked))
    store = Bucket.store
    monkeypatch.setattr(Bucket, "store", lambda *asked: order.append(asked[2]) or store(*asked))
    shard = one.files.shard("000", 77).folder
    for audit, value in ((one, 1.0), (two, 2.0)):
        with replacing_folder(audit.files.shard("000", 77).folder) as temporary:
            write_array(temporary / "features.npy", np.full(4, value))
        stored.append(read_array(audit.files.shard("000", 77).features))
    assert np.array_equal(stored[0], stored[1])
    assert [name.rpartition("/")[2] for name in order] == ["features.npy", "digests.json"]
    mirror.mirror_of(shard).bucket.delete([f"audits/{one.id}/shards/000-00077/digests.json"])
    three = Audit.open(at(filled, tmp_path / "three"), "tiny")
    assert not three.files.shard("000", 77).folder.exists()
    mirror.refresh(shard)
    assert [s.folder.name for s in three.files.every_shard()] == [
        s.folder.name for s in one.files.every_shard() if s.number != 77
    ]


def test_what_another_machine_changed_is_seen_and_read_again(filled: str, tmp_path: Path) -> None:
    one, two = at(filled, tmp_path / "one"), at(filled, tmp_path / "two")
    path, there = (Audit.open(w, "tiny").files.outcome("noise", "k") for w in (one, two))
    write_json(path.with_suffix(".json"), {"n": 1})
    time.sleep(2 * SLACK)
    mirror.refresh(there)
    assert read_json(there.with_suffix(".json")) == {"n": 1}
    write_json(path.with_suffix(".json"), {"n": 22})
    time.sleep(2 * SLACK)
    mirror.refresh(there)
    assert read_json(there.with_suffix(".json")) == {"n": 22}
    remove(path.with_suffix(".json"))
    time.sleep(2 * SLACK)
    mirror.refresh(there)
    assert not there.with_suffix(".json").exists()
    one.delete("tiny")
    time.sleep(2 * SLACK)
    mirror.rooted_at(two.root).refresh(now=True)
    assert two.manifests() == []
    assert Bucket.of(filled).every("audits") == {}


def test_the_copies_keep_within_their_budget(
    filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(mirror, "SMALL", 2000)
    opened = Audit.open(at(filled, tmp_path / "one"), "tiny")
    fetching = Bucket.of(filled).driver
    large = [s.maps for s in opened.files.every_shard()]
    assert all(map(is_far, large))
    first = read_array(large[0], mapped=True)
    before = np.array(first)
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "get_file", refused)
        with pytest.raises(WorkspaceError, match="is full"):
            mirror.bring([large[1]])
    assert is_far(large[1])
    mirror.rooted_at(tmp_path / "one").budget = 1
    mirror.bring([large[1]])
    assert [is_far(path) for path in large[:3]] == [True, False, True]
    assert np.array_equal(first, before)  # who has it open keeps it
    assert np.array_equal(read_array(large[0]), before)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        (f"s3://{KEY}:{SECRET}@bucket/team", "credentials are given by the environment alone"),
        ("ftp://bucket/team", "named by one of s3://, gs://, az://"),
        ("s3://", "names no bucket"),
        ("s3://bucket/../other", "names no bucket"),
        ("gs://bucket/team", "pip install 'spurioscope\\[gs\\]'"),
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(
    address: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gcsfs" else 1)
    with pytest.raises(InputError, match=what) as error:
        Workspace.default(address, local=tmp_path)
    assert SECRET not in str(error.value)


def test_the_local_folder_goes_with_one_bucket(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPURIOSCOPE_LOCAL", raising=False)
    with pytest.raises(WorkspaceError, match=r"without --database URL, tags.*give --local DIR"):
        Workspace.default(address)
    (tmp_path / "plain" / "audits").mkdir(parents=True)
    with pytest.raises(WorkspaceError, match="holds audits of its own"):
        Workspace.default(address, local=tmp_path / "plain")
    at(address, tmp_path / "one")
    with pytest.raises(WorkspaceError, match=f"holds audits of {address}"):
        Workspace.default(f"{address}-2", local=tmp_path / "one")
    mirror._mirrors.clear()
    with pytest.raises(WorkspaceError, match=f"give --workspace {address} --local"):
        Workspace(tmp_path / "one")
    gone = address.replace("bucket", "gone")
    with pytest.raises(WorkspaceError, match="there is no bucket memory://gone"):
        Workspace.default(gone, local=tmp_path / "two")


@pytest.fixture(params=[-3600, 3600], ids=["an hour late", "an hour early"])
def apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the server and that of this machine differ."""
    said = core.storage.bucket._seconds
    monkeypatch.setattr("core.storage.bucket._seconds", lambda facts: said(facts) + request.param)


@pytest.mark.usefixtures("apart")
def test_two_clusters_do_not_compute_one_audit(
    filled: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their clocks say; what a machine left that died lapses, or is its own again."""
    one, two = at(filled, tmp_path / "one"), at(filled, tmp_path / "two")
    audit = Audit.open(one, "tiny")
    there = two.files(audit.id)
    with locked(audit.files.lock, "busy"):
        assert is_locked(there.lock)
        with pytest.raises(WorkspaceError, match=r"another machine holds it.*ask again in \d+ s"):
            run_audit(tiny_request(data), two)
    assert not is_locked(there.lock)
    with monkeypatch.context() as patch:
        patch.setattr(leases, "release", lambda path: None)
        with locked(audit.files.lock, "busy"):
            pass  # and it dies without giving it back
    assert is_locked(there.lock)
    with locked(audit.files.lock, "busy"):
        assert is_locked(there.lock)
    monkeypatch.setattr(leases, "LAPSE", 0.0)
    with locked(there.lock, "busy"):
        pass
    assert not any("locks" in name for name in one._mirror.bucket.every("audits"))


def test_a_process_that_is_started_knows_the_mirrors(address: str, tmp_path: Path) -> None:
    at(address, tmp_path / "one")
    held = mirror._inherited()[str(tmp_path / "one")]
    assert (held.root, str(held.bucket)) == (tmp_path / "one", address)


def test_a_bucket_that_vanishes_is_a_sentence_and_loses_nothing(
    address: str, data: Path, plain: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is here is read all the same; a pass that was stopped goes on afterwards."""
    one, store, left = at(address, tmp_path / "one"), Bucket.store, [30]

    def unplugged(self: Bucket, source: Path, name: str) -> Version:
        left[0] -= 1
        with self.said():
            if left[0] < 0:
                raise ConnectionError(f"{SECRET}: no route to host")
        return store(self, source, name)

    monkeypatch.setattr(Bucket, "store", unplugged)
    with pytest.raises(WorkspaceError, match=r"cannot be reached \(ConnectionError\)") as error:
        run_audit(tiny_request(data), one)
    assert SECRET not in str(error.value)
    monkeypatch.setattr(Bucket, "store", store)
    audit = run_audit(tiny_request(data), one)
    assert content(audit.folder) == content(plain.folder)
    monkeypatch.setattr(Bucket, "driver", property(lambda self: 1 / 0))
    monkeypatch.setattr(mirror, "FRESH", 0.0)
    assert [m.name for m in one.manifests()] == ["tiny"]
    assert len(Audit.open(one, "tiny").classes) == len(plain.classes)


def test_a_derived_audit_is_copied_within_the_bucket(
    filled: str, plain: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "SMALL", 2000)
    opened = Audit.open(at(filled, tmp_path / "one"), "tiny")
    other = opened.folder.with_name("ffff")
    link_tree(opened.files.shards, other / "shards")
    shards, copied = plain.files.every_shard(), sorted((other / "shards").iterdir())
    assert [path.name for path in copied] == [shard.folder.name for shard in shards]
    assert is_far(copied[0] / "maps.npy")
    assert is_far(opened.files.every_shard()[0].maps)  # and nothing came here for it
    assert np.array_equal(read_array(copied[0] / "maps.npy"), read_array(shards[0].maps))


@pytest.mark.usefixtures("apart")
def test_another_machine_computes_the_shards(
    address: str, data: Path, plain: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked, takes leases and is seen to be done through the bucket alone."""
    one, two = at(address, tmp_path / "one"), at(address, tmp_path / "two")
    computed: list[int] = []

    class Elsewhere(Crowd):
        def begin(self, work: Work, order: Order) -> None:
            if not hasattr(self, "worker"):
                self.worker = threading.Thread(target=self.serve, args=(work.folder.name,))
                self.worker.start()

        def serve(self, audit_id: str) -> None:
            computed.append(serve(two.folder(audit_id), advanced=int, wait=30.0))

        def look(self, left: int) -> None:
            assert self.worker.is_alive() or computed

        def end(self) -> None:
            self.worker.join()

    kind = EngineKind("elsewhere", "", lambda _: Elsewhere())
    monkeypatch.setattr(ENGINES, "_found", {**ENGINES, "elsewhere": kind})
    monkeypatch.setattr(mirror, "LOOK", 0.2)
    audit = run_audit(tiny_request(data, engine="elsewhere"), one)
    assert computed == [len(plain.store.shards) + len(plain.classes)]
    assert content(audit.folder) == content(plain.folder)
    assert not any(".engine" in name for name in one._mirror.bucket.every("audits"))


def test_of_a_large_array_only_the_rows_that_are_wanted_come_here(
    filled: str, plain: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "SMALL", 2000)
    monkeypatch.setattr(ranged, "LARGE", 2000)
    opened, asked = Audit.open(at(filled, tmp_path / "one"), "tiny"), []
    read = Bucket.read
    monkeypatch.setattr(Bucket, "read", lambda *a: asked.append(a[3] - a[2]) or read(*a))
    first = opened.store.shards[0]
    ids = first.plan["image_id"].tolist()
    assert np.array_equal(opened.store.maps(ids[2:3]), plain.store.maps(ids[2:3]))
    row = plain.store.maps(ids[:1]).nbytes
    assert asked == [4096, row]
    assert is_far(first.files.maps)
    rows = ranged.Ranged(first.files.maps, mirror.mirror_of(first.files.maps))
    whole = read_array(plain.store.shards[0].files.maps)
    assert np.array_equal(rows[np.array([3, 0, 3])], whole[[3, 0, 3]])
    assert np.array_equal(opened.store.maps(ids), plain.store.maps(ids))
    assert not is_far(first.files.maps)
    held = opened.store.shards[1].files.maps
    there = mirror.mirror_of(held)
    there.bucket.write(there.name(held), bytes(held.stat().st_size))
    with pytest.raises(WorkspaceError, match="it no longer holds what was written"):
        opened.store.maps(opened.store.shards[1].plan["image_id"].tolist()[:1])


def test_what_drivers_raise_is_told_apart_and_not_repeated(address: str) -> None:
    class ResourceExistsError(Exception):
        pass

    for error, what in (
        (OSError(f"Forbidden: {SECRET}"), "refuses access"),
        (PermissionError(SECRET), r"refuses access.*\(PermissionError\)"),
        (TimeoutError(SECRET), r"cannot be reached \(TimeoutError\)"),
    ):
        with pytest.raises(WorkspaceError, match=what) as told, Bucket.of(address).said():
            raise error
        assert SECRET not in str(told.value)
        assert told.value.__cause__ is None
    with pytest.raises(FileExistsError), Bucket.of(address).said():
        raise ResourceExistsError(SECRET)
    bucket = Bucket.of(address)
    assert [bucket.create("x", b"1"), bucket.create("x", b"2")] == [True, False]
    assert bucket.read("x") == b"1"
