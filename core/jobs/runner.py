"""The process of one job: waits for its turn, runs the command, records how it ended.

``python -m core.jobs.runner FOLDER ID LOCK SLOTS COMMAND...``, started by :mod:`core.jobs.jobs`. It
outlives the app that started it. The command inherits the job's lock and the slot that it runs
in, so a job whose runner was killed still counts as running, and no other takes its place.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from core.errors import SpurioscopeError
from core.jobs.jobs import hold, is_next
from core.storage.files import write_json

PAUSE = 0.25
"""Seconds between two looks at the queue."""

CANCELLED = 130
"""Exit code of a command that was interrupted."""


def main(arguments: Sequence[str]) -> int:
    """Run one job; returns the exit code."""
    folder, job_id, lock, slots, *command = arguments
    interrupted: list[int] = []
    # a handler, unlike an ignored signal, is not inherited by the command
    signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    try:
        slot = _turn(Path(folder), job_id, int(slots), interrupted)
        if slot is not None:
            write_json(Path(folder) / f"{job_id}.begun", {"at": time.monotonic()})
        code = CANCELLED if interrupted or slot is None else _run(command, int(lock), slot)
        end = {"code": code, "peak": _peak(), "memory": _memory()}
        write_json(Path(folder) / f"{job_id}.end", end)
    except SpurioscopeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _turn(folder: Path, job_id: str, slots: int, interrupted: list[int]) -> IO[str] | None:
    """A slot to run in, as soon as one is free and no earlier job waits; None if interrupted."""
    while not interrupted:
        for slot in range(1, slots + 1):
            if held := hold(folder / f"slot-{slot}.lock"):
                if is_next(folder, job_id):
                    return held
                held.close()
                break
        time.sleep(PAUSE)
    return None


def _run(command: Sequence[str], lock: int, slot: IO[str]) -> int:
    """The exit code of the command; negative: the signal that ended it."""
    return subprocess.Popen(command, pass_fds=[lock, slot.fileno()]).wait()


def _peak() -> int:
    """Bytes that the command held at most."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def _memory() -> int:
    """Bytes that a process may hold here: the machine's, or less in a container."""
    import psutil

    sizes = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = Path("/sys/fs/cgroup") / name
        if limit.exists() and (text := limit.read_text().strip()).isdecimal():
            sizes.append(int(text))
    return min(sizes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
