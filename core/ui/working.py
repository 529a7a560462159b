"""A command that a page starts as a job, follows, and shows when it has failed."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import JobError
from core.jobs import jobs
from core.jobs.options import Request
from core.ui import blocks, opened, shell


def newest(request: Request) -> jobs.Job | None:
    """The newest job that does exactly this."""
    known = jobs.jobs(opened.workspace())
    return next((job for job in known if request.is_asked_by(job.arguments)), None)


def offer(
    request: Request,
    title: str,
    words: str,
    *,
    key: str,
    icon: str = ":material/play_arrow:",
    help: str | None = None,
    primary: bool = False,
    before: Callable[[], None] = lambda: None,
) -> None:
    """A button that starts a command; while it waits or runs that, after a failure the reason.

    A presentation has no such button.

    Parameters
    ----------
    title : what the job is called on the page New audit.
    words : on the button.
    before : called before the job is started.
    """
    job = newest(request)
    if job is not None and job.active:
        blocks.part(_watch, run_every=1.0)(job.id)
        return
    if job is not None and job.state == "failed":
        blocks.say(JobError(job.message))
    if not blocks.may_run():
        return

    def begin() -> None:
        with blocks.sentences():
            before()
            jobs.start(opened.workspace(), request.arguments(), title)

    st.button(
        words,
        key=key,
        icon=icon,
        on_click=begin,
        help=help,
        type="primary" if primary else "secondary",
    )


def _watch(job_id: str) -> None:
    """Follow a job, and draw the whole page again when it has ended."""
    job = jobs.read(opened.workspace(), job_id)
    shell.show_progress(job)
    if not job.active:
        st.rerun()
