"""A worker: takes part in what is asked for in an audit's folder until nothing is missing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import WorkspaceError
from core.jobs.engine import PAUSE
from core.jobs.sharing import Sharing
from core.jobs.work import Advanced, Order, missing
from core.storage.files import read_value, seen
from core.storage.layout import AuditFiles
from core.storage.leases import ages
from core.storage.mirror import refresh


def serve(
    folder: Path,
    *,
    advanced: Advanced,
    wait: float = 0.0,
    threads: int | None = None,
    decoding: int | None = None,
    parent: int | None = None,
) -> int:
    """Compute units of an audit beside others; returns how many.

    Parameters
    ----------
    wait : seconds to wait for somebody to say what is to be computed.
    threads : of a forward pass, where they were named; refused where the audit has others.
    decoding : threads that read images; by default by the cores.
    parent : process without which this one has nothing to do.

    Raises
    ------
    WorkspaceError
        If nobody says what to compute, or this worker would compute it otherwise.
    """
    files, until = AuditFiles(folder), time.monotonic() + wait
    goes_on = _goes_on(files, parent)
    sharing: Sharing | None = None
    computed = 0
    while goes_on() or (sharing is None and time.monotonic() < until):
        if (order := _order(files)) is None:
            time.sleep(PAUSE)
            continue
        if sharing is None or sharing.order != order:
            _require_threads(order, threads, folder)
            refresh(files.manifest)
            sharing = Sharing(files.engine, order.work(folder, decoding), order, goes_on)
        here = sharing.compute(advanced)
        computed += here
        if not here and not missing(sharing.work) and _is_silent(files, order):
            break
        time.sleep(PAUSE)
    if sharing is None:
        raise WorkspaceError(
            f"nobody shares the work on audit {folder.name}: start python -m core audit … "
            "--engine processes, or let this worker wait for it with --wait SECONDS"
        )
    return computed


def _goes_on(files: AuditFiles, parent: int | None) -> Callable[[], bool]:
    """Whether there is still somebody who wants the work done."""
    return lambda: seen(files.engine.order) and parent in (None, os.getppid())


def _order(files: AuditFiles) -> Order | None:
    try:
        return read_value(files.engine.order, Order)
    except WorkspaceError:
        if files.engine.order.exists():
            raise
        return None


def _is_silent(files: AuditFiles, order: Order) -> bool:
    """Whether who asked for it has given no sign of life for so long that nobody waits for us."""
    return ages(files.engine.folder).get(files.engine.order.name, 0.0) > order.lapse


def _require_threads(order: Order, threads: int | None, folder: Path) -> None:
    if threads not in (None, order.threads):
        raise WorkspaceError(
            f"audit {folder.name} is computed with {order.threads} threads a worker, not "
            f"{threads}, and other counts round otherwise: leave out --threads"
        )
