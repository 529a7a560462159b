"""Disks that are full, that refuse, or that take no large file: sentences, and nothing is lost."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.audits.export import write_features, write_table
from core.audits.map import compute_map
from core.audits.run import run_audit
from core.errors import WorkspaceError
from core.storage import disk
from core.storage import files as store
from core.storage.files import link
from core.storage.workspace import Workspace
from tests.conftest import tiny_request
from tests.core.audits.test_run import content

LIBC = ctypes.CDLL(None, use_errno=True)
REMOUNT, READ_ONLY = 32, 1
"""Flags of mount(2)."""


def mount(path: Path, flags: int = 0, options: str = "") -> bool:
    arguments = (b"tmpfs", os.fsencode(path), b"tmpfs", flags, options.encode())
    return LIBC.mount(*arguments) == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    path = tmp_path / "small"
    path.mkdir()
    if not mount(path, options="size=256k"):
        pytest.skip("a small disk can be mounted by root alone")
    yield path
    LIBC.umount2(os.fsencode(path), 2)


LARGE = np.random.default_rng(0).normal(size=100_000)


def parts(path: Path) -> None:
    with store.replacing_folder(path) as folder:
        np.save(folder / "x.npy", LARGE)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.npy": lambda path: store.write_array(path, LARGE),
    "t.parquet": lambda path: store.write_frame(path, pd.DataFrame({"a": LARGE})),
    "d.json": lambda path: store.write_json(path, LARGE.tolist()),
    "e.csv": lambda path: write_table(pd.DataFrame({"a": LARGE}), path),
    "e.parquet": lambda path: write_table(pd.DataFrame({"a": LARGE}), path),
    "folder": parts,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_said_and_what_was_there_stays(small: Path, name: str) -> None:
    (small / "kept").write_text("kept")
    with pytest.raises(
        WorkspaceError, match=rf"the disk of {small}/{name} is full \(\d MiB free\); every"
    ):
        WRITERS[name](small / name)
    assert [path.name for path in small.iterdir()] == ["kept"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_on_files_is_said(tmp_path: Path, name: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            WorkspaceError, match=rf"{name} would be larger than a file may be here \(ulimit -f\)"
        ):
            WRITERS[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_only_reads_is_said(small: Path, name: str) -> None:
    assert mount(small, REMOUNT | READ_ONLY)
    with pytest.raises(WorkspaceError, match=rf"write to {small}/{name} \(read-only file system\)"):
        WRITERS[name](small / name)
    with pytest.raises(WorkspaceError, match=r"cannot write to .*read-only file system"):
        Workspace(small).require_writable()


def test_a_copy_in_place_of_a_link_says_so_too(small: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", LARGE)
    with pytest.raises(WorkspaceError, match=r"the disk of .*y\.npy is full"):
        link(tmp_path / "x.npy", small / "y.npy")
    assert list(small.iterdir()) == []


def test_places_of_the_system_are_said(tmp_path: Path) -> None:
    for write in (store.write_json, disk.replacing):
        with pytest.raises(WorkspaceError, match=r"cannot make the folder /proc/nowhere"):
            with_context(write(Path("/proc/nowhere/a.json"), {}))


def with_context(given: Any) -> None:
    with given:
        pass


def test_an_audit_on_a_disk_that_fills_up_goes_on_when_there_is_room(
    small: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 8)
    undisturbed = run_audit(tiny_request(folder), Workspace(tmp_path / "u"))
    workspace, refusals = Workspace(small / "w"), []
    for size in range(256, 2000, 32):
        assert mount(small, REMOUNT, f"size={size}k")
        try:
            audit = run_audit(tiny_request(folder), workspace)
            break
        except WorkspaceError as error:
            refusals.append(str(error))
    assert len(refusals) > 3
    assert all("is full" in words for words in refusals)
    assert content(audit.folder) == content(undisturbed.folder)
    (small / "filling").write_bytes(bytes(shutil.disk_usage(small).free))
    with pytest.raises(WorkspaceError, match="is full"):
        compute_map(audit, umap=False)
    with pytest.raises(WorkspaceError, match="is full"):
        write_features(audit, small / "f.npz")
    shutil.copytree(audit.folder, tmp_path / "copy")
