"""Engines: the same bytes whoever computes a shard, each once, whatever dies."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import pytest

from core.audits.run import run_audit
from core.jobs import processes
from core.storage.workspace import Workspace
from core.types import Progress
from tests.conftest import tiny_request
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


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_processes_store_the_same_bytes_whatever_dies(
    folder: Path,
    workspace: Workspace,
    undisturbed: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
) -> None:
    monkeypatch.setenv("TINY_PAUSE", "0.2")
    report = Kills(monkeypatch, kills)
    request = tiny_request(folder, engine="processes")
    audit = run_audit(request, workspace, report=report)
    assert report.left == 0
    assert len(report.started) > 2
    assert content(audit.folder) == undisturbed
