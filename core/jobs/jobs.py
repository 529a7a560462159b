"""Long work in a process of its own, which anyone can watch, cancel and resume.

A job is one command of ``python -m core``. In the folder ``jobs``, ``<id>.json`` says what it is,
``<id>.lock`` is held as long as any process of it lives and names the group of these processes,
``<id>.begun`` appears when its turn has come (:mod:`core.jobs.runner`), ``<id>.log`` holds its
output and ``<id>.end`` how it ended. Nothing of this depends on the clock, which may be set back.
The command is given ``--job <id>`` and so writes its progress into ``<id>.progress.json``
(:class:`ProgressFile`); what was started on a terminal is no job and writes none.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import InputError, JobError, WorkspaceError
from core.jobs.options import Request
from core.storage.files import disk_errors, is_locked, locked, read_json, read_value, write_json
from core.storage.json_values import JsonValue
from core.storage.roles import refuse_unless_may_run
from core.storage.workspace import Workspace
from core.types import Progress

ENDED = {0: "finished", 130: "cancelled", -signal.SIGINT: "cancelled"}
"""What exit codes mean; the last one is an interruption before the command listened for it."""

COMMAND = (sys.executable, "-m", "core")
"""What a job's arguments are given to."""

RUNNER = "core.jobs.runner"
"""Module that waits for a job's turn, runs its command and records how it ended."""

WAITING = 20
"""Jobs that may wait at once: beyond it a person, or a program, has lost count of them."""

VANISHED = (
    "the processes of this job are gone, as after a restart of the machine; resume it to go on "
    "from the last finished step"
)
"""Nobody was left to record how it ended."""


