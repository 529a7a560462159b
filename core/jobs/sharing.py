"""The units of a work shared among processes that know nothing of each other.

Whoever takes part takes a lease of a unit before it computes it, gives signs of life meanwhile,
and passes over what others hold. The lease of a worker that is gone lapses: at once where its
machine is this one, else after :attr:`core.jobs.work.Order.lapse` seconds. A unit is there once
it is stored whole, whoever held what; two that compute the same store the same bytes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import JobError, WorkspaceError
from core.jobs.work import Advanced, Order, Work, missing
from core.storage.files import as_bytes, read_bytes, read_value, remove
from core.storage.json_values import JsonValue
from core.storage.layout import EngineFiles
from core.storage.leases import Lease, make_alone, newest, renew

PULSE = 1 / 12
"""Share of the time after which a lease lapses that passes between two signs of life."""

LOSSES = 8
"""Times that a unit may be lost with its worker before it is given up: it takes them along."""


@dataclass(frozen=True)
class Holder(JsonValue):
    """Who holds a lease."""

    machine: str
    """Changes with the machine, its start, and what shares its numbers of processes."""
    pid: int

    @classmethod
    def own(cls) -> Holder:
        """The process that asks."""
        return cls(_machine(), os.getpid())

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; of other machines nobody knows."""
        return self.machine == _machine() and not _lives(self.pid)


def _machine() -> str:
    parts = [platform.node()]
    with contextlib.suppress(OSError, WorkspaceError):
        parts.append(os.readlink("/proc/self/ns/pid"))
        parts.append(read_bytes(Path("/proc/sys/kernel/random/boot_id")).decode().strip())
    return " ".join(parts)


def _lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def held(files: EngineFiles, lapse: float) -> bool:
    """Whether anybody who may be alive holds a unit."""
    known = newest(files.leases) if files.leases.exists() else {}
    return any(not _is_free(files.leases, *each, lapse) for each in known.values())


def forget_leases(files: EngineFiles, lapse: float) -> None:
    """Begin afresh, unless somebody may still be computing."""
    if not held(files, lapse):
        remove(files.leases)


def _is_free(folder: Path, lease: Lease, age: float, lapse: float) -> bool:
    """Whether a lease has lapsed, or its holder is known to be gone."""
    if age > lapse:
        return True
    try:
        return read_value(folder / lease.file_name, Holder).is_gone
    except WorkspaceError:
        return False  # it is just being written


class Sharing:
    """One process that takes part in a work.

    Parameters
    ----------
    goes_on : asked before every unit; where it says no, no further one is taken.
    """

    def __init__(
        self, files: EngineFiles, work: Work, order: Order, goes_on: Callable[[], bool]
    ) -> None:
        self.files, self.work, self.order, self.goes_on = files, work, order, goes_on
        self.taken: list[Lease] = []
        """Of the units that were computed here, in their order."""
        self._known: dict[str, tuple[Lease, float]] | None = None
        self._over = threading.Event()

    def compute(self, advanced: Advanced) -> int:
        """Compute units until every one is there or held by somebody; returns how many.

        Raises
        ------
        JobError
            If a unit was lost with its worker too often.
        """
        before, pulse = len(self.taken), threading.Thread(target=self._live, daemon=True)
        self._known = None
        self._over.clear()
        pulse.start()
        try:
            self.work.compute(self._units(), advanced)
        finally:
            self._over.set()
            pulse.join()
        return len(self.taken) - before

    def _units(self) -> Iterator[str]:
        for name in missing(self.work):
            if not self.goes_on():
                return
            if lease := self._take(name):
                self.taken.append(lease)
                yield name

    def _take(self, name: str) -> Lease | None:
        """The lease of a unit; None where another holds it, or it is there."""
        if self._known is None:
            self._known = newest(self.files.leases)
        turn = 0
        if found := self._known.get(name):
            if not _is_free(self.files.leases, *found, self.order.lapse):
                return None
            turn = found[0].turn + 1
        if self.work.is_done(name):
            return None
        if turn >= LOSSES:
            raise JobError(
                f"{self.work.stage}: {name} was lost with its worker {turn} times; memory may "
                "have run out: run the same command with fewer --workers"
            )
        lease, holder = Lease(name, turn), as_bytes(Holder.own())
        if not make_alone(self.files.leases / lease.file_name, holder):
            self._known = None  # others are further than was known
            return None
        return None if self.work.is_done(name) else lease

    def _live(self) -> None:
        """Give signs of life as long as units are being computed."""
        while not self._over.wait(self.order.lapse * PULSE):
            self._known = None
            for lease in [each for each in self.taken if not self.work.is_done(each.name)]:
                with contextlib.suppress(OSError, WorkspaceError):  # nobody waits for it any more
                    renew(self.files.leases / lease.file_name)
