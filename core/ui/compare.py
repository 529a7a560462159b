"""The frame of the page Compare: which models, differences to which, and what of them."""

from __future__ import annotations

from functools import lru_cache

import streamlit as st

from core import jobs
from core.audit import Audit
from core.comparison.cells import Context
from core.comparison.table import Table, compare, open_context, state_of
from core.ui import opened, state
from core.ui.blocks import empty, part, plain, read_only
from core.ui.shell import show_progress

VIEWS = {
    "table": "Table",
    "classes": "Classes",
    "robustness": "Robustness",
    "tags": "Carry tags",
    "pair": "Two models",
    "image": "One image",
}
FRAME = ["audit", "models", "baseline", "view"]
"""Parameters of every view."""

MOST = 8
"""Models that are compared where nobody chose."""


@lru_cache(maxsize=64)
def _shares(first: Audit, second: Audit) -> bool:
    """Whether two audits have an image in common."""
    return not first.images.index.intersection(second.images.index).empty


def choose_models(audit: Audit) -> list[Audit]:
    """The audits to compare, the one of the sidebar first; empty where there is no other."""
    manifests = [m for m in opened.finished_audits() if m["id"] != audit.id]
    names = {m["id"]: m["name"] for m in manifests if _shares(audit, opened.open_audit(m["id"]))}
    if not names:
        empty(
            "Nothing to compare with",
            "Audit the same images with another model on the page **New audit**; then all of them "
            "can be seen side by side here. `python -m core demo compare` prepares three models "
            "on the demo.",
            icon=":material/compare:",
            page="pages/new_audit.py",
            link="Audit with another model",
        )
        return []
    if not state.get("models"):
        state.put("models", ",".join(list(names)[:MOST]))
    chosen = state.several(
        f"Compare {audit.name} with", "models", list(names), format_func=lambda i: names.get(i, i)
    )
    return [audit, *(opened.open_audit(i) for i in chosen)]


def choose_baseline(audits: list[Audit]) -> Audit:
    """The audit that differences are to."""
    names = {audit.id: audit.name for audit in audits}
    chosen = state.choose(
        st.selectbox,
        "Differences are to",
        "baseline",
        list(names),
        format_func=lambda i: names.get(i, i),
    )
    return next(audit for audit in audits if audit.id == chosen)


def context_of(audits: list[Audit]) -> Context:
    """What the figures are made of; kept as long as audits, tags and trials stay the same."""
    now = open_context(audits, opened.workspace())
    return _context(f"{opened.workspace().root}/{state_of(now)}", now)


@st.cache_resource(max_entries=8, show_spinner=False)
def _context(key: str, _now: Context) -> Context:
    return _now


def table_of(context: Context, baseline: Audit) -> Table:
    """The table, made once."""
    key = f"{opened.workspace().root}/{state_of(context)}"
    return _table(key, baseline.id, context)


@st.cache_resource(max_entries=16, show_spinner=False)
def _table(key: str, baseline: str, _context: Context) -> Table:
    return compare(_context, baseline)


def summary(context: Context) -> None:
    """How many images stand behind everything below."""
    shared = context.shared
    st.caption(
        f"{len(context.audits)} models on {len(shared.images):,} shared images, figures over the "
        f"{len(shared.held):,} held out in all of them"
    )
    for note in shared.notes:
        st.info(plain(note), icon=":material/info:")


def measure_button(context: Context) -> None:
    """Start the job that measures what is missing, or follow the one that does."""
    ids = [audit.id for audit in context.audits]
    running = next((job for job in _jobs(ids) if job.state == "running"), None)
    if running:
        part(_follow, run_every=1.0)(running.id)
        return
    failed = next(iter(_jobs(ids)), None)
    if failed and failed.state == "failed":
        st.error(plain(failed.message), icon=":material/error:")
    missing = [audit.name for audit in context.audits if context.trials[audit.id].missing()]
    if missing and st.button(
        "Measure what needs the models",
        icon=":material/play_arrow:",
        disabled=read_only(),
        help="Noise, pasted cues, size and speed; in a process of its own, kept for good.",
    ):
        start(["compare", *ids])


def _jobs(ids: list[str]) -> list[jobs.Job]:
    known = jobs.jobs(opened.workspace())
    return [job for job in known if job.arguments[: len(ids) + 1] == ["compare", *ids]]


def start(arguments: list[str]) -> None:
    """Start ``compare`` in a process of its own."""
    jobs.start(opened.workspace(), arguments, f"Compare {len(arguments) - 1} models")
    st.rerun()


def _follow(job_id: str) -> None:
    job = jobs.read(opened.workspace(), job_id)
    show_progress(job)
    if job.state != "running":
        st.rerun()


def open_class(audit: str, label: str, page: str) -> None:
    """Leave for a page about one class of one model."""
    state.go(f"pages/{page}.py", **{"audit": audit, "class": label})