@dataclass(frozen=True)
class Job:
    """One job as it stands now."""

    id: str
    title: str
    arguments: list[str]
    state: str
    """``waiting``, ``running``, ``finished``, ``cancelled`` or ``failed``."""
    progress: Progress
    rate: float
    """Units per second since the stage began; 0 before the first report."""
    seconds_left: float | None
    message: str
    """Why it failed: the last line of its output; empty otherwise."""
    audit_id: str | None
    started: float
    """Seconds since 1970 by the clock of that time."""
    before: int = 0
    """Jobs that run or wait before this one while it waits."""
    seconds: float = 0.0
    """How long it has been running by now."""

    @property
    def active(self) -> bool:
        """Whether it may still do something: it waits or runs."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True)
class Said(JsonValue):
    """What a job last said of its progress (:class:`core.types.Progress`)."""

    stage: str = "Starting"
    done: int = 0
    total: int = 0
    unit: str = "images"
    values: Mapping[str, float | None] | None = None
    rate: float | None = None
    """Units per second."""
    audit_id: str | None = None

    @property
    def progress(self) -> Progress:
        """As it was reported; figures that are no number are left out."""
        values = {name: v for name, v in (self.values or {}).items() if v is not None}
        return Progress(self.stage, self.done, self.total, self.unit, values or None)


@dataclass(frozen=True)
class End(JsonValue):
    """How a job ended."""

    code: int
    peak: float | None = None
    memory: float | None = None
    """Bytes that it held at most, and that there were."""


class ProgressFile:
    """A reporter that leaves the state of a job on disk, at most twice a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.audit_id = path, None
        self._stage, self._began, self._first, self._written = "", 0.0, 0, 0.0

    audit_id: str | None

    def __call__(self, progress: Progress) -> None:
        """Record progress."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began, self._first = progress.stage, now, progress.done
        elif now - self._written < 0.5 and progress.done < progress.total:
            return
        self._written = now
        done = progress.done - self._first
        rate = done / (now - self._began) if now > self._began and done else 0.0
        said = Said(**progress._asdict(), rate=rate, audit_id=self.audit_id)
        write_json(self.path, said)


def start(workspace: Workspace, arguments: Sequence[str], title: str) -> Job:
    """Start ``python -m core ARGUMENTS`` in a session of its own; closing the browser leaves it.

    Jobs run one after the other in the order in which they were started; ``$SPURIOSCOPE_JOBS``
    says how many run at once.

    Raises
    ------
    JobError
        If the process cannot be started or too many jobs wait already.
    InputError
        If ``$SPURIOSCOPE_JOBS`` is no number of jobs.
    WorkspaceError
        If this process starts no work (:func:`core.storage.roles.may_run`).
    """
    refuse_unless_may_run()
    folder, slots = workspace.root / "jobs", at_once()
    with locked(folder / "queue.lock", "many jobs are being started at this moment; try again"):
        _refuse_if_full(folder)
        job_id = f"{_last_place(folder) + 1:08d}-{secrets.token_hex(4)}"
        with _held(folder, job_id) as lock:
            facts = {"id": job_id, "title": title, "arguments": list(arguments)}
            write_json(folder / f"{job_id}.json", {**facts, "started": time.time()})
            where = [*workspace.arguments, "--job", job_id]
            end = [*arguments, "--"].index("--")  # what follows it is no option
            command = [*COMMAND, *arguments[:end], *where, *arguments[end:]]
            _launch(folder, job_id, [str(slots), *command], lock)
    return read(workspace, job_id)


def at_once() -> int:
    """How many jobs run at once: ``$SPURIOSCOPE_JOBS``, one by default.

    Raises
    ------
    InputError
        If the variable is no whole number from 1 to 64.
    """
    text = os.environ.get("SPURIOSCOPE_JOBS") or "1"
    if not (text.isdecimal() and 1 <= int(text[:3]) <= 64):
        raise InputError(
            f"SPURIOSCOPE_JOBS={text!r} is no number of jobs that may run at once: give a whole "
            "number from 1 to 64"
        )
    return int(text)


def _refuse_if_full(folder: Path) -> None:
    waiting = sum(not _has_begun(folder, job_id) for job_id in _unfinished(folder))
    if waiting >= WAITING:
        raise JobError(
            f"{waiting} jobs wait already, and no more are taken; cancel one on the page New audit "
            "or wait until one has begun"
        )


def _launch(folder: Path, job_id: str, command: Sequence[str], lock: IO[str]) -> None:
    """Start the runner, which outlives this process; an interruption waits until it listens."""
    runner = [sys.executable, "-m", RUNNER, str(folder), job_id, str(lock.fileno()), *command]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with (folder / f"{job_id}.log").open("ab") as log:
            process = subprocess.Popen(
                runner,
                cwd=Path(__file__).resolve().parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
    except OSError as error:
        (folder / f"{job_id}.json").unlink()
        raise JobError(f"cannot start a job: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    lock.write(str(process.pid))


@contextlib.contextmanager
def _held(folder: Path, job_id: str) -> Iterator[IO[str]]:
    """The lock of a new job; it stays taken while any process that inherited it lives."""
    lock = hold(folder / f"{job_id}.lock")
    if lock is None:
        raise JobError(f"{folder}: two jobs were given the same name; try again")
    with lock:
        yield lock


def hold(path: Path) -> IO[str] | None:
    """An open file that nobody else holds until it is closed by all who inherited it, or None.

    Raises
    ------
    JobError
        If the system has no locks that a process inherits.
    """
    try:
        import fcntl
    except ImportError as error:
        raise JobError(
            "jobs need Linux or macOS, whose locks a process inherits; run the command in a "
            "terminal instead"
        ) from error
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def is_next(folder: Path, job_id: str) -> bool:
    """Whether no job that was started earlier still waits for its turn."""
    return all(_has_begun(folder, other) for other in _unfinished(folder, job_id))


def _has_begun(folder: Path, job_id: str) -> bool:
    return (folder / f"{job_id}.begun").exists()


def _unfinished(folder: Path, job_id: str | None = None) -> list[str]:
    """Jobs of which a process lives; only those before ``job_id`` if it is given."""
    last = None if job_id is None else _place(job_id)
    return [
        other
        for other in _ids(folder)
        if (last is None or _place(other) < last)
        and not (folder / f"{other}.end").exists()
        and is_locked(folder / f"{other}.lock")
    ]


def _ids(folder: Path) -> list[str]:
    names = [path.name for path in folder.glob("[!.]*.json")]
    return [name[:-5] for name in names if not name.endswith(".progress.json")]


def _place(job_id: str) -> int:
    """How many jobs were started before, itself included; 0 for those of earlier versions."""
    place, dash, _ = job_id.partition("-")
    return int(place) if dash and place.isdecimal() else 0


def _last_place(folder: Path) -> int:
    return max(map(_place, _ids(folder)), default=0)


def read(workspace: Workspace, job_id: str) -> Job:
    """One job as it stands now."""
    folder = workspace.root / "jobs"
    facts = read_json(folder / f"{job_id}.json")
    path = folder / f"{job_id}.progress.json"
    said = read_value(path, Said) if path.exists() else Said()
    state, message = _state(folder, job_id)
    rate = max(said.rate or 0.0, 0.0)
    left = (said.total - said.done) / rate if rate else None
    return Job(
        job_id,
        facts["title"],
        facts["arguments"],
        state,
        said.progress,
        rate,
        left,
        message,
        said.audit_id,
        facts["started"],
        len(_unfinished(folder, job_id)) if state == "waiting" else 0,
        _seconds(folder, job_id) if state == "running" else 0.0,
    )


def _state(folder: Path, job_id: str) -> tuple[str, str]:
    end = folder / f"{job_id}.end"
    alive = not end.exists() and is_locked(folder / f"{job_id}.lock")
    if not alive and end.exists():  # asked again: it may have ended in between
        return _ended(folder, job_id)
    if alive:
        return "running" if _has_begun(folder, job_id) else "waiting", ""
    last = _last_line(folder / f"{job_id}.log")
    return "failed", last if last.startswith("error: ") else VANISHED


def _seconds(folder: Path, job_id: str) -> float:
    """Seconds since its turn came, by the clock that only goes forward."""
    return max(time.monotonic() - float(read_json(folder / f"{job_id}.begun")["at"]), 0.0)


def _ended(folder: Path, job_id: str) -> tuple[str, str]:
    found = read_json(folder / f"{job_id}.end")  # earlier versions kept the code alone
    end = End.from_json(found if isinstance(found, dict) else {"code": found})
    code = end.code
    state = ENDED.get(code, "failed")
    if state != "failed":
        return state, ""
    number = -code if code < 0 else code - 128  # as a shell in between reports a signal
    if number not in set(signal.Signals):
        return state, _last_line(folder / f"{job_id}.log")
    return state, _signalled(signal.Signals(number), end)


def _signalled(number: signal.Signals, end: End) -> str:
    """Why a command ended that had no time to say it."""
    if number != signal.SIGKILL:
        return (
            f"the command was ended by {number.name}; resume it to go on from the last finished "
            "step"
        )
    held = ""
    if end.peak and end.memory:
        held = f" (it held {end.peak / 1e9:.1f} of {end.memory / 1e9:.1f} GB)"
    return (
        f"the system ended the command, most likely because memory ran out{held}; resuming it as "
        "it is may end alike: end other programs first, or start it under another name with a "
        "smaller batch size"
    )


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "no output"


def jobs(workspace: Workspace) -> list[Job]:
    """Every job of the workspace, newest first; a damaged one is left out."""
    found = []
    for job_id in _ids(workspace.root / "jobs"):
        with contextlib.suppress(WorkspaceError, KeyError, TypeError, ValueError):
            found.append(read(workspace, job_id))
    return sorted(found, key=lambda job: (_place(job.id), job.started, job.id), reverse=True)


def newest(workspace: Workspace, request: Request) -> Job | None:
    """The newest job that does exactly this."""
    return next((job for job in jobs(workspace) if request.is_asked_by(job.arguments)), None)


def cancel(workspace: Workspace, job_id: str) -> None:
    """Interrupt a job; what it finished stays, and resuming goes on from there.

    Raises
    ------
    JobError
        If its processes cannot be seen from here.
    """
    refuse_unless_may_run()
    lock = workspace.root / "jobs" / f"{job_id}.lock"
    if not is_locked(lock):
        return
    until = time.monotonic() + BEGINS
    while (group := _group_of(lock, job_id)) is None and is_locked(lock):
        if time.monotonic() > until:
            raise JobError(
                "this job runs on another machine or in another container: cancel it there"
            )
        time.sleep(0.05)
    if group is not None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            os.killpg(group, signal.SIGINT)


BEGINS = 1.0
"""Seconds in which a process that was just started becomes the job that it was started for."""


def _group_of(lock: Path, job_id: str) -> int | None:
    """The group of processes that a job's lock names; None where none of them runs that job."""
    group = lock.read_text().strip()
    seen = group.isdecimal() and any(_runs(pid, job_id) for pid in _group(int(group)))
    return int(group) if seen else None


def _group(leader: int) -> list[int]:
    """Processes of the group that ``leader`` leads or led."""
    import psutil

    found = []
    for member in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(member) == leader:
                found.append(member)
    return found


def _runs(pid: int, job_id: str) -> bool:
    """Whether a process belongs to this very job (numbers are reused)."""
    import psutil

    try:
        return job_id in psutil.Process(pid).cmdline()
    except (psutil.Error, OSError):
        return False


def resume(workspace: Workspace, job_id: str) -> Job:
    """Start the same command again."""
    job = read(workspace, job_id)
    return job if job.active else start(workspace, job.arguments, job.title)
