"""Workspaces in buckets of servers on this machine: S3, and Google's and Microsoft's emulators."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.errors import WorkspaceError
from core.jobs import processes, ray_engine
from core.storage import mirror, ranged
from core.storage.bucket import LOGGERS, Bucket, Version
from core.storage.files import read_array, remove, replacing_folder, write_array
from core.storage.mirror import is_far
from core.tags.log import TagStore
from core.types import Tag
from tests.conftest import tiny_request
from tests.core.storage.servers import (
    SERVERS,
    BucketServer,
    at,
    content,
    folder_in,
    holds,
    running,
)

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[BucketServer]:
    with running(request.param) as found:
        yield found


@pytest.fixture
def address(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    return folder_in(server, monkeypatch)


def test_calls_mean_the_same_whoever_answers(address: str, tmp_path: Path) -> None:
    bucket = Bucket.of(address)
    bucket.require()
    assert bucket.every("a") == {}
    assert bucket.folders("a") == []
    for name, text in (("a/b/x", b"hello"), ("a/b/c/ä +#1%", b"0123456789"), ("a/bb/empty", b"")):
        bucket.write(name, text)
    assert bucket.folders("a") == ["b", "bb"]
    every = bucket.every("a/b")
    assert sorted(every) == ["c/ä +#1%", "x"]
    assert bucket.every("a/b", deep=False) == {"x": every["x"]} == {"x": bucket.version("a/b/x")}
    assert bucket.every("a/b/x") == bucket.every("a/b/x", deep=False) == {}
    assert bucket.version("a/b/none") is None
    ranges = [(None, None), (2, 5), (8, 99), (50, 99)]
    found = [bucket.read("a/b/c/ä +#1%", *each) for each in ranges]
    assert found == [b"0123456789", b"234", b"89", b""]
    assert [bucket.read("a/bb/empty", 0, 9), bucket.read("none", 0, 9)] == [b"", None]
    (tmp_path / "large").write_bytes(os.urandom(6 * 2**20))
    assert bucket.store(tmp_path / "large", "a/large").size == 6 * 2**20
    bucket.copy("a/large", "copy")
    assert bucket.fetch("copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    assert not bucket.fetch("none", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    bucket.write("a/b/x", b"HELLO")
    assert bucket.version("a/b/x") != every["x"]
    bucket.delete(["a/b/x", "a/b/none", "a/b/c/ä +#1%"])
    bucket.delete(["a/b/none"])
    assert bucket.every("a/b") == {}


def test_one_of_many_makes_an_object(address: str) -> None:
    bucket, made = Bucket.of(address), []

    def tries(number: int) -> None:
        if bucket.create("lease", f"{number}".encode()):
            made.append(f"{number}".encode())

    everyone = [threading.Thread(target=tries, args=(n,)) for n in range(12)]
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join()
    assert made == [bucket.read("lease")]


def test_an_object_is_replaced_only_where_it_is_still_the_same(address: str) -> None:
    bucket = Bucket.of(address)
    assert bucket.tagged("x") == ("", b"")
    assert bucket.exchange("x", b"1", "")
    assert not bucket.exchange("x", b"2", "")
    tag, content = bucket.tagged("x")
    assert content == b"1"
    assert bucket.exchange("x", b"3", tag)
    assert not bucket.exchange("x", b"4", tag)
    tag, content = bucket.tagged("x")
    assert content == b"3"
    bucket.delete(["x"])
    assert not bucket.exchange("x", b"5", tag)
    assert bucket.tagged("x") == ("", b"")


def test_of_many_who_replace_an_object_none_is_lost(address: str) -> None:
    bucket = Bucket.of(address)

    def adds(number: int) -> None:
        while True:
            tag, content = bucket.tagged("all")
            if bucket.exchange("all", content + bytes([number]), tag):
                return

    everyone = [threading.Thread(target=adds, args=(n,)) for n in range(8)]
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join()
    assert sorted(bucket.tagged("all")[1]) == list(range(8))


def test_it_holds_the_same_bytes_and_no_secret(
    server: BucketServer,
    address: str,
    data: Path,
    plain: Audit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    where = ["--workspace", address, "--local"]
    assert main([*tiny_request(data).arguments(), *where, str(tmp_path / "one")]) == 0
    assert main(["list", "--json", *where, str(tmp_path / "two")]) == 0
    assert main(["show", "tiny", *where, str(tmp_path / "two")]) == 0
    said = capfd.readouterr()
    assert "tiny" in said.out
    two = at(address, tmp_path / "two")
    opened = Audit.open(two, "tiny")
    far = [p for p in opened.folder.rglob("*.npy") if is_far(p)]
    assert far  # opening an audit reads only a part of it
    monkeypatch.setattr(ranged, "LARGE", 2000)
    monkeypatch.setattr(mirror, "SMALL", 2000)
    three = Audit.open(at(address, tmp_path / "three"), "tiny")
    ids = three.store.shards[0].plan["image_id"].tolist()
    assert np.array_equal(three.store.maps(ids[2:3]), plain.store.maps(ids[2:3]))
    assert is_far(three.store.shards[0].files.maps)
    assert content(plain.folder).items() <= content(opened.folder).items()
    assert not [p for p in far if is_far(p)]
    key = CandidateKey(opened.classes[0].label, "component", 0)
    TagStore.open(two).add("ann", opened.id, key, Tag.SPURIOUS)
    assert [event.tag for event in TagStore.open(two).current(opened.id)] == [Tag.SPURIOUS]
    assert not holds(tmp_path, server.secrets)
    assert not [s for s in server.secrets if s in said.out + said.err]


@pytest.mark.slow
def test_of_two_writers_of_a_shard_the_first_is_believed(
    address: str, data: Path, tmp_path: Path
) -> None:
    one, two = (at(address, tmp_path / name) for name in ("one", "two"))
    audit = run_audit(tiny_request(data), one)
    there = Audit.open(two, "tiny")
    for files, value in ((audit.files, 1.0), (there.files, 2.0)):
        with replacing_folder(files.shard("000", 77).folder) as temporary:
            write_array(temporary / "features.npy", np.full(4, value))
    mine, theirs = audit.files.shard("000", 77), there.files.shard("000", 77)
    assert np.array_equal(read_array(mine.features), np.full(4, 1.0))
    assert np.array_equal(read_array(theirs.features), np.full(4, 1.0))
    remove(mine.folder)
    assert not [name for name in one._mirror.bucket.every("audits") if "000-00077" in name]


@pytest.mark.slow
def test_credentials_that_expire_and_a_bucket_that_vanishes_lose_nothing(
    server: BucketServer,
    address: str,
    data: Path,
    plain: Audit,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each ends the audit with a sentence in its middle, and the same command goes on."""
    one, store, name = at(address, tmp_path / "one"), Bucket.store, address.split("/")[2]
    with pytest.MonkeyPatch.context() as patch:
        _after(25, lambda: server.refuse(patch), store, patch)
        with pytest.raises(WorkspaceError, match=r"refuses access.*the same command goes on once"):
            run_audit(tiny_request(data), one)
    server.admit()
    server.driver  # noqa: B018 - as a new process would
    whole = {s.folder.name for s in run_audit(tiny_request(data), one).files.every_shard()}
    assert len(whole) == len(plain.store.shards)
    one.delete("tiny")
    with pytest.MonkeyPatch.context() as patch:
        _after(25, lambda: server.vanish(name), store, patch)
        with pytest.raises(WorkspaceError, match="there is no bucket|cannot be reached"):
            run_audit(tiny_request(data), one)
    mirror._mirrors.clear()
    with pytest.raises(WorkspaceError, match=f"there is no bucket {server.scheme}://{name}"):
        at(address, tmp_path / "one")
    server.driver.mkdir(name)
    again = run_audit(tiny_request(data), at(address, tmp_path / "one"))
    assert content(again.folder) == content(plain.folder)
    assert not {record.name.split(".")[0] for record in caplog.records} & set(LOGGERS)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_workers_of_an_engine_store_the_same_bytes_in_a_bucket(
    address: str,
    data: Path,
    plain: Audit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="pip install ray")
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-m", "tests.tiny"))
    monkeypatch.setattr(ray_engine, "PREPARE", "tests.tiny:slowly")
    monkeypatch.delattr("core.audits.analysis.analyse_class")  # this process computes nothing
    request = tiny_request(data, engine=engine, workers=2, threads=1)
    audit = run_audit(request, at(address, tmp_path / "one"))
    assert content(audit.folder) == content(plain.folder)
    mirror._mirrors.clear()
    assert content(Audit.open(at(address, tmp_path / "two"), "tiny").folder) == content(
        plain.folder
    )


def _after(number: int, happens: Any, store: Any, patch: pytest.MonkeyPatch) -> None:
    """Let something happen before one of the stores."""
    left = [number]

    def stored(self: Bucket, source: Path, name: str) -> Version:
        left[0] -= 1
        if left[0] == 0:
            happens()
        return store(self, source, name)

    patch.setattr(Bucket, "store", stored)
