"""A presentation: every page can be looked at, and nothing can be changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import WorkspaceError
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.leaned_on import LeanedOn
from core.trials.leaning import measure_leaning
from core.types import Tag
from core.ui.frame import tagged as tagged_ui
from core.ui.frame.shell import NEEDS, PAGES, pages
from core.ui.kit.text import plain
from tests.pages.conftest import Open, address, gallery, healthy

SHOWN = sorted({entry[3] for entries in PAGES.values() for entry in entries} - set(NEEDS))


@pytest.fixture(autouse=True)
def presentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")


@pytest.fixture
def tagged(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags on the audit "first", given before the presentation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPURIOSCOPE_READONLY", "0")
        audit = Audit.open(workspace, "first")
        store = TagStore.open(workspace)
        store.add("anna", audit.id, CandidateKey(audit.classes[0].label, PCA, 0), Tag.SPURIOUS)
        for who, tag in (("anna", Tag.CORE), ("ben", Tag.SPURIOUS)):
            store.add(who, audit.id, CandidateKey(audit.classes[1].label, PCA, 0), tag)


def state_of(workspace: Workspace, audit: Audit) -> list[object]:
    """Everything that a person could have changed."""
    places = (workspace.root / "jobs", audit.folder / "uploads")
    files = [sorted(folder.rglob("*")) for folder in places]
    return [*files, *TagStore.open(workspace).history(audit.id), *workspace.manifests()]


@pytest.mark.parametrize("page", SHOWN)
def test_no_page_offers_a_change(
    page: str, tagged: None, workspace: Workspace, audit: Audit, opened: Open
) -> None:
    before = state_of(workspace, audit)
    buttons = len(opened(page, audit=audit.id).button)
    for place in range(buttons):
        app = opened(page, audit=audit.id)
        if not app.button[place].disabled:
            app.button[place].click().run()
        assert not app.exception
        assert not [e for e in (*app.error, *app.toast) if "presentation" in e.value]
        assert state_of(workspace, audit) == before
    app = opened(page, audit=audit.id)
    assert not app.exception
    assert not app.get("file_uploader")
    assert [field.label for field in app.text_input if field.label == "Your name"] == []


def test_pages_that_only_change_are_left_out() -> None:
    shown = {entry[3] for entries in pages().values() for entry in entries}
    assert not shown & set(NEEDS)
    assert "findings" in shown


def test_tags_jobs_and_uploads_are_refused(tagged: None, audit: Audit, tmp_path: Path) -> None:
    workspace = Workspace(audit.folder.parent.parent)
    store, before = TagStore.open(workspace), TagStore.open(workspace).history(audit.id)
    label = audit.classes[0].label
    with pytest.raises(WorkspaceError, match="nothing can be changed in a presentation"):
        store.add("eve", audit.id, CandidateKey(label, PCA, 1), Tag.CORE)
    with pytest.raises(WorkspaceError, match="presentation"):
        store.undo("anna", audit.id)
    with pytest.raises(WorkspaceError, match="presentation"):
        jobs.start(workspace, ["demo"], "Demo")
    with pytest.raises(WorkspaceError, match="presentation"):
        audit.upload(b"", None)  # type: ignore[arg-type]
    assert store.history(audit.id) == before
    assert not (workspace.root / "jobs").exists()


def test_findings_are_those_of_the_report_and_paged(
    tagged: None, workspace: Workspace, audit: Audit, opened: Open
) -> None:
    from core.report.document import compose
    from core.report.findings import Finding
    from core.report.material import gather
    from core.ui.findings import findings

    found = findings(audit)
    assert any(isinstance(one, Finding) for one in found)
    (section,) = compose([gather(audit, workspace, with_model=False)]).sections
    asked = [q.label for q in section.questions if q.candidates]
    leaned = [one.facts.label for one in tagged_ui.leaned_on(audit) if one.block != "rest"]
    said = [*(f.label for f in section.findings), *asked]
    labels = [f.facts.label if isinstance(f, LeanedOn) else f.label for f in found]
    assert set(labels) == {*said, *leaned}
    order = [one.facts.label for one in tagged_ui.leaned_on(audit)]
    assert labels == sorted(labels, key=order.index)
    app = healthy(opened("findings", audit=audit.id), "Findings")
    assert found[0].name in app.header[0].value
    assert len(gallery(app)["pictures"]) == 6
    assert app.button(key="finding-left").disabled
    assert app.button(key="finding-right").disabled == (len(found) == 1)


def test_arrows_go_to_the_next_finding(workspace: Workspace, audit: Audit, opened: Open) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPURIOSCOPE_READONLY", "0")
        for facts in audit.classes[:2]:
            store = TagStore.open(workspace)
            store.add("anna", audit.id, CandidateKey(facts.label, PCA, 0), Tag.SPURIOUS)
    app = healthy(opened("findings", audit=audit.id), "Findings")
    first = app.header[0].value
    app.button(key="finding-right").click().run()
    assert address(app)["finding"] == "2"
    assert app.header[0].value != first


def test_a_class_that_leans_on_something_has_a_screen_without_any_gap(
    audit: Audit, opened: Open
) -> None:
    from core.ui.findings import findings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPURIOSCOPE_READONLY", "0")
        measure_leaning(audit)
    found = findings(audit)
    place = next(i for i, one in enumerate(found, 1) if isinstance(one, LeanedOn))
    one = found[place - 1]
    app = healthy(opened("findings", audit=audit.id, finding=str(place)), "Findings")
    assert app.header[0].value.startswith(plain(one.facts.name))
    assert any(plain(one.reason) in text.value for text in app.markdown)
