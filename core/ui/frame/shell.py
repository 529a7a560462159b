"""The frame of every page: navigation, the chosen audit, the user's name, the first start."""

from __future__ import annotations

import threading
from itertools import chain
from pathlib import Path

import streamlit as st

from core.audits.audit import Audit
from core.audits.audit_requests import DemoRequest
from core.jobs import jobs
from core.storage.audit_manifest import Manifest
from core.storage.roles import ROLES, role
from core.ui.frame import access, frame, opened, state
from core.ui.frame.blocks import may_run, part, plain, read_only, sentences
from core.ui.frame.remember import remember
from core.ui.frame.working import show_progress

PAGES = {
    "Audit": [
        ("pages/overview.py", "Overview", ":material/leaderboard:", "overview"),
        ("pages/findings.py", "Findings", ":material/lightbulb:", "findings"),
        ("pages/components.py", "Components", ":material/layers:", "components"),
        ("pages/image.py", "Image", ":material/image_search:", "image"),
        ("pages/compare.py", "Compare", ":material/compare:", "compare"),
        ("pages/map.py", "Map", ":material/scatter_plot:", "map"),
        ("pages/data.py", "Data", ":material/database:", "data"),
    ],
    "Tags": [
        ("pages/tagging.py", "Tagging", ":material/sell:", "tagging"),
        ("pages/agreement.py", "Agreement", ":material/group:", "agreement"),
    ],
    "Cost": [
        ("pages/ranking.py", "Ranking", ":material/sort:", "ranking"),
        ("pages/measures.py", "Measures", ":material/straighten:", "measures"),
        ("pages/report.py", "Report", ":material/description:", "report"),
    ],
    "Repair": [("pages/mitigate.py", "Mitigate", ":material/healing:", "mitigate")],
    "Work": [("pages/new_audit.py", "New audit", ":material/add_circle:", "new")],
    "Help": [("pages/glossary.py", "Glossary", ":material/menu_book:", "glossary")],
}
NEEDS = {"tagging": "tag", "new": "run"}
"""Pages on which everything changes something, and the role that it takes."""
WITHOUT_AUDIT = {"New audit", "Glossary"}
"""Pages that say something without any audit."""
ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "assets"


def run(start: str = "") -> None:
    """Draw one page; ``start`` is the one at the bare address: findings in a presentation."""
    start = start or ("findings" if read_only() else "overview")
    access.confine()
    st.set_page_config(page_title="Spurioscope", page_icon=str(ASSETS / "icon.png"), layout="wide")
    st.logo(str(ASSETS / "logo.svg"), icon_image=str(ASSETS / "icon.svg"), size="large")
    frame.dress()
    shown = pages()
    listed = {
        section: [
            st.Page(
                ROOT / file,
                title=title,
                icon=icon,
                url_path="" if url == start else url,
                default=url == start,
            )
            for file, title, icon, url in entries
        ]
        for section, entries in shown.items()
    }
    first = next(page for page in chain(*listed.values()) if page.url_path == "")
    named = st.Page(lambda: _go(first), title=first.title, url_path=start, visibility="hidden")
    kept = {url for entries in shown.values() for *_, url in entries}
    closed = [
        st.Page(lambda: _closed(first), title=title, url_path=url, visibility="hidden")
        for _, title, _, url in chain(*PAGES.values())
        if url not in kept
    ]
    page = st.navigation({**listed, "": [named, *closed]}, expanded=True)
    if access.account() == "":
        _sign_in()
        return
    if page is named:
        page.run()
    frame.arrive(page.title)
    state.arrive(page.title)
    audits = opened.finished_audits()
    if audits:
        _sidebar(audits)
        frame.tour(page.title, [title for entries in shown.values() for _, title, *_ in entries])
    frame.beside_title()
    if not audits and page.title not in WITHOUT_AUDIT:
        first_start()
        return
    with sentences():
        page.run()


