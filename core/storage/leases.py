"""Leases: what one process at a time works on, among all that see the same folder.

A lease is a file that is made exclusively and gets newer as long as its holder lives. How old one
is the clock of the file system says, which made both it and the file it is compared with: clocks
of machines may be hours apart. One that is old enough has lapsed, and the next holder makes the
next file of the same name; nothing is deleted or renamed, so that two that see it lapse at once
never both hold it.

In a bucket it is the server that decides who made an object (``If-None-Match: *``), and whose clock
counts.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.errors import WorkspaceError
from core.storage.disk import disk_errors, make_folder, temporary_beside
from core.storage.layout import ENGINE
from core.storage.mirror import mirror_of


def make_alone(path: Path, content: bytes) -> bool:
    """Make a file where there is none, with its content; whether it was this call that made it."""
    if there := mirror_of(path):
        return there.bucket.create(there.name(path), content) and there.look(path)
    with disk_errors(path):
        make_folder(path.parent)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    return True


def renew(path: Path) -> None:
    """Make a file as new as the clock of its file system says that it is now."""
    if there := mirror_of(path):
        there.bucket.write(there.name(path), path.read_bytes())
    with disk_errors(path):
        os.utime(path)  # without a time: it is the file system that sets it


def release(path: Path) -> None:
    """Give a lease back."""
    if there := mirror_of(path):
        there.bucket.delete([there.name(path)])
    path.unlink(missing_ok=True)


def ages(folder: Path) -> dict[str, float]:
    """Seconds since every file of a folder was written or renewed, by the folder's own clock."""
    if there := mirror_of(folder):
        return there.ages(folder)
    probe = temporary_beside(folder / "clock")
    with disk_errors(folder):
        make_folder(folder)
        probe.write_bytes(b"")
        now = probe.stat().st_mtime
        probe.unlink()
    return {name: now - changed for name, changed in _times(folder)}


def _times(folder: Path) -> Iterator[tuple[str, float]]:
    for entry in os.scandir(folder):
        try:
            if not entry.name.startswith("."):
                yield entry.name, entry.stat().st_mtime
        except FileNotFoundError:  # deleted between
            continue


class Lease(NamedTuple):
    """One file of a lease."""

    name: str
    """What is leased."""
    turn: int
    """How many had it before."""

    @property
    def file_name(self) -> str:
        """As it lies in the folder of leases."""
        return f"{self.name}.{self.turn}"

    @classmethod
    def of(cls, file_name: str) -> Lease:
        """By the name of its file."""
        name, _, turn = file_name.rpartition(".")
        return cls(name, int(turn))


def newest(folder: Path) -> dict[str, tuple[Lease, float]]:
    """The last lease of everything that was ever leased, with its age in seconds."""
    found: dict[str, tuple[Lease, float]] = {}
    for file_name, age in ages(folder).items():
        lease = Lease.of(file_name)
        if lease.name not in found or found[lease.name][0].turn < lease.turn:
            found[lease.name] = (lease, age)
    return found


LAPSE = 120.0
"""Seconds without a sign of life after which what another machine holds counts as given up."""

PULSE = 10.0
"""Seconds between two signs of life."""


def _locks(path: Path) -> Path:
    return path.parent / ENGINE / "locks"


def _other(path: Path, lease: Lease, age: float) -> bool:
    """Whether a machine that may be alive, and is not this one, holds a lease."""
    there, file = mirror_of(path), _locks(path) / lease.file_name
    return there is not None and age < LAPSE and file.read_bytes() != there.token


def is_held_elsewhere(path: Path) -> bool:
    """Whether a process of another machine holds a lock of an audit in a bucket."""
    found = newest(_locks(path)).get(path.name) if mirror_of(path) else None
    return found is not None and _other(path, *found)


@contextlib.contextmanager
def alone(path: Path, message: str) -> Iterator[None]:
    """Hold a lock among machines, too, where an audit lies in a bucket.

    Whoever calls this holds it among the processes of this machine, so that what this machine left
    is nobody's any more.

    Raises
    ------
    WorkspaceError
        With ``message`` if another machine holds it.
    """
    there = mirror_of(path)
    if there is None:
        yield
        return
    found = newest(_locks(path)).get(path.name)
    if found is not None and _other(path, *found):
        raise WorkspaceError(
            f"{message}; another machine holds it: if that machine is gone, ask again in "
            f"{max(1, round(LAPSE - found[1]))} s"
        )
    own = _locks(path) / Lease(path.name, found[0].turn + 1 if found else 0).file_name
    if not make_alone(own, there.token):
        raise WorkspaceError(message)
    if found is not None:
        release(_locks(path) / found[0].file_name)
    over = threading.Event()
    pulse = threading.Thread(target=_live, args=(own, over), daemon=True)
    pulse.start()
    try:
        with there.owned(path.parent):
            yield
    finally:
        over.set()
        pulse.join()
        release(own)


def _live(own: Path, over: threading.Event) -> None:
    while not over.wait(PULSE):
        with contextlib.suppress(OSError, WorkspaceError):  # the bucket may be back in time
            renew(own)
