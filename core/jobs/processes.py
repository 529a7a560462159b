"""Worker processes of this machine, each ``python -m core work``; other machines may join them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import JobError
from core.jobs.engine import Crowd, EngineKind
from core.jobs.work import Order, Work
from core.storage.files import read_bytes

COMMAND: Sequence[str] = (sys.executable, "-m", "core")
"""What starts a worker, given the arguments of ``work``."""

DEATHS = 20
"""Workers that may die one after the other while nothing is finished."""

ENDS = 30.0
"""Seconds in which a worker ends that has nothing to do any more."""

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What tells libraries how many threads they may start."""


@dataclass
class Child:
    """A worker that was started."""

    process: subprocess.Popen[bytes]
    said: Path
    """File of what it writes on standard error."""
    place: int
    """Which of the workers it is."""

    @property
    def last_words(self) -> str:
        """The last line that it wrote."""
        lines = read_bytes(self.said).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Processes(Crowd):
    """Worker processes of this machine.

    Parameters
    ----------
    workers : how many; None: as many as the cores or GPUs keep busy.
    """

    def __init__(self, workers: int | None) -> None:
        super().__init__()
        self.workers = workers
        self.children: list[Child] = []
        self._deaths, self._left = 0, 0
        self._folder, self._threads = Path(), 1
        self._gpus: list[str] = []

    def begin(self, work: Work, order: Order) -> None:
        """Start the workers, unless they live since an order before."""
        self._folder, self._threads, self._deaths = work.folder, order.threads, 0
        if work.accelerated:
            self._gpus = list(_gpus())
        count = self.workers or len(self._gpus) or max(1, _cores() // order.threads)
        for place in range(len(self.children), count):
            self.children.append(self._start(place, count))

    def _start(self, place: int, count: int) -> Child:
        audits = self._folder.parent
        command = [*COMMAND, "work", self._folder.name, "--workspace", str(audits.parent)]
        command += ["--workers", str(_cores() // count + 1), "--parent", str(os.getpid())]
        said, name = tempfile.mkstemp(prefix="spurioscope-worker-")
        try:
            process = subprocess.Popen(
                command,
                cwd=Path(__file__).resolve().parents[2],
                env=self._environment(place),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        except OSError as error:
            raise JobError(f"cannot start a worker: {error}") from error
        finally:
            os.close(said)
        return Child(process, Path(name), place)

    def _environment(self, place: int) -> dict[str, str]:
        found = {**os.environ, **dict.fromkeys(POOLS, str(self._threads))}
        if self._gpus:
            found["CUDA_VISIBLE_DEVICES"] = self._gpus[place % len(self._gpus)]
        return found

    def look(self, left: int) -> None:
        """Start workers that died again; what one says that gave up ends the work."""
        if left != self._left:
            self._left, self._deaths = left, 0
        for number, child in enumerate(self.children):
            code = child.process.poll()
            if code is None:
                continue
            words = child.last_words
            if words.startswith("error: "):
                raise JobError(f"a worker gave up: {words.removeprefix('error: ')}")
            self._deaths += 1
            if self._deaths > DEATHS:
                raise JobError(
                    f"{DEATHS} workers ended one after the other and finished nothing (the last: "
                    f"{_ended(code)}, {words}); run the same command with --engine local"
                )
            child.said.unlink()
            self.children[number] = self._start(child.place, len(self.children))

    def end(self) -> None:
        """Wait until the workers have seen that there is nothing to do, else end them."""
        try:
            for child in self.children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(ENDS)
        finally:
            for child in self.children:
                child.process.kill()
                child.process.wait()
                child.said.unlink()
            self.children = []


def _ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> Iterator[str]:
    """Those that this process sees, as CUDA names them."""
    if named := os.environ.get("CUDA_VISIBLE_DEVICES"):
        yield from filter(None, named.split(","))
        return
    import torch

    yield from map(str, range(torch.cuda.device_count()))


PROCESSES = EngineKind(
    "processes",
    "processes of this machine, which others join by python -m core work",
    lambda starting: Processes(starting.workers),
)
