"""Leases: one holder at a time, by the clock of the file system alone."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from core.errors import WorkspaceError
from core.storage import leases
from core.storage.files import is_sealed, replacing_folder, write_json


def tries(folder: str, number: int, barrier, won) -> None:
    barrier.wait()
    if leases.make_alone(Path(folder) / "000-00001.0", str(number).encode()):
        won.put(number)


def test_one_of_many_processes_makes_a_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(8), context.Queue()
    everyone = [
        context.Process(target=tries, args=(str(tmp_path), n, barrier, won)) for n in range(8)
    ]
    for process in everyone:
        process.start()
    winner = won.get(timeout=20)
    for process in everyone:
        process.join()
    assert won.empty()
    assert (tmp_path / "000-00001.0").read_text() == str(winner)


def test_ages_are_those_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)  # a clock that is decades late
    assert leases.make_alone(tmp_path / "a.0", b"")
    old = tmp_path / "b.3"
    assert leases.make_alone(old, b"")
    now = old.stat().st_mtime
    os.utime(old, (now - 500, now - 500))
    found = leases.ages(tmp_path)
    assert found.keys() == {"a.0", "b.3"}
    assert 0 <= found["a.0"] < 5
    assert 500 <= found["b.3"] < 505
    leases.renew(old)
    assert 0 <= leases.ages(tmp_path)["b.3"] < 5


def test_the_last_turn_counts_and_nothing_else_in_the_folder(tmp_path: Path) -> None:
    for name in ("000-00001.0", "000-00001.10", "000-00001.9", "x.y.1", ".hidden-0123456789ab"):
        (tmp_path / name).touch()
    found = {name: lease.turn for name, (lease, _) in leases.newest(tmp_path).items()}
    assert found == {"000-00001": 10, "x.y": 1}


def test_a_folder_that_refuses_is_a_sentence() -> None:
    with pytest.raises(WorkspaceError, match="cannot make the folder|cannot write to"):
        leases.make_alone(Path("/proc/nowhere/a.0"), b"")


def test_a_folder_is_sealed_last(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "a", sealed=True) as temporary:
        write_json(temporary / "x.json", 1)
        assert not is_sealed(temporary)
    assert is_sealed(tmp_path / "a")
    with replacing_folder(tmp_path / "b") as temporary:
        write_json(temporary / "x.json", 1)
    assert not is_sealed(tmp_path / "b")
