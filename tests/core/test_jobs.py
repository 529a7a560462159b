"""Jobs: started, watched, cancelled, resumed, failed, killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core import jobs
from core.errors import JobError, WorkspaceError
from core.jobs import Job, ProgressFile
from core.store import Workspace, read_json, write_json
from core.types import Progress

SLEEP = (sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)")
TINY = "import sys; from tests.tiny import main; sys.exit(main(sys.argv[1:], 0.2))"


@pytest.fixture(autouse=True)
def nothing_left_behind(workspace: Workspace) -> Iterator[None]:
    yield
    for path in (workspace.root / "jobs").glob("*.json"):
        with contextlib.suppress(WorkspaceError, AttributeError):
            pid = read_json(path).get("pid")
            if pid and path.stem in _words(pid):
                os.killpg(pid, signal.SIGKILL)


def _words(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def wait(
    workspace: Workspace, job: Job, until: Callable[[Job], bool] = lambda j: j.state != "running"
) -> Job:
    """The job as soon as a condition holds, by default that it has ended."""
    deadline = time.monotonic() + 60
    while not until(job := jobs.read(workspace, job.id)):
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job


def log(workspace: Workspace, job: Job) -> str:
    return (workspace.root / "jobs" / f"{job.id}.log").read_text()


def begun(workspace: Workspace) -> Job:
    """A job that sleeps, as soon as its command runs."""
    job = jobs.start(workspace, [], "sleeps")
    wait(workspace, job, lambda j: "begun" in log(workspace, j))
    return job


def test_a_job_that_finishes(workspace: Workspace) -> None:
    job = jobs.start(workspace, ["list"], "All audits")
    job = wait(workspace, job)
    assert (job.state, job.title, job.message) == ("finished", "All audits", "")
    assert "no audits in" in log(workspace, job)
    assert jobs.jobs(workspace) == [job]


def test_a_job_that_fails_says_why(workspace: Workspace) -> None:
    job = jobs.start(workspace, ["show", "nothing"], "Show")
    job = wait(workspace, job)
    assert job.state == "failed"
    assert job.message.startswith("error: 'nothing' names no audit in")


def test_watch_cancel_and_resume(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", TINY))
    command = ["audit", "--data", str(folder), "--model", "timm:tiny", "--batch-size", "4"]
    job = jobs.start(workspace, command, "Tiny")
    job = wait(workspace, job, lambda j: j.progress.stage == "Reading images" and j.rate > 0)
    assert job.state == "running"
    assert 0 < job.progress.done < job.progress.total == 36
    assert job.seconds_left > 0
    assert workspace.find(job.audit_id)["state"] == "running"
    jobs.cancel(workspace, job.id)
    job = wait(workspace, job)
    assert (job.state, job.message) == ("cancelled", "")
    jobs.cancel(workspace, job.id)
    again = wait(workspace, jobs.resume(workspace, job.id))
    assert again.id != job.id
    assert (again.state, again.audit_id) == ("finished", job.audit_id)
    assert workspace.find(job.audit_id)["state"] == "finished"
    assert [j.id for j in jobs.jobs(workspace)] == [again.id, job.id]


def test_cancelled_before_the_command_listens(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "COMMAND", SLEEP)
    job = begun(workspace)
    assert jobs.resume(workspace, job.id).id == job.id
    jobs.cancel(workspace, job.id)
    assert wait(workspace, job).state == "cancelled"


def test_killed_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "COMMAND", SLEEP)
    job = begun(workspace)
    runner = read_json(workspace.root / "jobs" / f"{job.id}.json")["pid"]
    (command,) = psutil.Process(runner).children()
    command.kill()
    job = wait(workspace, job)
    assert (job.state, job.message) == ("failed", jobs.KILLED)


def test_killed_runner(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "COMMAND", SLEEP)
    job = begun(workspace)
    runner = read_json(workspace.root / "jobs" / f"{job.id}.json")["pid"]
    (command,) = psutil.Process(runner).children()
    os.kill(runner, signal.SIGKILL)
    time.sleep(0.2)
    assert jobs.read(workspace, job.id).state == "running"  # the command goes on without it
    jobs.cancel(workspace, job.id)
    psutil.wait_procs([command], timeout=10)
    job = wait(workspace, job)
    assert (job.state, job.message) == ("failed", jobs.KILLED)


def test_another_process_with_the_same_number(workspace: Workspace) -> None:
    job_id = "18f2a6c0ffee"
    facts = {"id": job_id, "title": "t", "arguments": [], "pid": os.getpid(), "started": 0}
    write_json(workspace.root / "jobs" / f"{job_id}.json", facts)
    assert jobs.read(workspace, job_id).state == "failed"
    jobs.cancel(workspace, job_id)


def test_no_python_no_job(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(JobError, match="cannot start 'list': .*/nowhere/python"):
        jobs.start(workspace, ["list"], "t")
    assert jobs.jobs(workspace) == []


def test_a_damaged_job_hides_no_other(workspace: Workspace) -> None:
    job = wait(workspace, jobs.start(workspace, ["list"], "t"))
    for name, text in (("a", "{"), ("b", "{}"), ("c", "[]")):
        (workspace.root / "jobs" / f"{name}.json").write_text(text)
    assert [j.id for j in jobs.jobs(workspace)] == [job.id]


def test_progress_is_written_at_the_ends_and_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written = [0.0], []
    monkeypatch.setattr("core.jobs.time.time", lambda: clock[0])
    monkeypatch.setattr("core.jobs.write_json", lambda path, value: written.append(value))
    report = ProgressFile(tmp_path / "p.json")
    for done in range(0, 101):
        clock[0] = done * 0.1
        report(Progress("Reading images", done, 100))
    assert written[0]["done"] == 0
    assert written[-1]["done"] == 100
    assert len(written) == pytest.approx(21, abs=2)
    assert written[-1]["rate"] == pytest.approx(10)
