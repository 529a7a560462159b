"""Blocks of the page Report: what goes in, a preview, and the files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, unquote

import streamlit as st

from core.annotate.tags import TagStore
from core.annotate.votes import answers
from core.audit import Audit
from core.measures.decisions import decided
from core.report import appendix, evidence
from core.report.document import TITLE, Report, compose, render
from core.store import fingerprint
from core.types import Progress
from core.ui import blocks, opened, state

PARAMETERS = ["audit", "audits", "classes", "title", "author"]
HEIGHT = 900


def choices(audit: Audit) -> tuple[list[Audit], list[str], str, str]:
    """Audits, classes, title and author as chosen; the audit of the sidebar comes first."""
    names = {m["id"]: m["name"] for m in opened.finished_audits() if m["id"] != audit.id}
    left, right = st.columns(2)
    with left:
        more = state.several(
            f"Beside {blocks.plain(audit.name)}",
            "audits",
            list(names),
            format_func=lambda i: names.get(i, i),
            help="Each audit gets a section of its own, and a table sets them beside each other.",
        )
        title = state.text("Title", "title", placeholder=TITLE)
    audits = [audit, *(opened.open_audit(i) for i in more)]
    labels = {facts["label"]: facts["name"] for a in audits for facts in a.classes}
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


def measure_missing(audits: Sequence[Audit]) -> None:
    """Offer to measure what no report of these tags has measured yet."""
    workspace = opened.workspace()
    missing = [a for a in audits if not evidence.is_measured(a, workspace)]
    if not missing:
        return
    names = ", ".join(blocks.plain(a.name) for a in missing)
    st.info(
        f"Noise and pasted cues were not measured with these tags of {names}: the report says so. "
        "Measuring loads the model and takes minutes; it is kept.",
        icon=":material/info:",
    )
    if st.button(
        "Measure noise and pasted cues", icon=":material/play_arrow:", disabled=blocks.read_only()
    ):
        bar = st.progress(0.0, text="Loading the model")

        def report(progress: Progress) -> None:
            done = progress.done / progress.total if progress.total else 0.0
            bar.progress(min(done, 1.0), text=progress.stage)

        for audit in missing:
            found = evidence.gather(audit, workspace, report=report)
            if found.missing:
                blocks.say(found.missing)
                return
        st.rerun()


@blocks.part
def show(audit: Audit) -> None:
    """Choices, preview and files."""
    audits, classes, title, author = choices(audit)
    state.publish(PARAMETERS)
    measure_missing(audits)
    known = tuple(_state(a) for a in audits)
    report, html = _written(tuple(audits), known, tuple(classes), title, author)
    _downloads(report, html)
    # the document forbids scripts and requests to itself (its Content-Security-Policy), so that
    # nothing in it reaches the app around it
    st.iframe(html, height=HEIGHT, alt=f"Preview of the report {report.title}")


def _state(audit: Audit) -> str:
    """Changes with the audit, its tags and what was measured with them."""
    store = TagStore.open(opened.workspace())
    said = answers(store.current(audit.id)).to_csv()
    measured = evidence.is_measured(audit, opened.workspace())
    version = opened.version(audit)
    return fingerprint(
        {"key": evidence.key(audit, decided(audit, store)), "said": said, "measured": measured,
         "version": version}
    )  # fmt: skip


@lru_cache(maxsize=4)
def _written(
    audits: tuple[Audit, ...],
    known: tuple[str, ...],
    classes: tuple[str, ...],
    title: str,
    author: str,
) -> tuple[Report, str]:
    """The report and its HTML."""
    del known  # part of the key only
    gathered = [evidence.gather(a, opened.workspace(), with_model=False) for a in audits]
    report = compose(gathered, classes=classes, title=title, author=author)
    return report, render(report)


@lru_cache(maxsize=2)
def _pdf(html: str) -> bytes:
    from core.report.pdf import to_pdf

    return to_pdf(html)[0]


def _downloads(report: Report, html: str) -> None:
    """The files; PDF and appendix are made when they are asked for."""
    name = f"report-{report.fingerprint}"
    size = len(html.encode("utf-8", "backslashreplace")) / 2**20
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            f"HTML ({size:.1f} MiB)",
            html.encode("utf-8", "backslashreplace"),
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
