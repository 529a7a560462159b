"""``python -m core trials …``: what leading candidates do in the maps, here or as a job of its own.

An audit tries its leading candidates itself as long as that takes no more than half of its pass's
time; the classes that are left are tried afterwards by a job, while every page already works.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import TYPE_CHECKING

from core.audits.audit_requests import TrialsRequest
from core.commands.terminal import Answer
from core.errors import InputError, SpurioscopeError
from core.storage.workspace import Workspace
from core.types import Reporter, count_of, silent

if TYPE_CHECKING:
    import pandas as pd

    from core.audits.audit import Audit
    from core.jobs.jobs import Job

WORTH_A_JOB = 20.0
"""Seconds of trials that are made at once, however short the pass was: a process of its own takes
some to begin."""

OF_THE_PASS = 0.5
"""Share of the pass's time that trials may take at once."""


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``trials``: try what was not tried yet."""
    from core.audits.audit import Audit
    from core.trials.leaning import is_possible

    request = TrialsRequest.from_options(options)
    if request.decoding_threads is not None:
        raise InputError(
            f"--workers {request.workers}: one process tries one class after the other and decodes "
            "nothing; give --engine processes with it, or leave it out"
        )
    audit = Audit.open(workspace, request.audit)
    if why := is_possible(audit):
        raise InputError(f"what candidates of audit {audit.name!r} do cannot be tried: {why}")
    table = _tried(request, audit, report)
    classes, above = len(audit.classes), int((table["lean_low"] > 0).sum())
    said = (
        f"{count_of(classes, 'class', 'classes')} of {audit.name}: "
        f"{count_of(len(table), 'candidate was', 'candidates were')} tried in the maps, "
        f"{count_of(above, 'is above its', 'are above their')} control; python -m core show "
        f"{audit.name} says what each class leans on"
    )
    found = {"audit": audit.id, "classes": classes, "candidates": len(table), "above": above}
    return Answer(found, said)


def _tried(request: TrialsRequest, audit: Audit, report: Reporter) -> pd.DataFrame:
    """What was tried, here or by the workers of an engine, to the same bytes."""
    from core.trials.leaning import leaning, measure_leaning
    from core.trials.trial_work import share_trials

    threads = request.threads_of(audit.name, audit.manifest.compute.threads)
    with closing(request.started_engine()) as engine:
        if request.is_local:
            return measure_leaning(audit, report, threads=threads)
        share_trials(engine, audit, report, threads)
    return leaning(audit)


def try_at_once(audit: Audit, workspace: Workspace, report: Reporter, *, passed: float) -> None:
    """Try leading candidates as long as that is short beside the pass, and no job does it.

    Parameters
    ----------
    passed : seconds that the pass took.
    """
    from core.trials.leaning import measure_leaning

    if _job(audit, workspace) is None:
        measure_leaning(audit, report, seconds=max(WORTH_A_JOB, OF_THE_PASS * passed))


def leave_the_rest(audit: Audit, workspace: Workspace, report: Reporter) -> Answer:
    """Let a job try the classes that were not; nothing to say where all were.

    Where no job can be started they are tried here.
    """
    from core.jobs import jobs
    from core.trials.leaning import measure_leaning, missing

    left = len(missing(audit))
    if not left:
        return Answer({}, "")
    request = TrialsRequest(audit.id)
    try:
        job = _job(audit, workspace) or jobs.start(
            workspace, request.arguments(), f"{audit.name}: what candidates do"
        )
    except SpurioscopeError:
        measure_leaning(audit, report)
        return Answer({}, "")
    said = (
        f"  note: {left:,} of {len(audit.classes):,} classes are tried by a job of its own, which "
        f"the page Overview shows; python -m core trials {audit.name} does it, too"
    )
    return Answer({"trials": {"job": job.id, "classes": left}}, f"\n{said}")


def _job(audit: Audit, workspace: Workspace) -> Job | None:
    """The job that tries them right now."""
    from core.jobs import jobs

    job = jobs.newest(workspace, TrialsRequest(audit.id))
    return job if job is not None and job.active else None
