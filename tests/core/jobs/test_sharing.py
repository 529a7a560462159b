"""Leases of units: each computed once, and taken over from whoever is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.audits.audit_requests import AuditRequest
from core.errors import InputError, JobError, WorkspaceError
from core.jobs import ray_engine, sharing
from core.jobs.engine import Local
from core.jobs.sharing import Holder, Sharing, forget_leases, held
from core.jobs.work import WORKS, Advanced, Order, WorkKind, missing
from core.jobs.worker import serve
from core.storage.files import as_bytes, write_json
from core.storage.layout import AuditFiles
from core.storage.leases import make_alone

ORDER = Order("files", {}, 2, "any")


@dataclass(frozen=True)
class Units:
    """Files that are written; every one that was is listed, however often."""

    folder: Path
    number: int = 9
    seconds: float = 0.0
    computed: list[str] = field(default_factory=list)

    stage, unit, accelerated = "Writing", "files", False

    @property
    def sizes(self) -> Mapping[str, int]:
        return {f"unit-{number}": number + 1 for number in range(self.number)}

    def is_done(self, name: str) -> bool:
        return (self.folder / name).exists()

    def compute(self, names: Iterable[str], advanced: Advanced) -> None:
        for name in names:
            time.sleep(self.seconds)
            (self.folder / name).touch()
            self.computed.append(name)
            advanced(self.sizes[name])

    def order(self) -> Order:
        return ORDER


def units(folder: Path, order: Order, decoding: int | None) -> Units:
    return Units(folder)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A work that this process knows; a file names no code."""
    monkeypatch.setattr(WORKS, "_found", {**WORKS, "files": WorkKind("files", units)})


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    folder = tmp_path / "audits" / "abc"
    folder.mkdir(parents=True)
    return folder


def member(of: Units, lapse: float = 120.0) -> Sharing:
    return Sharing(AuditFiles(of.folder).engine, of, replace(ORDER, lapse=lapse), lambda: True)


def lease(folder: Path, name: str, holder: Holder, age: float = 0.0) -> Path:
    path = AuditFiles(folder).engine.leases / name
    assert make_alone(path, as_bytes(holder))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


ELSEWHERE = Holder("another machine", 1)


