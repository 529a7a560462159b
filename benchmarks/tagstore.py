"""Eight processes tag at once: nothing is lost, everything is in order, and kill -9 costs nothing.

Every process says on its standard output what was acknowledged to it; the log afterwards has to
hold exactly that, and of a killed process at most the one tag more that it was about to announce.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clicks import ROOT
from benchmarks.measure import Line

if TYPE_CHECKING:
    from core.tags.log import TagEvent

PROCESSES, TAGS = 8, 500

CODE = """
import sys
from pathlib import Path
from core.candidates.linear_kinds import PCA
from core.candidates.key import CandidateKey
from core.tags.log import TagStore
from core.storage.workspace import Workspace
from core.types import Tag

store = TagStore.open(Workspace.default(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[3])):
    event = store.add(sys.argv[2], "audit", CandidateKey("class", PCA, i), Tag.CORE)
    print(event.id, flush=True)
"""


def run() -> list[Line]:
    """All at once, then again with half of them killed in the middle."""
    return [*at_once(PROCESSES, TAGS), *killed(PROCESSES, TAGS)]


def at_once(processes: int, tags: int) -> list[Line]:
    """Everybody finishes."""
    with tempfile.TemporaryDirectory() as folder:
        people = [Person(Path(folder), f"p{number}", tags) for number in range(processes)]
        began = _go(people)
        for person in people:
            person.process.wait()
        seconds = time.perf_counter() - began
        said = set().union(*(person.said for person in people))
        log = history(folder)
    whole = processes * tags
    lost = said - {event.id for event in log}
    mixed = sum(not _ordered(log, person.name) for person in people)
    return [
        Line("entries of all processes", len(log), f"{whole}", "", len(log) == whole),
        Line("acknowledged, but not in the log", len(lost), "0", "", not lost),
        Line("processes whose entries are out of order", mixed, "0", "", mixed == 0),
        Line("entries per second", whole / seconds, ""),
    ]


def killed(processes: int, tags: int) -> list[Line]:
    """Every second process is killed as soon as it has said a quarter of its tags."""
    with tempfile.TemporaryDirectory() as folder:
        people = [Person(Path(folder), f"p{number}", tags) for number in range(processes)]
        _go(people)
        victims = people[1::2]
        for person in victims:
            while len(person.said) < tags // 4 and person.process.poll() is None:
                time.sleep(0.005)
            person.process.send_signal(signal.SIGKILL)
        for person in people:
            person.process.wait()
        log = history(folder)
        said = [person.said for person in people]
        ended = sum(person.process.returncode == -signal.SIGKILL for person in victims)
    lost = set().union(*said) - {event.id for event in log}
    counts = [sum(event.annotator == person.name for event in log) for person in people]
    more = max(count - len(ids) for count, ids in zip(counts, said, strict=True))
    n = len(victims)
    return [
        Line("processes killed with kill -9", ended, f"{n}", "", ended == n),
        Line("acknowledged before the kill, but not in the log", len(lost), "0", "", not lost),
        Line("saved, but not acknowledged any more, of a process", more, "<= 1", "", more <= 1),
    ]


class Person:
    """A process that tags once it is told to, and notes every entry that was acknowledged."""

    def __init__(self, folder: Path, name: str, tags: int) -> None:
        self.name, self.notes = name, folder / f"{name}.txt"
        with self.notes.open("w") as notes:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, str(folder), name, str(tags)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=notes,
            )

    @property
    def ready(self) -> bool:
        """Whether it waits to be told."""
        return self.notes.read_text().startswith("ready")

    @property
    def said(self) -> set[int]:
        """Entries that it was told are saved; a line that it could not finish does not count."""
        whole = self.notes.read_text().rpartition("\n")[0]
        return {int(line) for line in whole.splitlines() if line.isdecimal()}


def _go(people: list[Person]) -> float:
    """Let everybody begin when everybody is there; returns the moment."""
    while not all(person.ready for person in people):
        time.sleep(0.05)
    for person in people:
        assert person.process.stdin is not None
        person.process.stdin.close()
    return time.perf_counter()


def history(folder: str) -> list[TagEvent]:
    """The log that the processes wrote."""
    from core.storage.workspace import Workspace
    from core.tags.log import TagStore

    return TagStore.open(Workspace.default(folder)).history("audit")


def _ordered(log: list[TagEvent], who: str) -> bool:
    """Whether one process's entries stand in the log as it made them."""
    mine = [event.component for event in log if event.annotator == who]
    return mine == list(range(len(mine)))
