"""A command that a page starts as a job, follows, and shows when it has failed."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import JobError
from core.jobs import jobs
from core.jobs.options import Request
from core.storage.workspace import Workspace
from core.ui.frame import blocks, opened


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

    What waits or runs can be cancelled; begun again, it goes on where it was. A presentation has
    neither button.

    Parameters
    ----------
    title : what the job is called on the page New audit.
    words : on the button.
    before : called before the job is started.
    """
    job = jobs.newest(opened.workspace(), request)
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
    with st.container(horizontal=True, vertical_alignment="center"):
        show_progress(job)
        if job.active and blocks.may_run():
            cancel_button(job)
    if not job.active:
        st.rerun()


def cancel_button(job: jobs.Job) -> None:
    """A button that interrupts a job."""
    if st.button("Cancel", key=f"cancel-{job.id}", disabled=not blocks.may_run()):
        jobs.cancel(opened.workspace(), job.id)
        st.rerun()


def offered(workspace: Workspace, request: Request) -> bool:
    """Whether a command waits for nothing but its button: it does not run, and did not fail."""
    job = jobs.newest(workspace, request)
    return job is None or not (job.active or job.state == "failed")


def show_progress(job: jobs.Job) -> None:
    """One job's progress with rate and time left, or its place in the queue."""
    if job.state == "waiting":
        before = f"{job.before:d} before it" if job.before else "the next in line"
        st.caption(f":material/hourglass_empty: Waiting, {blocks.plain(before)}")
        return
    done, total = job.progress.done, job.progress.total
    text = blocks.plain(job.progress.stage)
    if total:
        text += f": {done:,} of {total:,} {blocks.plain(job.progress.unit)}"
    if job.rate:
        text += f", {rate_in_words(job.rate)}"
    if job.seconds_left is not None and job.state == "running":
        text += f", about {duration(max(job.seconds_left, 0))} left"
    if job.state == "running":
        text += f" ({duration(job.seconds)} so far)"
    if job.progress.figures:
        text += f" · {blocks.plain(job.progress.figures)}"
    st.progress(min(done / total, 1.0) if total else 0.0, text=text)


def rate_in_words(rate: float) -> str:
    """Steps a second; of slow ones a minute or an hour, never none."""
    for each, seconds in (("second", 1), ("minute", 60)):
        if rate * seconds >= 1:
            return f"{rate * seconds:,.0f} per {each}"
    return f"{rate * 3600:,.1f} per hour"


def duration(seconds: float) -> str:
    """A time in words, in seconds up to two minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
