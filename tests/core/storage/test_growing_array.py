"""Arrays that are written as they come: the same bytes and digests, and nothing left of a half."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import WorkspaceError
from core.storage import digests, growing_array
from core.storage.files import read_array, replacing_folder, write_array
from core.storage.growing_array import GrowingArray


def grown(folder: Path, parts: list[np.ndarray]) -> GrowingArray:
    array = GrowingArray(folder, sum(map(len, parts)))
    for part in parts:
        array.add(part)
    return array


@pytest.fixture(params=["linked", "copied"])
def either_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks with files that can be given a name later, and without."""
    if request.param == "linked":
        return
    opened = os.open

    def refused(path: str, flags: int, *rest: int, **named: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refused)


@pytest.mark.usefixtures("either_disk")
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint16])
@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 4, 1), (2000, 7), (3,)])
def test_the_file_is_the_one_that_is_written_at_once(
    tmp_path: Path, rng: np.random.Generator, dtype: type, shape: tuple[int, ...]
) -> None:
    whole = (100 * rng.random(shape)).astype(dtype)
    array = grown(tmp_path, [whole[:1], whole[1:2], whole[2:]] if len(whole) > 2 else [whole])
    assert not list(tmp_path.iterdir())  # nobody sees a part of it
    path, at_once = tmp_path / "a.npy", tmp_path / "b.npy"
    array.put(path)
    write_array(at_once, whole)
    assert path.read_bytes() == at_once.read_bytes()
    assert array.digest == digests.digest_of(at_once)
    np.testing.assert_array_equal(read_array(path), whole)
    assert path.stat().st_mode == at_once.stat().st_mode


def test_what_is_no_block_in_memory_is_written_in_order(tmp_path: Path) -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    grown(tmp_path, [whole.T[:2], whole.T[2:]]).put(tmp_path / "a.npy")
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), whole.T)


def test_a_folder_is_sealed_with_its_digest_and_reads_it_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, of = [], digests.digest_of
    monkeypatch.setattr(digests, "digest_of", lambda path: read.append(path.name) or of(path))
    array = grown(tmp_path, [np.ones((2, 2))])
    known = {"a.npy": array.digest}
    with replacing_folder(tmp_path / "f", sealed=True, found=known) as folder:
        array.put(folder / "a.npy")
        write_array(folder / "b.npy", np.ones(2))
    assert read == ["b.npy"]
    assert digests.known(tmp_path / "f")["a.npy"] == (of(tmp_path / "f" / "a.npy"),)
    assert not digests.fault(tmp_path / "f" / "a.npy", wholly=True)


@pytest.mark.usefixtures("either_disk")
def test_of_one_that_is_given_up_nothing_is_left(tmp_path: Path) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    array = grown(tmp_path, [np.ones((2, 2))])
    del array
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == handles


def test_a_large_one_is_brought_to_the_disk_as_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(growing_array, "OFTEN", 1000)
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    grown(tmp_path, [np.ones(125)] * 4)  # 1,000 bytes each, and a header of 128
    assert synced == [1128, 2128, 3128, 4128]


def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int, _content: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(WorkspaceError, match="is full"):
        grown(tmp_path, [np.ones(3)])


def test_one_that_lacks_rows_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = GrowingArray(tmp_path, 3)
    with pytest.raises(WorkspaceError, match="0 of its 3 rows"):
        array.put(tmp_path / "a.npy")
    array.add(np.ones((2, 2)))
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")))
        with pytest.raises(WorkspaceError, match="is full"):
            array.add(np.ones((1, 2)))
    with pytest.raises(WorkspaceError, match="2 of its 3 rows; run the same command again"):
        array.put(tmp_path / "a.npy")
    assert not list(tmp_path.iterdir())
