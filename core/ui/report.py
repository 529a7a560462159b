"""Blocks of the page Report: what goes in, a preview, and the files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import lru_cache
from threading import Thread
from urllib.parse import quote, unquote

import streamlit as st

from core.audits.audit import Audit
from core.audits.integrity import require_sound
from core.explain.overlays import Style
from core.measures.measure_requests import MeasureRequest
from core.measures.one_audit import slow_parts
from core.measures.stored import is_stored
from core.report import appendix
from core.report import material as evidence
from core.report.document import TITLE, Report, compose, render
from core.types import Progress
from core.ui.frame import blocks, look, opened, state, tagged, working
from core.ui.measures import measures

PARAMETERS = ["audit", "audits", "classes", "title", "author", *look.PARAMETERS]
HEIGHT = 900
PATIENCE = 0.3
"""Seconds that the page waits for a check, which takes less where there are few images."""

State = tuple[tuple[int, int, int], tuple[bool, ...]]


def choices(audit: Audit) -> tuple[list[Audit], list[str], str, str]:
    """Audits, classes, title and author as chosen; the audit of the sidebar comes first."""
    names = {m.id: m.name for m in opened.finished_audits() if m.id != audit.id}
    left, right = st.columns(2)
    with left:
        more = state.several(
            f"Beside {blocks.plain(audit.name)}",
            "audits",
            names,
            help="Each audit gets a section of its own, and a table sets them beside each other.",
        )
        title = state.text("Title", "title", placeholder=TITLE)
    audits = [audit, *(opened.open_audit(i) for i in more)]
    labels = {facts.label: facts.name for a in audits for facts in a.classes}
    with right:
        chosen = state.several(
            "Classes",
            "classes",
            [quote(label, safe=" ") for label in labels],  # the address joins them by commas
            format_func=lambda q: labels.get(unquote(q), unquote(q)),
            placeholder="all classes",
            help="Intervals stay corrected for all classes with tagged cues.",
        )
        author = state.text("Author", "author")
    return audits, [unquote(q) for q in chosen], title.strip(), author.strip()


def offer(audits: Sequence[Audit]) -> None:
    """Offer to measure, as a job, what was not measured with these tags."""
    missing = [a for a in audits if not evidence.is_measured(a, tagged.decisions(a))]
    if not missing:
        return
    st.info(
        "Noise and pasted cues were not all measured with these tags, and the report says so. "
        "Measuring loads the model and takes minutes.",
        icon=":material/info:",
    )
    if not blocks.may_run():
        return
    with st.container(horizontal=True):
        for audit in missing:
            working.offer(
                MeasureRequest(audit.id),
                f"{audit.name}: what the tagged cues cost",
                f"Measure {blocks.plain(audit.name)}",
                key=f"measure-{audit.id}",
            )


@blocks.part
def show(audit: Audit) -> None:
    """Choices, preview and files."""
    audits, classes, title, author = choices(audit)
    if any(tagged.decisions(a).spurious for a in audits):  # else it holds no photo
        look.style()
    state.publish(PARAMETERS)
    if wait_for_gaps(audits):
        return
    offer(audits)
    known = tuple(state_of(a) for a in audits)
    chosen = look.now(audit).style
    report, html = _written(tuple(audits), known, tuple(classes), title, author, chosen)
    check = _check(tuple(audits), known)
    wait([check.found], PATIENCE)
    if check.found.done():
        _require(check)
        _downloads(report, html)
    else:
        blocks.part(_until_checked, run_every=1.0)(check)
    # the document forbids scripts and requests to itself (its Content-Security-Policy), so that
    # nothing in it reaches the app around it
    st.iframe(html, height=HEIGHT, alt=f"Preview of the report {report.title}")


@dataclass
class Check:
    """Everything that some audits store, compared with its digests beside the page."""

    found: Future[None]
    now: Progress = Progress("Checking what is stored", 0, 0)
    """How far it is."""


@lru_cache(maxsize=4)
def _check(audits: tuple[Audit, ...], known: tuple[State, ...]) -> Check:
    """Begun when a report is first looked at: at a million images it reads gigabytes."""
    del known  # part of the key only
    check = Check(Future())

    def report(now: Progress) -> None:
        check.now = now

    def run() -> None:
        try:
            for audit in audits:
                require_sound(audit.folder, report)
            check.found.set_result(None)
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            check.found.set_exception(error)

    Thread(target=run, name="check", daemon=True).start()
    return check


def _require(check: Check) -> None:
    """Raise what a finished check found; what is mended meanwhile is checked again."""
    if check.found.exception():
        _check.cache_clear()
        _written.cache_clear()
    check.found.result()


def _until_checked(check: Check) -> None:
    """How far a check is, in place of the files: none is handed out before its end."""
    if check.found.done():
        st.rerun()
    done, total = check.now.done, check.now.total
    st.progress(
        done / max(total, 1),
        text=f"Checking what is stored: {done:,d} of {total:,d} files. The report can be taken "
        "away when all of them hold what was written.",
    )


def wait_for_gaps(audits: Sequence[Audit]) -> bool:
    """Whether gaps of many classes are missing; offers to measure them then."""
    waiting = [a for a in audits if not measures.at_once(a)]
    if waiting:
        names = ", ".join(blocks.plain(a.name) for a in waiting)
        blocks.empty(
            "Gaps first",
            f"So many classes of {names} have spurious cues that their gaps are measured in a "
            "process of its own; findings are written from them.",
            icon=":material/hourglass:",
        )
    for a in waiting:
        measures.offer(a, f"run-{a.id}")
    return bool(waiting)


def state_of(audit: Audit) -> State:
    """Changes with the tags of an audit and with what was measured with them."""
    decisions = tagged.decisions(audit)
    stored = tuple(is_stored(audit, decisions, part) for part in slow_parts())
    return tagged.state(audit), stored


@lru_cache(maxsize=4)
def _written(
    audits: tuple[Audit, ...],
    known: tuple[State, ...],
    classes: tuple[str, ...],
    title: str,
    author: str,
    style: Style,
) -> tuple[Report, str]:
    """The report and its HTML."""
    del known  # part of the key only
    gathered = [evidence.gather(a, opened.workspace(), with_model=False) for a in audits]
    report = compose(gathered, classes=classes, title=title, author=author, style=style)
    return report, render(report, checked=True)  # by show


@lru_cache(maxsize=2)
def _pdf(html: str) -> bytes:
    from core.report.pdf import to_pdf

    return to_pdf(html)[0]


def _downloads(report: Report, html: str) -> None:
    """The files; PDF and appendix are made when they are asked for."""
    name = f"report-{report.fingerprint}"
    content = html.encode("utf-8", "backslashreplace")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"HTML ({len(content) / 1000:,.0f} kB)",
            content,
            file_name=f"{name}.html",
            mime="text/html",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
        )
        st.download_button(
            "PDF",
            lambda: _pdf(html),
            file_name=f"{name}.pdf",
            mime="application/pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
        )
        st.download_button(
            "Appendix",
            lambda: appendix.appendix(report),
            file_name=f"{name}.zip",
            mime="application/zip",
            icon=":material/folder_zip:",
            on_click="ignore",
            help="Every table behind the report as CSV and Parquet, and its statements as JSON.",
        )
        st.caption("One file that opens from a mail and asks nothing of the network.")
