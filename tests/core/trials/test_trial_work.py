"""Trials by an engine: the bytes of one process, whatever dies, and what was stopped goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import parser
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.commands import trials
from core.errors import SpurioscopeError, WorkspaceError
from core.jobs import processes
from core.jobs.sharing import Holder
from core.storage.files import locked, read_value, write_json
from core.storage.leases import newest
from core.storage.workspace import Workspace
from core.trials.leaning import NAME, measure_leaning, missing, trial_key
from core.trials.trial_work import TrialWork
from core.types import Progress, Reporter, silent
from tests.conftest import draw, tiny_request
from tests.core.audits.test_run import content

COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (40, 200, 40), "grey": (60,) * 3}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """A finished audit of four classes of which nothing was tried, to be read only."""
    root, rng = tmp_path_factory.mktemp("four"), np.random.default_rng(7)
    for label, colour in COLOURS.items():
        for i in range(9):
            split = "train" if i < 6 else "test"
            draw(root / "data" / split / label / f"{i}.jpg", colour, rng)
    return run_audit(tiny_request(root / "data", threads=1), Workspace(root / "workspace"))


@pytest.fixture
def audit(four: Audit, workspace: Workspace) -> Audit:
    shutil.copytree(four.folder, workspace.folder(four.id))
    return Audit.open(workspace, "tiny")


@pytest.fixture
def undisturbed(audit: Audit, tmp_path: Path) -> dict[str, Any]:
    """What one process stores."""
    alone = Audit(shutil.copytree(audit.folder, tmp_path / "alone" / "audits" / audit.id))
    measure_leaning(alone)
    return content(alone.folder)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take their time over a class, so that they can be killed in it."""
    monkeypatch.setattr(processes, "COMMAND", (sys.executable, "-m", "tests.tiny"))
    monkeypatch.setenv("TINY_TRIAL_PAUSE", "0.7")


def run(workspace: Workspace, *more: str, report: Reporter = silent) -> Any:
    """The command, with further options."""
    return trials.run(parser().parse_args(["trials", "tiny", *more]), workspace, report)


def holders(audit: Audit) -> dict[str, Holder]:
    """Who holds the classes that are not there yet."""
    work, leases = TrialWork(audit), audit.files.engine.leases
    known = newest(leases) if leases.exists() else {}
    return {
        name: read_value(leases / lease.file_name, Holder)
        for name, (lease, _) in known.items()
        if not work.is_done(name)
    }


@pytest.mark.usefixtures("patient")
def test_a_worker_that_is_killed_costs_one_class_and_no_byte(
    audit: Audit, workspace: Workspace, undisturbed: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.delattr("core.trials.leaning.Trial.of_class")  # this process tries nothing
    killed: list[str] = []
    turns: dict[str, int] = {}

    def report(progress: Progress) -> None:
        if progress.done and not killed:
            for name, holder in holders(audit).items():
                os.kill(holder.pid, signal.SIGKILL)
                if not TrialWork(audit).is_done(name):
                    killed.append(name)
                    return
        if progress.done == progress.total:
            found = newest(audit.files.engine.leases)
            turns.update({name: lease.turn for name, (lease, _) in found.items()})

    answer = run(workspace, "--engine", "processes", "--workers", "2", report=report)
    assert len(killed) == 1
    assert {name for name, turn in turns.items() if turn} == set(killed)
    assert len(turns) == answer.document["classes"] == 4
    assert content(audit.folder) == undisturbed
    assert not audit.files.engine.folder.exists()


@pytest.mark.usefixtures("patient")
def test_what_was_stopped_goes_on_with_the_same_command(
    audit: Audit, workspace: Workspace, undisturbed: dict[str, Any]
) -> None:
    engine, done = ("--engine", "processes", "--workers", "1"), []

    def stop(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workspace, *engine, report=stop)
    stored = 4 - len(missing(audit))
    assert 0 < stored < 4
    run(workspace, *engine, report=lambda progress: done.append(progress.done))
    assert (done[0], done[-1]) == (stored, 4)
    assert content(audit.folder) == undisturbed


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--engine", "many"), "--engine 'many': choose local, processes, ray"),
        (("--workers", "2"), "--workers 2: one process tries one class after the other"),
        (("--engine", "processes", "--workers", "0"), "--workers 0: must be at least 1"),
        (("--engine", "processes", "--address", "h:1"), "--address h:1: only --engine ray"),
        (("--threads", "3"), "computed with 1 threads a worker, not 3, .*: leave out --threads$"),
    ],
    ids=["unknown", "alone", "none", "address", "threads"],
)
def test_what_an_engine_cannot_do_is_refused_before_anything_is_tried(
    audit: Audit, workspace: Workspace, more: tuple[str, ...], what: str
) -> None:
    with pytest.raises(SpurioscopeError, match=what):
        run(workspace, *more)
    assert len(missing(audit)) == 4


def test_workers_take_one_order_at_a_time(audit: Audit, workspace: Workspace) -> None:
    """While the audit is computed, its workers have another order, which is not to be replaced."""
    write_json(audit.files.engine.order, "of the pass")
    before = audit.files.engine.order.read_bytes()
    with (
        locked(audit.files.lock, "computed"),
        pytest.raises(WorkspaceError, match="'tiny' is being tried or computed by another"),
    ):
        run(workspace, "--engine", "processes")
    assert audit.files.engine.order.read_bytes() == before


@pytest.mark.parametrize("asked", [0, 2])
def test_an_audit_of_before_threads_were_kept_is_tried_with_those_asked_for(
    audit: Audit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    workspace.update(audit.id, compute=replace(audit.manifest.compute, threads=0))
    counts: list[int] = []
    monkeypatch.setattr("core.models.device.threads", _counting(counts))
    more = ("--threads", str(asked)) if asked else ()
    run(workspace, *more)
    assert counts == ([asked] if asked else [])
    fresh = Audit(audit.folder)
    assert TrialWork(fresh, asked).order().threads == max(1, asked)


def _counting(counts: list[int]) -> Callable[[int], Any]:
    from contextlib import nullcontext

    return lambda count: counts.append(count) or nullcontext()


def test_one_process_with_as_many_threads_stores_the_same(
    audit: Audit, workspace: Workspace, undisturbed: dict[str, Any]
) -> None:
    run(workspace, "--threads", "1")
    assert content(audit.folder) == undisturbed
    assert audit.files.outcome(NAME, trial_key(audit)).exists()