def _go(page: st.Page) -> None:
    """From the first page's own name, which Streamlit does not know, to the bare address."""
    st.switch_page(page, query_params=st.query_params.to_dict())


def _closed(first: st.Page) -> None:
    """What a link to a page that the role has no use for finds here."""
    st.title("Not open here")
    st.markdown("Everything on the page of this link changes something, which nobody may here.")
    st.page_link(first, label=f"Open {plain(first.title)}", icon=":material/arrow_back:")


def pages() -> dict[str, list[tuple[str, str, str, str]]]:
    """The pages of this process by section, without those that the role has no use for."""
    mine = ROLES.index(role())
    kept = {
        section: [e for e in entries if ROLES.index(NEEDS.get(e[3], "view")) <= mine]
        for section, entries in PAGES.items()
    }
    return {section: entries for section, entries in kept.items() if entries}


def _sidebar(audits: list[Manifest]) -> None:
    """Which audit, and who is looking."""
    names = {m.id: m.name for m in audits}
    asked = state.get("audit")
    if asked and asked not in names:  # an address may name an audit as commands do
        named = [m.id for m in audits if m.name == asked or m.id.startswith(asked)]
        if len(named) == 1:
            state.put("audit", named[0])
    with st.sidebar:
        state.choose(st.selectbox, "Audit", "audit", names)
        if read_only():
            st.caption("A presentation: everything can be looked at, nothing can be changed.")
            return
        if access.account() is not None:
            _account()
            return
        st.text_input(
            "Your name",
            key=state.ANNOTATOR,
            persist_state="session",
            placeholder="anonymous",
            help="Saved with every tag that you give.",
        )
        remember()


def _account() -> None:
    """Who is signed in: the name under which tags are saved, and the way out."""
    name = plain(access.account())
    st.caption(f"Signed in as {name}; your tags are saved under this name.")
    st.button("Sign out", icon=":material/logout:", on_click=st.logout)


def _sign_in() -> None:
    """Nothing of the workspace is shown before somebody has signed in."""
    st.title("Spurioscope")
    st.markdown("Sign in to see the audits of this workspace.")
    for provider in access.providers():
        words = f"Sign in with {plain(provider)}"
        st.button(words, icon=":material/login:", on_click=st.login, args=(provider,))
    if not access.providers():
        st.button("Sign in", icon=":material/login:", on_click=st.login)


def current_audit() -> Audit:
    """The audit chosen in the sidebar."""
    return opened.open_audit(state.get("audit") or opened.finished_audits()[0].id)


def first_start() -> None:
    """Nothing prepared yet: prepare the demo in a process of its own, and say so."""
    st.title("Spurioscope")
    st.markdown(
        "Find out **which cues an image classifier really uses**, which of them are spurious, and "
        "what that costs."
    )
    if not may_run():
        st.info("This workspace holds no audit, and nothing may be started in it.")
        return
    st.markdown(
        "This workspace is empty, so a demo is being prepared: pictures of vans drawn by code, "
        "with two planted cues. It takes about a minute; nothing is downloaded. You can close "
        "this page meanwhile, or start an audit of your own data on the page **New audit**."
    )
    with sentences(), _first:  # two browsers may arrive at once
        known = [job for job in jobs.jobs(opened.workspace()) if job.state != "finished"]
        if not known:
            demo = DemoRequest()
            known = [jobs.start(opened.workspace(), demo.arguments(), demo.title)]
        part(_watch, run_every=1.0)(known[0].id)


_first = threading.Lock()


def _watch(job_id: str) -> None:
    """Follow a job until there is an audit to open."""
    job = jobs.read(opened.workspace(), job_id)
    show_progress(job)
    if job.state == "finished":
        st.rerun()
    elif job.state in ("failed", "cancelled"):
        if job.message:
            st.error(plain(job.message), icon=":material/error:")
        if st.button("Try again", icon=":material/refresh:"):
            jobs.resume(opened.workspace(), job_id)
            st.rerun()
