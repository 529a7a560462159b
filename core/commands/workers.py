"""``python -m core work``: take part in what an engine asks for."""

from __future__ import annotations

import argparse
import time

from core.commands.terminal import Answer
from core.errors import InputError, WorkspaceError
from core.storage.audit_manifest import Manifest
from core.storage.workspace import Workspace
from core.types import Progress, Reporter, count_of, silent

LOOKS = 1.0
"""Seconds between two looks for an audit that is yet to begin."""


def add(command: argparse.ArgumentParser) -> None:
    """The options of ``work``."""
    command.add_argument("audit", metavar="AUDIT", help="a name or the beginning of an id")
    command.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="for somebody to start the audit with an engine that others can join (default: 0)",
    )
    command.add_argument("--workers", type=int, metavar="N", help="decoding threads")
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of a forward pass; refused where the audit has others (default: its own)",
    )
    command.add_argument("--parent", type=int, help=argparse.SUPPRESS)


def run(options: argparse.Namespace, workspace: Workspace, report: Reporter = silent) -> Answer:
    """``work``: compute what is missing beside others, until nothing is."""
    from core.jobs.worker import serve

    for flag, value in (("--workers", options.workers), ("--threads", options.threads)):
        if value is not None and value < 1:
            raise InputError(f"{flag} {value}: must be at least 1")
    began, done = time.monotonic(), 0
    manifest = _awaited(workspace, options.audit, options.wait)

    def advanced(by: int) -> None:
        nonlocal done
        done += by
        if options.parent is None:
            report(Progress("Taking part", done, 0))

    units = serve(
        workspace.folder(manifest.id),
        advanced=advanced,
        wait=options.wait - (time.monotonic() - began),
        threads=options.threads,
        decoding=options.workers,
        parent=options.parent,
    )
    parts = count_of(units, "shard or class", "shards and classes")
    text = f"{manifest.name}: {parts} computed here"
    return Answer({"id": manifest.id, "computed": units, "images": done}, text)


def _awaited(workspace: Workspace, audit: str, seconds: float) -> Manifest:
    """The audit, as soon as somebody has begun it."""
    until = time.monotonic() + seconds
    while True:
        try:
            return workspace.find(audit)
        except WorkspaceError:
            if time.monotonic() > until:
                raise
        time.sleep(LOOKS)
