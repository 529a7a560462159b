"""Work that can be handed out: units that are computed in any order, by anyone, or are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import core
from core.errors import WorkspaceError
from core.storage.json_values import JsonValue
from core.types import Registry

LAPSE = 120.0
"""Seconds without a sign of life after which what a worker holds is computed by another one. Longer
than the minute for which a client of NFS may believe what it knows of a file."""

Advanced = Callable[[int], None]
"""Called with how much of the work was done since it was called last."""


class Work(Protocol):
    """Units of an audit, each of which one process computes and stores in one step."""

    @property
    def folder(self) -> Path:
        """Of the audit."""
        ...

    @property
    def stage(self) -> str:
        """What is being done, in words of :class:`core.types.Progress`."""
        ...

    @property
    def unit(self) -> str:
        """What :attr:`sizes` counts: images."""
        ...

    @property
    def accelerated(self) -> bool:
        """Whether a worker needs a GPU."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """How large every unit is, by its name, in the order in which their results are read."""
        ...

    def is_done(self, name: str) -> bool:
        """Whether a unit is stored whole."""
        ...

    def compute(self, names: Iterable[str], advanced: Advanced) -> None:
        """Compute units; the next is asked for while the last is being computed."""
        ...

    def order(self) -> Order:
        """What another process makes the same work of."""
        ...


def missing(work: Work) -> list[str]:
    """The units still to be computed, in their order."""
    return [name for name in work.sizes if not work.is_done(name)]


@dataclass(frozen=True)
class Order(JsonValue):
    """What workers are asked to compute, and what they have to have in common with who asks."""

    kind: str
    """Name among :data:`WORKS`: a file never says what code is run."""
    details: Mapping[str, object]
    """What that function needs to know."""
    threads: int
    """Of a worker's forward passes: other counts round otherwise."""
    torch: str
    """Version of torch."""
    code: str = core.__version__
    """Version of this program."""
    lapse: float = LAPSE
    """Seconds without a sign of life after which a worker counts as lost."""
    number: int = 0
    """Of the order among those of a run."""

    def work(self, folder: Path, decoding: int | None = None) -> Work:
        """The work, made anew; a network is loaded for it once.

        Parameters
        ----------
        decoding : threads that read images; by default by the cores.

        Raises
        ------
        WorkspaceError
            If another version of this program, or of torch, asks.
        InputError
            If there is no such work.
        """
        from importlib.metadata import version

        kind = WORKS.chosen(self.kind)
        for what, theirs, ours in (
            ("Spurioscope", self.code, core.__version__),
            ("torch", self.torch, version("torch")),
        ):
            if theirs != ours:
                raise WorkspaceError(
                    f"the pass of {folder.name} is computed by {what} {theirs}, this is {ours}, "
                    "and the last bits of two versions must not be mixed: install the same one"
                )
        return kind.make(folder, self, decoding)


@dataclass(frozen=True)
class WorkKind:
    """A work that another process can be asked for."""

    name: str
    make: Callable[[Path, Order, int | None], Work]
    """Of the audit's folder, the order, and threads that read images."""


WORKS: Registry[WorkKind] = Registry(
    "work",
    [
        "core.audits.shard_work:SHARDS",
        "core.audits.class_work:CLASSES",
        "core.trials.trial_work:TRIALS",
    ],
)
