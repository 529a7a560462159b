"""Engines: the same bytes whoever computes a shard, each once, whatever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.audits.run import run_audit
from core.errors import JobError
from core.jobs import processes, ray_engine
from core.storage.leases import newest
from core.storage.workspace import Workspace
from core.types import Progress
from tests.conftest import ROOT, tiny_request
from tests.core.audits.test_run import content


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine shards of four images, here and in workers."""
    monkeypatch.setattr("core.features.shards.SHARD_SIZE", 4)
    monkeypatch.setattr("core.audits.analysis.SHARD_SIZE", 4)
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-m", "tests.tiny"))


@pytest.fixture
def undisturbed(folder: Path, workspace: Workspace) -> dict[str, object]:
    """What one process stores."""
    return content(run_audit(tiny_request(folder), Workspace(workspace.root / "local")).folder)


class Kills:
    """A reporter that kills workers of the engine at random moments of the pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left, self.random = number, random.Random(number)
        self.started: list[processes.Child] = []
        start = processes.Processes._start

        def starting(engine: processes.Processes, *where: int) -> processes.Child:
            self.started.append(start(engine, *where))
            return self.started[-1]

        monkeypatch.setattr(processes.Processes, "_start", starting)

    def __call__(self, progress: Progress) -> None:
        alive = [each.process for each in self.started if each.process.poll() is None]
        begun = progress.stage == "Reading images" and progress.done > 0
        if begun and self.left and alive and self.random.random() < 0.5:
            os.kill(self.random.choice(alive).pid, signal.SIGKILL)
            self.left -= 1


def _name(process: psutil.Process) -> str:
    """What a process is called; nothing where it has ended meanwhile."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10])
def test_ray_stores_the_same_bytes_whatever_dies(
    folder: Path,
    workspace: Workspace,
    undisturbed: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
) -> None:
    pytest.importorskip("ray", reason="pip install ray")
    monkeypatch.setattr(ray_engine, "PREPARE", "tests.tiny:slowly")
    monkeypatch.setenv("TINY_PAUSE", "1")
    killed: list[int] = []
    heard: set[str] = set()
    moments = random.Random(kills)

    def report(progress: Progress) -> None:
        started = psutil.Process().children(recursive=True)
        members = [each.pid for each in started if "Member" in _name(each)]
        begun = progress.stage == "Reading images" and progress.done > 0
        if begun and members and len(killed) < kills and moments.random() < 0.5:
            heard.update(ray_engine.heard_elsewhere())
            killed.append(moments.choice(members))
            os.kill(killed[-1], signal.SIGKILL)

    request = tiny_request(folder, engine="ray", threads=1)
    audit = run_audit(request, workspace, report=report)
    assert len(killed) == kills
    assert content(audit.folder) == undisturbed
    assert not heard
    assert not [each for each in psutil.Process().children(recursive=True) if each.is_running()]


@pytest.mark.slow
def test_a_further_process_takes_part(
    folder: Path, workspace: Workspace, undisturbed: dict[str, object], monkeypatch: Any
) -> None:
    monkeypatch.setenv("TINY_PAUSE", "0.5")
    command = [*processes.COMMAND, "work", "tiny", "--workspace", str(workspace.root), "--json"]
    joined = subprocess.Popen([*command, "--wait", "60"], stdout=subprocess.PIPE, cwd=ROOT)
    held: dict[str, int] = {}

    def report(progress: Progress) -> None:
        if progress.stage == "Reading images" and progress.done == progress.total:
            (manifest,) = workspace.manifests()
            found = newest(workspace.files(manifest.id).engine.leases)
            held.update({name: lease.turn for name, (lease, _) in found.items()})

    audit = run_audit(tiny_request(folder, engine="processes", workers=1), workspace, report=report)
    said, _ = joined.communicate(timeout=60)
    assert joined.returncode == 0
    assert 0 < json.loads(said)["computed"] < 9
    assert list(held.values()) == [0] * 9  # every shard was taken once
    assert content(audit.folder) == undisturbed


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_processes_store_the_same_bytes_whatever_dies(
    folder: Path,
    workspace: Workspace,
    undisturbed: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
) -> None:
    monkeypatch.setenv("TINY_PAUSE", "0.2")
    monkeypatch.delattr("core.audits.analysis.analyse_class")  # this process computes nothing
    report = Kills(monkeypatch, kills)
    request = tiny_request(folder, engine="processes")
    audit = run_audit(request, workspace, report=report)
    assert report.left == 0
    assert len(report.started) > 2
    assert content(audit.folder) == undisturbed


@pytest.mark.slow
def test_a_disk_that_fills_is_said_by_the_engine_and_the_audit_goes_on(
    folder: Path, workspace: Workspace, undisturbed: dict[str, object], monkeypatch: Any
) -> None:
    """A worker may write 8 KiB a file, and the maps of a shard take more."""
    limited = ("bash", "-c", f'ulimit -f 8; exec {sys.executable} -m tests.tiny "$@"', "worker")
    request = tiny_request(folder, engine="processes", workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "COMMAND", limited)
        with pytest.raises(JobError, match=r"gave up: .*everything finished so far is kept"):
            run_audit(request, workspace)
    (manifest,) = workspace.manifests()
    files = workspace.files(manifest.id)
    assert not list(files.shards.iterdir())
    assert not files.engine.folder.exists()
    assert content(run_audit(request, workspace).folder) == undisturbed
