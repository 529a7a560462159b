"""What other engines cost: processes with one and two workers against one process, and kills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.measure import MODEL, Line, photos

IMAGES = 1280
KILLS = 3


def run() -> list[Line]:
    """Every line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = photos(folder / "photos", IMAGES)
        local, exact = _audit(folder / "local", data, "local")
        found = [Line("one process, one thread", local, "", "s")]
        for workers in (1, 2):
            where = folder / f"processes{workers}"
            seconds, arrays = _audit(where, data, "processes", "--workers", str(workers))
            name = f"processes, {workers} of one thread, over one process"
            found += [
                Line(name, seconds / local, "", "x"),
                _compared(f"files that differ, {workers}", exact, arrays),
            ]
        seconds, arrays = _audit(
            folder / "killed", data, "processes", "--workers", "2", kills=KILLS
        )
        found += [
            Line(f"{KILLS} workers killed, over one process", seconds / local, "", "x"),
            _compared("files that differ then", exact, arrays),
        ]
    return found


def _audit(
    where: Path, data: Path, engine: str, *more: str, kills: int = 0
) -> tuple[float, dict[str, bytes]]:
    """Seconds of an audit as a command, and its arrays and tables by their path."""
    command = [sys.executable, "-m", "core", "audit", "--data", str(data), "--model", MODEL]
    command += ["--head", "fit", "--runtime", "eager", "--threads", "1", "--engine", engine, *more]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--name", "engines", "--workspace", str(where)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    killer = threading.Thread(target=_kill, args=(process, where, kills))
    killer.start()
    if process.wait():
        raise RuntimeError(f"the audit by {engine} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    killer.join()
    (audit,) = (where / "audits").iterdir()
    files = [path for path in audit.rglob("*") if path.suffix in (".npy", ".parquet")]
    return seconds, {path.relative_to(audit).as_posix(): path.read_bytes() for path in files}


def _kill(process: subprocess.Popen[bytes], where: Path, kills: int) -> None:
    """Kill a worker each time that shards were finished since."""
    finished = 0
    while kills and process.poll() is None:
        time.sleep(0.05)
        now = len(list(where.glob("audits/*/shards/[0-9]*")))
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            if now > finished:
                os.kill(psutil.Process(process.pid).children()[0].pid, signal.SIGKILL)
                finished, kills = now, kills - 1


def _compared(what: str, one: dict[str, bytes], other: dict[str, bytes]) -> Line:
    """How many files differ, and which."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    said = f"{what}: {', '.join(names[:5])}" if names else what
    return Line(said, len(names), "0", "", not names)
