"""Engines: who computes the units of a work that are missing."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from core.errors import WorkspaceError
from core.jobs.sharing import PULSE, forget_leases, held
from core.jobs.work import LAPSE, Order, Work, missing
from core.storage.files import remove, write_json
from core.storage.layout import AuditFiles
from core.storage.leases import renew
from core.types import Progress, Registry, Reporter

PAUSE = 0.2
"""Seconds between two looks at what others compute, at least."""


class Engine(Protocol):
    """Computes the units of a work that are missing; results are those of one process."""

    def run(self, work: Work, report: Reporter) -> None:
        """Compute every unit that is missing."""
        ...

    def close(self) -> None:
        """End whatever it started."""
        ...


class Local:
    """The process that asks, alone."""

    def run(self, work: Work, report: Reporter) -> None:
        """Compute every unit that is missing here.

        Raises
        ------
        WorkspaceError
            If workers of another run still compute some.
        """
        if held(AuditFiles(work.folder).engine, LAPSE):
            raise WorkspaceError(
                f"workers of another run still compute audit {work.folder.name}: end them, or "
                "compute with them by --engine processes; what a machine held that is gone is "
                f"free {LAPSE:.0f} s after its last sign of life"
            )
        left, total = missing(work), sum(work.sizes.values())
        done = total - sum(work.sizes[name] for name in left)
        report(Progress(work.stage, done, total, work.unit))

        def advanced(by: int) -> None:
            nonlocal done
            done += by
            report(Progress(work.stage, done, total, work.unit))

        work.compute(left, advanced)

    def close(self) -> None:
        """Nothing was started."""


class Crowd(ABC):
    """Workers that this process starts, beside those that others start."""

    def __init__(self) -> None:
        self._order: Order | None = None
        self._files = AuditFiles(Path()).engine

    def run(self, work: Work, report: Reporter) -> None:
        """Say what is missing, and wait until workers have computed it."""
        left = missing(work)
        if not left:
            return
        number = self._order.number + 1 if self._order else 0
        self._files = AuditFiles(work.folder).engine
        self._order = replace(work.order(), lapse=LAPSE, number=number)
        forget_leases(self._files, LAPSE)
        write_json(self._files.order, self._order)
        self.begin(work, self._order)
        self._wait(work, left, report)

    def _wait(self, work: Work, left: list[str], report: Reporter) -> None:
        total, lived = sum(work.sizes.values()), time.monotonic()
        while True:
            began = time.monotonic()
            left = [name for name in left if not work.is_done(name)]
            done = total - sum(work.sizes[name] for name in left)
            report(Progress(work.stage, done, total, work.unit))
            if not left:
                return
            if began - lived > LAPSE * PULSE:
                renew(self._files.order)
                lived = began
            self.look(len(left))
            time.sleep(max(PAUSE, 5 * (time.monotonic() - began)))

    @abstractmethod
    def begin(self, work: Work, order: Order) -> None:
        """Start workers, unless they live since an order before."""

    @abstractmethod
    def look(self, left: int) -> None:
        """See to it that workers live.

        Raises
        ------
        JobError
            If one cannot compute what is left, with what it said.
        """

    @abstractmethod
    def end(self) -> None:
        """Wait until the workers that were started have ended; none is left."""

    def close(self) -> None:
        """Take the order back, and end the workers that were started."""
        if self._order is not None:
            remove(self._files.order)
            self.end()
            forget_leases(self._files, LAPSE)
            if not self._files.leases.exists():
                remove(self._files.folder)
            self._order = None


@dataclass(frozen=True)
class Starting:
    """What an engine is told when it is made."""

    workers: int | None = None
    """How many; by default as many as the cores, or the GPUs, keep busy."""
    address: str | None = None
    """Of a cluster."""


@dataclass(frozen=True)
class EngineKind:
    """An engine that can be chosen."""

    name: str
    text: str
    """What it is, in a line."""
    start: Callable[[Starting], Engine]


LOCAL = EngineKind("local", "the process that asks", lambda _: Local())

ENGINES: Registry[EngineKind] = Registry(
    "engine",
    [
        "core.jobs.engine:LOCAL",
        "core.jobs.processes:PROCESSES",
        "core.jobs.ray_engine:RAY",
    ],
)
