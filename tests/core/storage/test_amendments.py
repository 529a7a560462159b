"""What several machines write into one document at the same time: nothing of it is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import WorkspaceError
from core.storage import digests, mirror
from core.storage.amendments import amend
from core.storage.files import read_json, remove, seen, there, write_json
from core.storage.workspace import Workspace, amend_manifest, read_manifest
from tests.core.run_fixture import manifest_facts
from tests.core.storage.servers import BucketServer, at, folder_in, running

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with running("s3") as found:
        yield found


@pytest.fixture(params=["disk", "s3"])
def machines(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """One audit's folder as two machines see it: on a share, and in a bucket."""
    if request.param == "disk":
        one = two = Workspace(tmp_path / "share")
    else:
        address = folder_in(request.getfixturevalue("server"), monkeypatch)
        one, two = (at(address, tmp_path / name) for name in ("one", "two"))
    write_json(one.audits / "x" / "manifest.json", manifest_facts(name="mine"))
    return one.folder("x"), two.folder("x")


class Meanwhile:
    """What another machine does at a planted moment, once; where it has to wait, afterwards."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self.left = [happens]
        self.thread = threading.Thread()

    def __call__(self) -> None:
        while self.left:
            self.thread = threading.Thread(target=self.left.pop())
            self.thread.start()
            self.thread.join(0.5)

    def ends(self) -> None:
        """Wait for it."""
        assert not self.left
        self.thread.join(30)
        assert not self.thread.is_alive()


def look_again(folder: Path) -> None:
    """See what other machines wrote."""
    for path in [folder / digests.NAME, folder / "manifest.json"]:
        mirror.look(path)


def test_a_digest_that_is_added_meanwhile_is_not_lost(
    machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (folder / "outcomes" for folder in machines)
    write_json(one / "first.json", 0)
    meanwhile = Meanwhile(lambda: write_json(two / "theirs.json", {"of": "two"}))
    written = digests._written

    def interrupted(found: Any) -> bytes:
        if set(found) == {"first.json", "mine.json"}:  # read, and not yet written
            meanwhile()
        return written(found)

    monkeypatch.setattr(digests, "_written", interrupted)
    write_json(one / "mine.json", {"of": "one"})
    meanwhile.ends()
    for folder in (one, two):
        look_again(folder)
        assert set(digests.known(folder)) == {"first.json", "mine.json", "theirs.json"}
        for name in ("mine.json", "theirs.json"):
            assert seen(folder / name)
            assert digests.fault(folder / name, wholly=True, again=True) == ""


def test_what_is_known_of_digests_is_not_taken_for_what_they_are(
    machines: tuple[Path, Path],
) -> None:
    """Another machine's entry, in a document that looks as the one that was read before."""
    folder, _ = machines
    if mirror.mirror_of(folder):
        pytest.skip("a bucket has no times of change to be misled by")
    write_json(folder / "outcomes" / "a.json", 0)
    document = folder / "outcomes" / digests.NAME
    before = document.stat()
    assert set(digests.known(document.parent)) == {"a.json"}
    document.write_bytes(document.read_bytes().replace(b"a.json", b"b.json"))
    os.utime(document, ns=(before.st_atime_ns, before.st_mtime_ns))
    write_json(folder / "outcomes" / "c.json", 0)
    assert set(digests.known(document.parent)) == {"b.json", "c.json"}


def test_many_machines_lose_no_digest(machines: tuple[Path, Path]) -> None:
    def write(folder: Path, number: int) -> None:
        for value in range(3):
            write_json(folder / f"{number}.json", {"value": value})

    everyone = [
        threading.Thread(target=write, args=(machines[number % 2], number)) for number in range(4)
    ]
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join()
    look_again(machines[0])
    for number in range(4):
        path = machines[0] / f"{number}.json"
        assert seen(path)
        assert len(digests.known(machines[0])[path.name]) == 1
        assert digests.fault(path, wholly=True, again=True) == ""
        assert read_json(path) == {"value": 2}


def test_what_another_machine_wrote_can_be_deleted_and_is_not_missed(
    machines: tuple[Path, Path],
) -> None:
    one, two = (folder / "outcomes" for folder in machines)
    write_json(two / "kept.json", 0)
    write_json(one / "theirs.json", 0)
    assert seen(two / "theirs.json")
    remove(two / "theirs.json")
    for folder in (one, two):
        look_again(folder)
        assert not seen(folder / "theirs.json")
        assert not there(folder / "theirs.json")
        assert there(folder / "kept.json")


def test_a_name_and_a_state_that_two_machines_write_are_both_kept(
    machines: tuple[Path, Path],
) -> None:
    one, two = machines
    meanwhile = Meanwhile(lambda: amend_manifest(two, lambda found: replace(found, name="renamed")))

    def finishing(found: Any) -> Any:
        meanwhile()
        return replace(found, state="finished")

    made = amend_manifest(one, finishing)
    meanwhile.ends()
    assert made.state == "finished"
    for folder in machines:
        look_again(folder)
        found = read_manifest(folder)
        assert (found.name, found.state) == ("renamed", "finished")
        assert len(digests.known(folder)["manifest.json"]) == 1
        assert digests.fault(folder / "manifest.json", wholly=True, again=True) == ""


def test_a_document_begins_with_what_is_given(machines: tuple[Path, Path]) -> None:
    one, two = (folder / "quality" / "keys.json" for folder in machines)
    amend(one, lambda found: {**found, "a": 1}, {})
    amend(two, lambda found: {**found, "b": 2}, {})
    assert seen(one)
    mirror.look(one.parent / digests.NAME)
    assert read_json(one) == {"a": 1, "b": 2}


def test_what_is_damaged_is_said_and_kept(machines: tuple[Path, Path]) -> None:
    one, _ = machines
    path = one / "manifest.json"
    damaged = path.read_bytes()[:40]
    if held := mirror.mirror_of(path):
        held.bucket.write(held.name(path), damaged)
    path.write_bytes(damaged)
    with pytest.raises(WorkspaceError, match=r"manifest\.json is "):
        amend(path, lambda found: {**found, "name": "other"})
    with pytest.raises(WorkspaceError, match=r"manifest\.json is "):
        amend_manifest(one, lambda found: replace(found, name="other"))
    assert (held.bucket.read(held.name(path)) if held else path.read_bytes()) == damaged
