"""Options that say who computes; the commands that any engine can do share them."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InputError, WorkspaceError
from core.jobs.engine import ENGINES, LOCAL, Engine, Starting
from core.jobs.options import option

FEW_THREADS = 4
"""Of a worker on a CPU where nobody says how many workers there are."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Who computes, and with what."""

    engine: str = option(
        LOCAL.name,
        "who computes: local (this process), processes (several, which further machines join by "
        "the command work), or ray",
        metavar="NAME",
    )
    workers: int | None = option(
        None,
        "of another engine than local; of local the threads that decode",
        type=int,
        metavar="N",
    )
    address: str | None = option(None, "of a cluster of Ray (default: one is started here)")
    threads: int | None = option(
        None,
        "threads of what a worker computes; others round otherwise, so an audit keeps its own",
        type=int,
        metavar="N",
    )

    @property
    def is_local(self) -> bool:
        """Whether this process computes alone."""
        return self.engine == LOCAL.name

    @property
    def decoding_threads(self) -> int | None:
        """Of this process; None: by its cores."""
        return self.workers if self.is_local else None

    def check_engine(self) -> None:
        """Raise InputError if an option cannot have its value."""
        for flag, value in (("--workers", self.workers), ("--threads", self.threads)):
            if value is not None and value < 1:
                raise InputError(f"{flag} {value}: must be at least 1")
        if self.engine not in ENGINES:
            raise InputError(f"--engine {self.engine!r}: choose {', '.join(ENGINES)}")

    def started_engine(self) -> Engine:
        """Who computes what is missing; it is to be closed.

        Raises
        ------
        InputError
            If it takes no address.
        """
        if self.address is not None and self.engine != "ray":
            raise InputError(
                f"--address {self.address}: only --engine ray has clusters; leave it out"
            )
        return ENGINES[self.engine].start(Starting(self.workers, self.address))

    def threads_of(self, audit: str, kept: int, remedy: str = "leave out --threads") -> int:
        """Threads of a worker; 0 for as many as torch takes.

        Parameters
        ----------
        audit : its name.
        kept : those that it was computed with, 0 where nobody wrote that down.
        remedy : what to do where others are asked for.

        Raises
        ------
        WorkspaceError
            If the audit is computed with others.
        """
        import torch

        asked = self.threads or 0
        if kept and asked and kept != asked:
            raise WorkspaceError(
                f"audit {audit!r} is computed with {kept} threads a worker, not {asked}, and other "
                f"counts round otherwise: {remedy}"
            )
        if kept or asked or self.is_local:
            return kept or asked
        own = torch.get_num_threads()
        return max(1, own // self.workers if self.workers else min(own, FEW_THREADS))