def test_each_unit_is_computed_once(audit: Path) -> None:
    everyone = [Units(audit, 40, 0.002) for _ in range(4)]
    threads = [
        threading.Thread(target=member(of).compute, args=[lambda _: None]) for of in everyone
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    computed = [name for of in everyone for name in of.computed]
    assert sorted(computed) == sorted(everyone[0].sizes)
    assert missing(everyone[0]) == []


def test_what_others_hold_is_passed_over_until_it_lapses(audit: Path) -> None:
    mine = Units(audit)
    lease(audit, "unit-3.0", ELSEWHERE, age=100)
    assert held(AuditFiles(audit).engine, 120)
    assert member(mine).compute(lambda _: None) == 8
    assert missing(mine) == ["unit-3"]
    last = member(mine, lapse=99)
    assert last.compute(lambda _: None) == 1
    assert [(each.name, each.turn) for each in last.taken] == [("unit-3", 1)]


def test_a_worker_of_this_machine_that_is_gone_is_followed_at_once(audit: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lease(audit, "unit-3.0", replace(Holder.own(), pid=gone.pid))
    assert not held(AuditFiles(audit).engine, 120)
    assert member(Units(audit)).compute(lambda _: None) == 9


def test_signs_of_life_keep_a_slow_unit(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)  # its clock is decades late
    slow, other = Units(audit, 1, 1.0), Units(audit, 1)
    thread = threading.Thread(target=member(slow, lapse=0.4).compute, args=[lambda _: None])
    thread.start()
    while not held(AuditFiles(audit).engine, 0.4):
        time.sleep(0.01)
    while thread.is_alive():
        member(other, lapse=0.4).compute(lambda _: None)
        time.sleep(0.05)
    assert (slow.computed, other.computed) == (["unit-0"], [])


def test_a_lease_without_its_holder_yet_is_held(audit: Path) -> None:
    assert make_alone(AuditFiles(audit).engine.leases / "unit-0.0", b"")
    assert member(Units(audit)).compute(lambda _: None) == 8


def test_a_unit_that_takes_workers_along_is_given_up(audit: Path) -> None:
    lease(audit, f"unit-0.{sharing.LOSSES - 1}", ELSEWHERE, age=500)
    with pytest.raises(JobError, match=r"unit-0 was lost with its worker 8 times; memory may"):
        member(Units(audit)).compute(lambda _: None)
    forget_leases(AuditFiles(audit).engine, 120)  # the next run begins afresh
    assert member(Units(audit)).compute(lambda _: None) == 9


def test_local_work_leaves_nothing_behind_and_waits_for_nobody(audit: Path) -> None:
    mine, seen = Units(audit), []
    Local().run(mine, lambda progress: seen.append(progress.done))
    assert (seen[0], seen[-1]) == (0, 45)
    assert not AuditFiles(audit).engine.folder.exists()
    (audit / "unit-4").unlink()
    lease(audit, "unit-4.0", ELSEWHERE)
    with pytest.raises(WorkspaceError, match="another run still compute audit abc.*120 s"):
        Local().run(mine, lambda _: None)


def test_a_worker_refuses_what_it_would_compute_otherwise(audit: Path) -> None:
    def asked(**changes: object) -> None:
        order = replace(ORDER, torch=version("torch"))
        write_json(AuditFiles(audit).engine.order, replace(order, **changes))  # type: ignore[arg-type]
        serve(audit, advanced=lambda _: None, threads=2)

    with pytest.raises(WorkspaceError, match="computed with 1 threads a worker, not 2"):
        asked(threads=1)
    with pytest.raises(WorkspaceError, match=r"computed by Spurioscope 0\.0\.9, this is"):
        asked(code="0.0.9")
    with pytest.raises(WorkspaceError, match=r"computed by torch 1\.0, this is .*the same one"):
        asked(torch="1.0")


def test_a_worker_without_anybody_who_asks_says_so(audit: Path) -> None:
    began = time.monotonic()
    with pytest.raises(WorkspaceError, match="nobody shares the work on audit abc: start"):
        serve(audit, advanced=lambda _: None, wait=0.3)
    assert time.monotonic() - began >= 0.3


def test_a_worker_ends_when_who_asked_is_silent(
    audit: Path,
) -> None:
    order = replace(ORDER, torch=version("torch"), lapse=0.2)
    write_json(AuditFiles(audit).engine.order, order)
    assert serve(audit, advanced=lambda _: None) == 9


def test_ray_that_is_missing_or_other_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(ray_engine.metadata, "version", lambda _: "2.60.0")
    with pytest.raises(JobError, match=r"needs Ray, which is not installed: pip install 'ray"):
        ray_engine.imported()
    monkeypatch.setitem(sys.modules, "ray", object())
    for other in ("3.1", "2.39.0", "1.13.0"):
        monkeypatch.setattr(ray_engine.metadata, "version", lambda _, version=other: version)
        with pytest.raises(
            JobError, match=rf"needs Ray 2\.40 to 2, and Ray {other} is installed: pip install"
        ):
            ray_engine.imported()


def test_a_cluster_of_another_version_or_gone_is_a_sentence(
    audit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.9\nThis"
    for error, what in (
        (
            RuntimeError(said),
            r"join .*Ray at a:1: .*Ray: 2\.9\.0 Python: 3\.9 This; install the same",
        ),
        (
            ConnectionError("nobody\nthere"),
            r"Ray at a:1: nobody; see that it runs, or use --engine",
        ),
    ):

        def refuses(*, error: Exception = error, **_: object) -> None:
            raise error

        ray = SimpleNamespace(init=refuses, is_initialized=lambda: False)
        monkeypatch.setattr(ray_engine, "imported", lambda ray=ray: ray)
        engine = ray_engine.RayWorkers(1, "a:1")
        with pytest.raises(JobError, match=what):
            engine.run(Units(audit), lambda _: None)
        engine.close()
        assert not AuditFiles(audit).engine.folder.exists()  # nobody is asked for anything any more


def test_an_address_is_of_ray_alone() -> None:
    with pytest.raises(InputError, match="only --engine ray has clusters"):
        AuditRequest("/data", "tiny:net", engine="processes", address="a:1").started_engine()
    with pytest.raises(InputError, match="--engine 'spark': choose local, processes, ray"):
        AuditRequest("/data", "tiny:net", engine="spark")
