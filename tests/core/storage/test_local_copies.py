"""How much of a bucket lies on this machine: what is asked for, and what the disk lets stand."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.__main__ import main
from core.errors import InputError
from core.storage import local_copies, mirror
from core.storage.bucket import Bucket
from core.storage.local_copies import BUDGET, GIB, LEFT, budget_asked
from core.storage.workspace import Workspace
from core.ui.frame.access import kept
from tests.core.storage.servers import at, memory

Disk = namedtuple("Disk", "total used free")  # as of shutil.disk_usage

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    driver = memory(monkeypatch)
    driver.mkdir("/copies")
    yield "memory://copies/team"
    driver.rm("/copies", recursive=True)


def disk(patch: pytest.MonkeyPatch, total: int, free: int) -> None:
    """A disk of so many bytes."""
    patch.setattr(local_copies.shutil, "disk_usage", lambda _: Disk(total, total - free, free))


@pytest.mark.parametrize(
    ("text", "gib"), [(None, 50), ("", 50), (" ", 50), ("200", 200), ("0.5", 0.5), ("1e3", 1000)]
)
def test_the_budget_is_a_number_of_gib(
    monkeypatch: pytest.MonkeyPatch, text: str | None, gib: float
) -> None:
    monkeypatch.delenv(BUDGET, raising=False)
    if text is not None:
        monkeypatch.setenv(BUDGET, text)
    assert budget_asked() == gib * GIB


@pytest.mark.parametrize("text", ["0", "-1", "50GiB", "many", "nan", "inf", "1e999", "1,5"])
def test_what_is_no_size_is_refused_before_the_bucket_is_asked(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(BUDGET, text)
    monkeypatch.setattr(Bucket, "require", lambda self: pytest.fail("the bucket was asked"))
    with pytest.raises(InputError, match=f"^{BUDGET}='{text}' is no size .*, such as 200"):
        at(address, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert Workspace.default(tmp_path / "folder").note == ""  # which has no copies


def test_a_mirror_keeps_to_it_in_processes_that_are_started_too(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUDGET, "2")
    at(address, tmp_path / "one")
    held = mirror.rooted_at(tmp_path / "one")
    assert held is not None
    assert held.budget == 2 * GIB
    assert mirror._inherited()[str(tmp_path / "one")].budget == 2 * GIB


@pytest.mark.parametrize(("free", "left"), [(LEFT + 5000, 2), (LEFT + 1000, 1), (0, 0)])
def test_copies_keep_within_the_disk_whatever_their_budget(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, left: int
) -> None:
    """Two copies of 2,000 bytes are here, and a third comes."""
    monkeypatch.setattr(mirror, "SMALL", 100)
    one, bucket = at(address, tmp_path / "one"), Bucket.of(address)
    for name in ("a", "b", "c", "digests.json"):
        bucket.write(f"audits/x/{name}", b"x" * 2000 if name in "abc" else b"{}")
    bucket.write("audits/x/manifest.json", b"{}")
    held = mirror.rooted_at(one.root)
    assert held is not None
    held.refresh("x")
    a, b, c = (one.audits / "x" / name for name in "abc")
    disk(monkeypatch, 100 * GIB, 90 * GIB)
    held.bring([a, b])
    disk(monkeypatch, 100 * GIB, free)
    held.bring([c])
    assert [mirror.is_far(path) for path in (a, b)].count(False) == left
    assert c.read_bytes() == b"x" * 2000


def test_a_disk_that_is_smaller_than_the_budget_is_said(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(BUDGET, "80")
    one = at(address, tmp_path / "one")
    disk(monkeypatch, 100 * GIB, GIB)
    assert one.note == ""
    assert "Note" not in kept(one)
    disk(monkeypatch, 80 * GIB, GIB)
    assert one.note.startswith(f"the disk of {one.root} has 80.0 GiB, less than the 81 GiB that ")
    disk(monkeypatch, 40 * GIB, GIB)
    assert one.note.startswith(f"the disk of {one.root} has 40.0 GiB, less than the 81 GiB that ")
    assert f" Note: {one.note}." in kept(one)
    assert main(["doctor", *one.arguments]) == 0
    assert one.note in capsys.readouterr().out
