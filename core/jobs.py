"""Long work in a process of its own, which anyone can watch, cancel and resume.

A job is one command of ``python -m core``; ``jobs/<id>.json`` says what it is and who runs it,
``jobs/<id>.log`` holds its output. The command itself writes its progress into the audit's folder
(:class:`ProgressFile`), so an audit started on a terminal can be watched in the browser as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import JobError, WorkspaceError
from core.store import Workspace, disk_errors, read_json, refuse_if_read_only, write_json
from core.types import Progress

ENDED = {0: "finished", 130: "cancelled", -signal.SIGINT: "cancelled"}
"""What exit codes mean; the last one is an interruption before the command listened for it."""

COMMAND = (sys.executable, "-m", "core")
"""What a job's arguments are given to."""

KILLED = "the process was killed; resume it to go on from the last finished shard"


@dataclass(frozen=True)
class Job:
    """One job as it stands now."""

    id: str
    title: str
    arguments: list[str]
    state: str
    """``running``, ``finished``, ``cancelled`` or ``failed``."""
    progress: Progress
    rate: float
    """Units per second since the stage began; 0 before the first report."""
    seconds_left: float | None
    message: str
    """Why it failed: the last line of its output; empty otherwise."""
    audit_id: str | None
    started: float


class ProgressFile:
    """A reporter that leaves the state of a job on disk, at most twice a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.audit_id = path, None
        self._stage, self._began, self._first, self._written = "", 0.0, 0, 0.0

    audit_id: str | None

    def __call__(self, progress: Progress) -> None:
        """Record progress."""
        now = time.time()
        if progress.stage != self._stage:
            self._stage, self._began, self._first = progress.stage, now, progress.done
        elif now - self._written < 0.5 and progress.done < progress.total:
            return
        self._written = now
        done = progress.done - self._first
        rate = done / (now - self._began) if now > self._began and done else 0.0
        write_json(
            self.path, {**progress._asdict(), "rate": rate, "audit_id": self.audit_id, "at": now}
        )


def start(workspace: Workspace, arguments: Sequence[str], title: str) -> Job:
    """Start ``python -m core ARGUMENTS`` in a session of its own; closing the browser leaves it.

    Raises
    ------
    JobError
        If the process cannot be started.
    WorkspaceError
        If this process only shows (:func:`core.store.read_only`).
    """
    refuse_if_read_only()
    job_id = f"{time.time_ns():x}"
    folder = workspace.root / "jobs"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        *(*COMMAND, *arguments),
        *("--workspace", str(workspace.root), "--job", job_id),
    ]
    # the runner outlives this process and records how the command ended
    runner = [sys.executable, "-c", _RUNNER, str(folder / f"{job_id}.end"), *command]
    try:
        with (folder / f"{job_id}.log").open("ab") as log:
            process = subprocess.Popen(
                runner,
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise JobError(f"cannot start {' '.join(arguments)!r}: {error}") from error
    write_json(
        folder / f"{job_id}.json",
        {
            "id": job_id,
            "title": title,
            "arguments": list(arguments),
            "pid": process.pid,
            "started": time.time(),
        },
    )
    return read(workspace, job_id)


_RUNNER = (
    "import pathlib, signal, subprocess, sys\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "child = subprocess.Popen(sys.argv[2:], preexec_fn=lambda: signal.signal("
    "signal.SIGINT, signal.default_int_handler))\n"
    "code, end = child.wait(), pathlib.Path(sys.argv[1])\n"
    "end.with_suffix('.ending').write_text(str(code))\n"
    "end.with_suffix('.ending').replace(end)\n"
)
"""Argument 1 is the file that receives the exit code, the rest the command."""


def read(workspace: Workspace, job_id: str) -> Job:
    """One job as it stands now."""
    folder = workspace.root / "jobs"
    facts = read_json(folder / f"{job_id}.json")
    progress: dict[str, Any] = {"stage": "Starting", "done": 0, "total": 0, "unit": "images"}
    if (folder / f"{job_id}.progress.json").exists():
        progress |= read_json(folder / f"{job_id}.progress.json")
    state, message = _state(folder, job_id, facts["pid"])
    rate = float(progress.get("rate") or 0)
    left = (progress["total"] - progress["done"]) / rate if rate else None
    return Job(
        job_id,
        facts["title"],
        facts["arguments"],
        state,
        Progress(**{name: progress[name] for name in Progress._fields if name in progress}),
        rate,
        left,
        message,
        progress.get("audit_id"),
        facts["started"],
    )


def _state(folder: Path, job_id: str, pid: int) -> tuple[str, str]:
    end = folder / f"{job_id}.end"
    if not end.exists() and _alive(pid, job_id):
        return "running", ""
    code = int(end.read_text()) if end.exists() else -signal.SIGKILL
    state = ENDED.get(code, "failed")
    if state != "failed":
        return state, ""
    return state, KILLED if code < 0 else _last_line(folder / f"{job_id}.log")


def _alive(pid: int, job_id: str) -> bool:
    """Whether the runner, or the command it left behind, still works on this very job."""
    return _runs(pid, job_id) or any(_runs(member, job_id) for member in _group(pid))


def _group(pid: int) -> list[int]:
    """Processes of the group that ``pid`` leads or led."""
    import psutil

    found = []
    for member in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(member) == pid:
                found.append(member)
    return found


def _runs(pid: int, job_id: str) -> bool:
    """Whether a process belongs to this very job (numbers are reused)."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and job_id in process.cmdline()
    except (psutil.Error, OSError):
        return False


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "no output"


def jobs(workspace: Workspace) -> list[Job]:
    """Every job of the workspace, newest first; a damaged one is left out."""
    found = []
    for path in (workspace.root / "jobs").glob("*.json"):
        if not path.name.endswith(".progress.json"):
            with contextlib.suppress(WorkspaceError, KeyError, TypeError):
                found.append(read(workspace, path.stem))
    return sorted(found, key=lambda job: job.started, reverse=True)


def cancel(workspace: Workspace, job_id: str) -> None:
    """Interrupt a job; what it finished stays, and resuming goes on from there."""
    refuse_if_read_only()
    facts = read_json(workspace.root / "jobs" / f"{job_id}.json")
    if _alive(facts["pid"], job_id):
        os.killpg(facts["pid"], signal.SIGINT)


def resume(workspace: Workspace, job_id: str) -> Job:
    """Start the same command again."""
    job = read(workspace, job_id)
    if job.state == "running":
        return job
    return start(workspace, job.arguments, job.title)
