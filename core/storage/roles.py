"""What people may do in this process: look, tag, or run audits."""

from __future__ import annotations

import os

from core.errors import WorkspaceError

ROLES = ("view", "tag", "run")
"""What visitors may do; each includes those before it."""


def role() -> str:
    """What this process lets people do (:data:`ROLES`): ``$SPURIOSCOPE_ROLE``, by default run.

    ``SPURIOSCOPE_READONLY=1`` means view, and so does a role that does not exist.
    """
    named = os.environ.get("SPURIOSCOPE_ROLE", "") or "run"
    shows = os.environ.get("SPURIOSCOPE_READONLY") == "1" or named not in ROLES
    return "view" if shows else named


def read_only() -> bool:
    """Whether this process only shows what there is."""
    return role() == "view"


def may_run() -> bool:
    """Whether work may be started, and audits be renamed and deleted."""
    return role() == "run"


def refuse_unless_may_run() -> None:
    """Raise WorkspaceError in a process that starts no work; called before it is started."""
    refuse_if_read_only()
    if not may_run():
        raise WorkspaceError(
            "no work can be started here (SPURIOSCOPE_ROLE=tag); ask whoever runs this app to "
            "start it"
        )


def refuse_if_read_only() -> None:
    """Raise WorkspaceError in a process that only shows; called before what people change."""
    if read_only():
        raise WorkspaceError(
            "nothing can be changed in a presentation (SPURIOSCOPE_READONLY=1 or "
            "SPURIOSCOPE_ROLE=view); start again without that variable to change something"
        )
