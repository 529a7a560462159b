"""What the candidates of classes do in the maps, as work that any engine can hand out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.errors import WorkspaceError
from core.jobs.engine import Engine
from core.jobs.work import Advanced, Order, WorkKind
from core.storage.files import locked, remove_unfinished, seen, there, write_frame
from core.trials.leaning import NAME, Trial, as_planned, busy, gather, is_tried, missing, trial_key
from core.types import Reporter


@dataclass(frozen=True)
class TrialWork:
    """The classes of an audit whose candidates are tried, each once."""

    audit: Audit
    threads: int = 0
    """Of a worker, where the audit does not say how many it was computed with."""

    stage = "Trying candidates in the maps"
    unit = "classes"
    accelerated = False
    """No network is run."""

    @property
    def folder(self) -> Path:
        """Of the audit."""
        return self.audit.folder

    @cached_property
    def key(self) -> str:
        """Of what the figures depend on."""
        return trial_key(self.audit)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Every class counts once."""
        return dict.fromkeys(self._by_name, 1)

    @cached_property
    def _by_name(self) -> Mapping[str, AuditedClass]:
        return {f"class-{facts.class_idx:05d}": facts for facts in self.audit.classes}

    def _path(self, name: str) -> Path:
        return self.audit.files.outcome(NAME, self.key, self._by_name[name].class_idx)

    def is_done(self, name: str) -> bool:
        """Whether what a class's candidates do is stored."""
        path = self._path(name)
        return there(path) or seen(path) or is_tried(self.audit)

    def compute(self, names: Iterable[str], advanced: Advanced) -> None:
        """Try the candidates of classes, with as many threads as the pass."""
        trial = Trial(self.audit)
        with as_planned(self.audit, self.threads):
            for name in names:
                write_frame(self._path(name), trial.of_class(self._by_name[name]))
                advanced(1)

    def order(self) -> Order:
        """What another process makes the same work of."""
        threads = max(1, self.audit.manifest.compute.threads or self.threads)
        return Order(TRIALS.name, {"key": self.key}, threads, version("torch"))


def share_trials(engine: Engine, audit: Audit, report: Reporter, threads: int = 0) -> None:
    """Have an engine try the classes that were not, and put what was found into one table.

    Parameters
    ----------
    threads : of a worker, where the audit does not say how many it was computed with.

    Raises
    ------
    WorkspaceError
        If another process does it, or computes the audit: its workers take one order at a time.
    """
    files = audit.files
    with locked(files.lock, busy(audit)), locked(files.outcomes_lock, busy(audit)):
        if missing(audit):
            work = TrialWork(audit, threads)
            engine.run(work, report)
            gather(audit, work.key)
            remove_unfinished(files.outcomes, f"{NAME}-")


def ordered(folder: Path, order: Order, _: int | None) -> TrialWork:
    """The work of an order, in another process than that which wrote it.

    Raises
    ------
    WorkspaceError
        If other candidates were found meanwhile.
    """
    work = TrialWork(Audit(folder), order.threads)
    if work.key != order.details.get("key"):
        raise WorkspaceError(
            f"audit {work.audit.name!r} has other candidates than those that its workers were "
            "asked to try; run the same audit command again"
        )
    return work


TRIALS = WorkKind("trials", ordered)
