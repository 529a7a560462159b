"""Jobs: started, watched, cancelled, resumed, failed, killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.audits.audit_requests import MapRequest
from core.errors import InputError, JobError
from core.jobs import jobs
from core.jobs.jobs import Job, ProgressFile
from core.storage.files import is_locked, locked, write_json
from core.storage.workspace import Workspace
from core.types import Progress

ROOT = Path(__file__).resolve().parents[3]
SLEEP = (sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)")
TINY = "import sys; from tests.tiny import main; sys.exit(main(sys.argv[1:], 0.2))"


@pytest.fixture(autouse=True)
def nothing_left_behind(workspace: Workspace) -> Iterator[None]:
    yield
    for path in (workspace.root / "jobs").glob("0*.lock"):
        while is_locked(path):  # the queue moves on when one is killed
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.killpg(int(path.read_text()), signal.SIGKILL)
            time.sleep(0.02)


def leader(workspace: Workspace, job: Job) -> int:
    """Number of the process that runs a job's command."""
    return int((workspace.root / "jobs" / f"{job.id}.lock").read_text())


def wait(
    workspace: Workspace, job: Job, until: Callable[[Job], bool] = lambda j: not j.active
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


def test_what_follows_two_dashes_is_no_option(workspace: Workspace) -> None:
    arguments = MapRequest("-nothing", "-odd").arguments()
    assert arguments[-2:] == ["--", "-nothing"]
    job = wait(workspace, jobs.start(workspace, arguments, "Map"))
    assert job.message.startswith("error: '-nothing' names no audit in")


def test_watch_cancel_and_resume(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", TINY))
    command = ["audit", "--data", str(folder), "--model", "tiny:net", "--batch-size", "4"]
    job = jobs.start(workspace, command, "Tiny")
    job = wait(workspace, job, lambda j: j.progress.stage == "Reading images" and j.rate > 0)
    assert job.state == "running"
    assert 0 < job.progress.done < job.progress.total == 36
    assert job.seconds_left > 0
    assert workspace.find(job.audit_id).state == "running"
    jobs.cancel(workspace, job.id)
    job = wait(workspace, job)
    assert (job.state, job.message) == ("cancelled", "")
    jobs.cancel(workspace, job.id)
    again = wait(workspace, jobs.resume(workspace, job.id))
    assert again.id != job.id
    assert (again.state, again.audit_id) == ("finished", job.audit_id)
    assert workspace.find(job.audit_id).state == "finished"
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
    runner = leader(workspace, job)
    (command,) = psutil.Process(runner).children()
    command.kill()
    job = wait(workspace, job)
    assert job.state == "failed"
    assert re.fullmatch(
        r"the system ended the command, most likely because memory ran out \(it held 0\.0 of "
        r"[0-9.]+ GB\); .* under another name with a smaller batch size",
        job.message,
    )


def test_killed_runner(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "COMMAND", SLEEP)
    job = begun(workspace)
    runner = leader(workspace, job)
    (command,) = psutil.Process(runner).children()
    os.kill(runner, signal.SIGKILL)
    time.sleep(0.2)
    assert jobs.read(workspace, job.id).state == "running"  # the command goes on without it
    jobs.cancel(workspace, job.id)
    psutil.wait_procs([command], timeout=10)
    job = wait(workspace, job)
    assert (job.state, job.message) == ("failed", jobs.VANISHED)


def test_another_process_with_the_same_number(workspace: Workspace) -> None:
    job_id = "18f2a6c0ffee"
    facts = {"id": job_id, "title": "t", "arguments": [], "started": 0}
    write_json(workspace.root / "jobs" / f"{job_id}.json", facts)
    lock = workspace.root / "jobs" / f"{job_id}.lock"
    lock.write_text(str(os.getpid()))
    assert jobs.read(workspace, job_id).state == "failed"
    jobs.cancel(workspace, job_id)
    with locked(lock, "held"), pytest.raises(JobError, match="another machine or in another cont"):
        jobs.cancel(workspace, job_id)
    lock.write_text("")


@pytest.mark.usefixtures("sleeping")
def test_a_job_that_ends_while_it_is_cancelled(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: int) -> None:
        raise ProcessLookupError

    job = begun(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", gone)
        jobs.cancel(workspace, job.id)


def test_no_python_no_job(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(JobError, match="cannot start a job: .*/nowhere/python"):
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
    monkeypatch.setattr("core.jobs.jobs.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("core.jobs.jobs.write_json", lambda path, value: written.append(value))
    report = ProgressFile(tmp_path / "p.json")
    for done in range(0, 101):
        clock[0] = done * 0.1
        report(Progress("Reading images", done, 100))
    assert written[0].done == 0
    assert written[-1].done == 100
    assert len(written) == pytest.approx(21, abs=2)
    assert written[-1].rate == pytest.approx(10)


@pytest.fixture
def sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job sleeps until it is interrupted or killed."""
    monkeypatch.setattr(jobs, "COMMAND", SLEEP)


def states(workspace: Workspace, *of: Job) -> list[tuple[str, int]]:
    found = [jobs.read(workspace, job.id) for job in of]
    return [(job.state, job.before) for job in found]


def kill(workspace: Workspace, job: Job) -> None:
    """What the system does to every process of a job."""
    os.killpg(leader(workspace, job), signal.SIGKILL)
    while is_locked(workspace.root / "jobs" / f"{job.id}.lock"):
        time.sleep(0.02)


@pytest.mark.usefixtures("sleeping")
def test_jobs_take_turns_in_the_order_in_which_they_were_started(workspace: Workspace) -> None:
    first = begun(workspace)
    second, third, fourth = [jobs.start(workspace, [], name) for name in "bcd"]
    order = (first, second, third, fourth)
    assert [j.id for j in jobs.jobs(workspace)] == [j.id for j in reversed(order)]
    time.sleep(0.6)
    assert states(workspace, *order) == [
        ("running", 0),
        ("waiting", 1),
        ("waiting", 2),
        ("waiting", 3),
    ]
    assert jobs.resume(workspace, third.id).id == third.id
    jobs.cancel(workspace, third.id)
    assert wait(workspace, third).state == "cancelled"
    assert not log(workspace, third)
    kill(workspace, second)
    assert states(workspace, second, fourth) == [("failed", 0), ("waiting", 1)]
    assert jobs.read(workspace, second.id).message == jobs.VANISHED
    kill(workspace, first)
    assert wait(workspace, fourth, lambda j: j.state == "running").seconds < 5


@pytest.mark.usefixtures("sleeping")
def test_as_many_run_at_once_as_the_environment_says(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_JOBS", "2")
    both = [begun(workspace), begun(workspace)]
    third = jobs.start(workspace, [], "c")
    time.sleep(0.6)
    assert states(workspace, *both, third) == [("running", 0), ("running", 0), ("waiting", 2)]


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "65", "9" * 5000, "²"])
def test_a_number_of_jobs_that_is_none(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_JOBS", text)
    with pytest.raises(InputError, match="give a whole number from 1 to 64"):
        jobs.start(workspace, ["list"], "t")
    assert jobs.jobs(workspace) == []


@pytest.mark.usefixtures("sleeping")
def test_a_slot_is_kept_by_a_command_whose_runner_was_killed(workspace: Workspace) -> None:
    first = begun(workspace)
    second = jobs.start(workspace, [], "b")
    os.kill(leader(workspace, first), signal.SIGKILL)
    time.sleep(0.6)
    assert states(workspace, first, second) == [("running", 0), ("waiting", 1)]
    jobs.cancel(workspace, first.id)
    wait(workspace, second, lambda j: j.state == "running")


@pytest.mark.usefixtures("sleeping")
def test_two_apps_share_one_queue(workspace: Workspace) -> None:
    first = begun(workspace)
    code = (
        "import sys; from pathlib import Path\nfrom core.jobs import jobs\n"
        "from core.storage.workspace import Workspace\n"
        f"jobs.COMMAND = {SLEEP!r}\n"
        "for _ in range(8): jobs.start(Workspace(Path(sys.argv[1])), [], 'other')\n"
    )
    apps = [
        subprocess.Popen([sys.executable, "-c", code, str(workspace.root)], cwd=ROOT)
        for _ in range(2)
    ]
    assert [app.wait() for app in apps] == [0, 0]
    found = jobs.jobs(workspace)
    assert [job.before for job in found] == [*range(16, 0, -1), 0]
    assert [job.state for job in found] == [*["waiting"] * 16, "running"]
    assert found[-1].id == first.id


@pytest.mark.usefixtures("sleeping")
def test_the_queue_is_bounded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WAITING", 2)
    begun(workspace)
    last = [jobs.start(workspace, [], name) for name in "bc"][-1]
    with pytest.raises(JobError, match="2 jobs wait already, and no more are taken; cancel one"):
        jobs.start(workspace, [], "d")
    assert len(jobs.jobs(workspace)) == 3
    jobs.cancel(workspace, last.id)
    wait(workspace, last)
    jobs.start(workspace, [], "d")


@pytest.mark.usefixtures("sleeping")
def test_a_clock_that_is_set_back_changes_no_order_and_no_duration(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begun(workspace)
    now = time.time()
    monkeypatch.setattr("core.jobs.jobs.time.time", lambda: now - 86400)
    second = jobs.start(workspace, [], "b")
    assert second.started < first.started
    assert [j.id for j in jobs.jobs(workspace)] == [second.id, first.id]
    assert states(workspace, first, second) == [("running", 0), ("waiting", 1)]
    assert 0 <= jobs.read(workspace, first.id).seconds < 60


def test_progress_goes_on_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr("core.jobs.jobs.write_json", lambda path, value: written.append(value.done))
    report = ProgressFile(tmp_path / "p.json")
    report(Progress("Reading images", 0, 100))
    monkeypatch.setattr("core.jobs.jobs.time.time", lambda: 0.0)
    time.sleep(0.55)
    report(Progress("Reading images", 50, 100))
    assert written == [0, 50]


def test_jobs_of_earlier_versions_are_still_listed(workspace: Workspace) -> None:
    folder = workspace.root / "jobs"
    for started, (job_id, code) in enumerate((("18a", "0"), ("18b", "2"), ("18c", "-9"))):
        facts = {"title": "t", "arguments": [], "started": started, "pid": 1}
        write_json(folder / f"{job_id}.json", facts)
        (folder / f"{job_id}.end").write_text(code)
    new = wait(workspace, jobs.start(workspace, ["list"], "t"))
    found = jobs.jobs(workspace)
    assert [job.id for job in found] == [new.id, "18c", "18b", "18a"]
    assert [job.state for job in found] == ["finished", "failed", "failed", "finished"]
    assert "most likely because memory ran out; resuming" in found[1].message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the command was ended by SIGSEGV; resume it"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "the command was ended by SIGTERM; resume it"),
        ("print('the reason'); sys.exit(3)", "the reason"),
        ("sys.exit(255)", "no output"),
        ("x = b'x' * 300_000_000; os.kill(os.getpid(), signal.SIGKILL)", r"\(it held 0\.3 of "),
        ("sys.exit(137)", "most likely because memory ran out"),
    ],
)
def test_what_ended_a_job_is_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    whole = f"import faulthandler, os, signal, sys; {code}"
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", whole))
    job = wait(workspace, jobs.start(workspace, [], "t"))
    assert job.state == "failed"
    assert re.search(message, job.message)


def test_a_runner_that_cannot_write_says_so(workspace: Workspace) -> None:
    folder = workspace.root / "jobs"
    first = wait(workspace, jobs.start(workspace, ["list"], "t"))
    for name in ("begun", "end"):
        (folder / f"00000002-beef.{name}").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", jobs.RUNNER, str(folder), "00000002-beef", "0", "1", "true"],
        **{"capture_output": True, "text": True, "check": False, "cwd": ROOT},
    )
    assert done.returncode == 2
    assert re.match(r"error: cannot write to .*00000002-beef\.begun", done.stderr)
    assert first.state == "finished"
