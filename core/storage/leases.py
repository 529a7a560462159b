"""Leases: what one process at a time works on, among all that see the same folder.

A lease is a file that is made exclusively and gets newer as long as its holder lives. How old one
is the clock of the file system says, which made both it and the file it is compared with: clocks
of machines may be hours apart. One that is old enough has lapsed, and the next holder makes the
next file of the same name; nothing is deleted or renamed, so that two that see it lapse at once
never both hold it.

A store of objects needs four things for this: to make an object only where there is none
(``If-None-Match: *``), to write one, to list them with the times that the server set, and to
delete them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from core.storage.disk import disk_errors, make_folder, temporary_beside


def make_alone(path: Path, content: bytes) -> bool:
    """Make a file where there is none, with its content; whether it was this call that made it."""
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
    with disk_errors(path):
        os.utime(path)  # without a time: it is the file system that sets it


def ages(folder: Path) -> dict[str, float]:
    """Seconds since every file of a folder was written or renewed, by the folder's own clock."""
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
