"""Events that no page offers: a client may send any, whatever is drawn for it and whatever not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from core.audits.audit import Audit
from core.audits.evaluation_set import remove_set
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import WorkspaceError
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.tags.entries import NewTag
from core.tags.log import TagStore
from core.types import Progress, Tag
from core.ui.frame.shell import NEEDS, PAGES
from tests.pages.conftest import Open, galleries, trigger

SHOWN = sorted(entry[3] for entries in PAGES.values() for entry in entries)
VIEW = {"SPURIOSCOPE_READONLY": "1"}
TAG = {"SPURIOSCOPE_ROLE": "tag"}


def job(number: int, state: str) -> jobs.Job:
    progress = Progress("Starting", 0, 0)
    command = ["mitigate", str(number)]
    return jobs.Job(str(number), "t", command, state, progress, 0.0, None, "", None, 0.0)


@pytest.fixture(autouse=True)
def known_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One job to cancel and one to resume, on every page that lists jobs."""
    known = {"1": job(1, "failed"), "2": job(2, "running")}
    monkeypatch.setattr(jobs, "jobs", lambda _: list(known.values()))
    monkeypatch.setattr(jobs, "read", lambda _, job_id: known[job_id])


@pytest.fixture
def tagged(workspace: Workspace, audit: Audit) -> None:
    """Two people who differ on one candidate and agree on another."""
    store = TagStore.open(workspace)
    for who, tag in (("anonymous", Tag.CORE), ("ben", Tag.SPURIOUS)):
        store.add(who, audit.id, CandidateKey(audit.classes[1].label, PCA, 0), tag)
        store.add(who, audit.id, CandidateKey(audit.classes[0].label, PCA, 0), Tag.SPURIOUS)


def forge(app: AppTest, button: Button) -> None:
    """What a browser sends on a click, which AppTest refuses for a disabled button."""
    states = app._tree.get_widget_states()
    state = states.widgets.add()
    state.id, state.trigger_value = button.proto.id, True
    app._run(states)


def state_of(workspace: Workspace) -> list[object]:
    """Everything that a person can change."""
    audits = [Audit.open(workspace, name) for name in ("first", "second")]
    files = [
        sorted(map(str, folder.rglob("*")))
        for folder in (workspace.root / "jobs", *(a.folder / "uploads" for a in audits))
    ]
    store = TagStore.open(workspace)
    return [*files, *(store.history(a.id) for a in audits), *workspace.manifests()]


@pytest.mark.parametrize("page", SHOWN)
@pytest.mark.parametrize("role", [VIEW, TAG], ids=["view", "tag"])
def test_a_button_that_is_not_there_changes_nothing(
    page: str,
    role: dict[str, str],
    tagged: None,
    workspace: Workspace,
    audit: Audit,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if NEEDS.get(page) == "run" or (role is VIEW and page in NEEDS):
        pytest.skip("this role has no such page")
    before, seen = state_of(workspace), set()
    for place in range(len(opened(page, audit=audit.id).button)):
        app = opened(page, audit=audit.id)
        label = app.button[place].label
        if label in seen or (role is TAG and not starts_work(label)):
            continue
        seen.add(label)
        with monkeypatch.context() as patch:
            for name, value in role.items():
                patch.setenv(name, value)
            forge(app, app.button[place])
            assert not app.exception, label
            assert state_of(workspace) == before, label


def starts_work(label: str) -> bool:
    """Whether a button does more than tagging, for which a visitor may have the role."""
    words = ("settle", "core", "spurious", "unsure", "undo", "carry")
    return not label.lower().startswith(words)


@pytest.mark.parametrize("page", sorted({*SHOWN} - {*NEEDS}))
def test_a_button_that_is_disabled_changes_nothing(
    page: str,
    tagged: None,
    workspace: Workspace,
    audit: Audit,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = state_of(workspace)
    for name, value in VIEW.items():
        monkeypatch.setenv(name, value)
    for place, button in enumerate(opened(page, audit=audit.id).button):
        if button.disabled:
            app = opened(page, audit=audit.id)
            forge(app, app.button[place])
            assert not app.exception, button.label
            assert state_of(workspace) == before, button.label


@pytest.mark.parametrize("page", ["components", "image", "findings"])
def test_a_click_in_a_component_changes_nothing(
    page: str,
    tagged: None,
    workspace: Workspace,
    audit: Audit,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = opened(page, audit=audit.id)
    before, drawn = state_of(workspace), galleries(app)
    assert drawn
    for name, value in VIEW.items():
        monkeypatch.setenv(name, value)
    for value in ("pca-0/spurious", "pca-0/", "pca-0/nonsense", "/", "", "\0", "x" * 10_000):
        for event in ("tagged", "picked", "unknown"):
            trigger(app, drawn[0], event, value)
            assert not app.exception
            assert state_of(workspace) == before


Change = Callable[[Workspace, Audit, TagStore], object]
TAGGING: dict[str, Change] = {
    "add": lambda w, a, s: s.add("eve", a.id, CandidateKey(a.classes[0].label, PCA, 1), Tag.CORE),
    "add_many": lambda w, a, s: s.add_many(a.id, [row(a)]),
    "undo": lambda w, a, s: s.undo("ben", a.id),
    "upload": lambda w, a, s: a.upload(b"", None),  # type: ignore[arg-type]
}
WORK: dict[str, Change] = {
    "start": lambda w, a, s: jobs.start(w, ["demo"], "Demo"),
    "cancel": lambda w, a, s: jobs.cancel(w, "2"),
    "resume": lambda w, a, s: jobs.resume(w, "1"),
    "rename": lambda w, a, s: w.rename("first", "third"),
    "delete": lambda w, a, s: w.delete("first"),
    "remove set": lambda w, a, s: remove_set(a, "v2"),
}


def row(audit: Audit) -> NewTag:
    return NewTag("eve", audit.classes[0].label, "pca", 1, "core")


@pytest.mark.parametrize("what", [*TAGGING, *WORK])
@pytest.mark.parametrize("role", [VIEW, TAG], ids=["view", "tag"])
def test_everything_that_changes_something_asks_whether_it_may(
    what: str,
    role: dict[str, str],
    tagged: None,
    workspace: Workspace,
    audit: Audit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if role is TAG and what in TAGGING:
        pytest.skip("this role may tag")
    before, store = state_of(workspace), TagStore.open(workspace)
    for name, value in role.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WorkspaceError, match="nothing can be changed|no work can be started"):
        {**TAGGING, **WORK}[what](workspace, audit, store)
    assert state_of(workspace) == before


def test_nothing_in_the_pages_changes_files_past_those() -> None:
    """Whoever writes in a page calls one of the functions above, which ask."""
    writing = ("write_json", "write_frame", "write_array", "replacing_folder", "rmtree")
    root = Path(__file__).resolve().parents[2]
    pages = [*(root / "core" / "ui").rglob("*.py"), *(root / "pages").glob("*.py")]
    assert len(pages) > 40
    found = [
        (path.name, word)
        for path in pages
        for word in writing
        if f"{word}(" in path.read_text(encoding="utf-8")
    ]
    assert found == []
