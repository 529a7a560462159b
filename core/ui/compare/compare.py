"""The frame of the page Compare: which models, differences to which, and what of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import streamlit as st

from core.audits.audit import Audit
from core.errors import InputError
from core.measures.availability import missing
from core.measures.cells import Context
from core.measures.measure_requests import CompareRequest
from core.measures.several_audits import Table, compare, open_context
from core.measures.shared_images import shared_images
from core.storage.memory import hand_back
from core.tags.log import TagStore
from core.types import count_of
from core.ui.frame import opened, state, working
from core.ui.frame.blocks import empty, plain
from core.ui.frame.words import help_on

VIEWS = {
    "table": "Table",
    "classes": "Classes",
    "robustness": "Robustness",
    "ensemble": "Ensemble",
    "tags": "Carry tags",
    "pair": "Two models",
    "image": "One image",
}
FRAME = ["audit", "models", "baseline", "view"]
"""Parameters of every view."""

MOST = 8
"""Models that are compared where nobody chose."""


@lru_cache(maxsize=64)
def _comparable(first: Audit, second: Audit) -> bool:
    """Whether an image is held out in both; ids of other data may happen to be the same."""
    same = first.images_digest and first.images_digest == second.images_digest
    if same and np.array_equal(first.held_out, second.held_out):
        return True
    try:
        shared_images((first, second))
    except InputError:
        return False
    return True


def choose_models(audit: Audit) -> list[Audit]:
    """The audits to compare, the one of the sidebar first; empty where there is no other."""
    manifests = [m for m in opened.finished_audits() if m.id != audit.id]
    found = [m for m in manifests if _comparable(audit, opened.open_audit(m.id))]
    names = {m.id: m.name for m in sorted(found, key=lambda m: str(m.name))}
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
    chosen = state.several(f"Compare {plain(audit.name)} with", "models", names)
    return [audit, *(opened.open_audit(i) for i in chosen)]


def choose_baseline(audits: list[Audit]) -> Audit:
    """The audit that differences are to."""
    names = {audit.id: audit.name for audit in audits}
    chosen = state.choose(
        st.selectbox,
        "Differences are to",
        "baseline",
        names,
        help=help_on("interval", "paired bootstrap", "Holm's correction"),
    )
    return next(audit for audit in audits if audit.id == chosen)


def context_of(audits: list[Audit]) -> Context:
    """What the figures are made of; kept as long as audits, tags and trials stay the same."""
    return _context(state_of(audits), audits)


@st.cache_resource(max_entries=8, show_spinner="Reading what is stored …")
def _context(state_of: str, _audits: list[Audit]) -> Context:
    del state_of  # part of the key only
    return open_context(_audits, opened.workspace())


def state_of(audits: Sequence[Audit]) -> str:
    """Changes with the audits, their tags and their stored outcomes."""
    store, parts = TagStore.open(opened.workspace()), []
    for audit in audits:
        outcomes = audit.files.outcomes
        made = outcomes.stat().st_mtime_ns if outcomes.is_dir() else 0
        known = (str(audit.folder), audit.name, opened.version(audit))
        parts.append((*known, store.state(audit.id), made))
    return str(parts)


def table_of(context: Context, baseline: Audit) -> Table:
    """The table, made once."""
    return _table(state_of(context.audits), baseline.id, context)


@st.cache_resource(max_entries=16, show_spinner="Resampling shared images …")
def _table(state_of: str, baseline: str, _context: Context) -> Table:
    del state_of  # part of the key only
    found = compare(_context, baseline)
    hand_back()  # what resampling has freed
    return found


def summary(context: Context) -> None:
    """How many images stand behind everything below."""
    shared = context.shared
    st.caption(
        f"{len(context.audits)} models on {count_of(len(shared.images), 'shared image')}, figures "
        f"over the {len(shared.held):,} held out in all of them"
    )
    for note in shared.notes:
        st.info(plain(note), icon=":material/info:")


def measure_button(context: Context) -> None:
    """Offer the job that measures what is missing, or follow the one that does."""
    request = CompareRequest(tuple(audit.id for audit in context.audits))
    if any(missing(audit, context.decisions[audit.id]) for audit in context.audits):
        working.offer(
            request,
            request.title,
            "Measure what needs the models",
            key="measure",
            help="Noise, pasted cues, size and speed; in a process of its own, kept for good.",
        )


def open_class(audit: str, label: str, page: str) -> None:
    """Leave for a page about one class of one model."""
    state.go(f"pages/{page}.py", **{"audit": audit, "class": label})
