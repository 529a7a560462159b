"""The frame of every page: navigation, the chosen audit, the user's name, the first start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import streamlit as st

from core import jobs
from core.audit import Audit
from core.errors import SpurioscopeError
from core.ui import opened, state

PAGES = {
    "Audit": [
        ("pages/overview.py", "Overview", ":material/leaderboard:", "overview"),
        ("pages/components.py", "Components", ":material/layers:", "components"),
        ("pages/image.py", "Image", ":material/image_search:", "image"),
        ("pages/compare.py", "Compare", ":material/compare:", "compare"),
    ],
    "Work": [("pages/new_audit.py", "New audit", ":material/add_circle:", "new")],
}
ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"


def run(start: str = "overview") -> None:
    """Draw one page; ``start`` is the one at the bare address."""
    st.set_page_config(page_title="Spurioscope", page_icon=str(ASSETS / "icon.png"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), size="large")
    state.arrive()
    pages = {
        section: [
            st.Page(ROOT / file, title=title, icon=icon, url_path=url, default=url == start)
            for file, title, icon, url in entries
        ]
        for section, entries in PAGES.items()
    }
    page = st.navigation(pages)
    audits = opened.finished_audits()
    if audits:
        _sidebar(audits)
    if not audits and page.title != "New audit":
        first_start()
        return
    try:
        page.run()
    except SpurioscopeError as error:
        st.error(str(error), icon=":material/error:")


def _sidebar(audits: list[dict[str, Any]]) -> None:
    """Which audit, and who is looking."""
    names = {m["id"]: m["name"] for m in audits}
    with st.sidebar:
        state.choose(
            st.selectbox, "Audit", "audit", list(names), format_func=lambda i: names.get(i, i)
        )
        st.text_input(
            "Your name",
            key=state.ANNOTATOR,
            persist_state="session",
            placeholder="anonymous",
            help="Saved with every tag that you give.",
        )


def current_audit() -> Audit:
    """The audit chosen in the sidebar."""
    return opened.open_audit(state.get("audit") or opened.finished_audits()[0]["id"])


def first_start() -> None:
    """Nothing prepared yet: prepare the demo in a process of its own, and say so."""
    st.title("Spurioscope")
    st.markdown(
        "Find out **which cues an image classifier really uses**, which of them are spurious, and "
        "what that costs.\n\nThis workspace is empty, so a demo is being prepared: pictures of "
        "vans drawn by code, with two planted cues. It takes about a minute; nothing is "
        "downloaded. You can close this page meanwhile, or start an audit of your own data on "
        "the page **New audit**."
    )
    known = jobs.jobs(opened.workspace())
    if not known:
        known = [jobs.start(opened.workspace(), ["demo"], "Demo")]
    _watch(known[0].id)


@st.fragment(run_every=1.0)
def _watch(job_id: str) -> None:
    """Follow a job until there is an audit to open."""
    job = jobs.read(opened.workspace(), job_id)
    show_progress(job)
    if job.state == "finished":
        st.rerun()
    elif job.state in ("failed", "cancelled"):
        if job.message:
            st.error(job.message, icon=":material/error:")
        if st.button("Try again", icon=":material/refresh:"):
            jobs.resume(opened.workspace(), job_id)
            st.rerun()


def show_progress(job: jobs.Job) -> None:
    """One job's progress with rate and time left."""
    done, total = job.progress.done, job.progress.total
    text = job.progress.stage
    if total:
        text += f": {done:,} of {total:,} {job.progress.unit}"
    if job.rate:
        text += f", {job.rate:.0f} per second"
    if job.seconds_left is not None and job.state == "running":
        text += f", about {max(job.seconds_left, 0):.0f} s left"
    if job.state == "running":
        text += f" ({time.time() - job.started:.0f} s so far)"
    st.progress(min(done / total, 1.0) if total else 0.0, text=text)
