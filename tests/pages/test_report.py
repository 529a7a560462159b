from __future__ import annotations

import re
from pathlib import Path
from threading import Event

import pytest
from streamlit.testing.v1 import AppTest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import WorkspaceError
from core.jobs import jobs
from core.measures.stored import measured
from core.report import material as evidence
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Progress, Reporter, Tag
from core.ui import report as page
from tests.pages.conftest import Open, address, healthy

TITLE = "Report"


def preview(app: AppTest) -> str:
    """The document in the preview."""
    (frame,) = app.get("iframe")
    return str(frame.proto.srcdoc)


def tag(audit: Audit, workspace: Workspace, label: str = "eel") -> None:
    store = TagStore.open(workspace)
    store.add("ann", audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS, reason="snow")


def test_without_tags_nothing_is_claimed(audit: Audit, opened: Open) -> None:
    app = healthy(opened("report", audit=audit.id), TITLE)
    assert "nothing is claimed about any class" in preview(app)
    assert "data-verdict" not in preview(app)
    assert not [b for b in app.button if "Measure" in b.label]
    assert address(app) == {"audit": audit.id}


def test_its_photos_follow_the_look(audit: Audit, workspace: Workspace, opened: Open) -> None:
    tag(audit, workspace)
    evidence.gather(audit, workspace)
    lit = healthy(opened("report", audit=audit.id), TITLE)
    coloured = healthy(opened("report", audit=audit.id, look="colour"), TITLE)
    assert address(lit)["look"] == "spotlight"
    assert address(coloured)["look"] == "colour"
    first, second = (re.findall(r"data:image/jpeg[^\"]+", preview(a)) for a in (lit, coloured))
    assert len(first) == len(second) > 0
    rows = [one == other for one, other in zip(first, second, strict=True)]
    assert any(rows), "photos without an overlay are the same"
    assert not all(rows), "those with one are not"


def test_what_was_not_measured_is_measured_on_request(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: started.append(arguments))
    tag(audit, workspace)
    app = healthy(opened("report", audit=audit.id), TITLE)
    assert 'data-label="eel"' in preview(app)
    assert "was not measured" in preview(app)
    (button,) = [b for b in app.button if "Measure" in b.label]
    app = button.click().run()
    assert started == [["measure", audit.id]]
    evidence.gather(audit, workspace)
    app = healthy(app.run(), TITLE)
    assert "Pasted on" in preview(app)
    assert not [b for b in app.button if "Measure" in b.label]


def test_of_very_many_classes_gaps_are_measured_first(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.ui.measures.measures.AT_ONCE", 0)
    tag(audit, workspace)
    app = healthy(opened("report", audit=audit.id), TITLE)
    assert any("Gaps first" in m.value for m in app.markdown)
    assert not app.get("iframe")
    assert f"run-{audit.id}-gap" in [b.key for b in app.button]
    measured(audit, workspace, "gap")
    measured(audit, workspace, "groups")
    app = healthy(app.run(), TITLE)
    assert 'data-label="eel"' in preview(app)


def test_the_address_restores_the_report(audit: Audit, workspace: Workspace, opened: Open) -> None:
    for label in ("eel", "dog_*x*"):
        tag(audit, workspace, label)
    second = Audit.open(workspace, "second")
    app = opened(
        "report",
        audit=audit.id,
        audits=second.id,
        classes="dog_%2Ax%2A",
        title="<b>T</b>",
        author="A, B",
    )
    html = preview(healthy(app, TITLE))
    assert "<title>&lt;b&gt;T&lt;/b&gt;</title>" in html
    assert "A, B" in html
    assert 'data-label="dog_*x*"' in html
    assert 'data-label="eel"' not in html
    assert "The audits beside each other" in html
    assert address(app)["classes"] == "dog_%2Ax%2A"
    assert address(app)["audits"] == second.id


def test_invalid_parameters_fall_back(audit: Audit, opened: Open) -> None:
    app = healthy(opened("report", audit=audit.id, audits="x", classes="y"), TITLE)
    assert set(address(app)) == {"audit"}


def test_read_only_measures_nothing(
    audit: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag(audit, workspace)
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("report", audit=audit.id), TITLE)
    assert not [b for b in app.button if "Measure" in b.label]
    assert not list((audit.folder / "measures").glob("flip-*"))


def test_no_file_is_handed_out_before_everything_stored_was_compared(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = Event()

    def slow(folder: Path, progress: Reporter) -> None:
        progress(Progress("Checking what is stored", 3, 8, "files"))
        assert folder == audit.folder
        assert may_end.wait(60)

    monkeypatch.setattr(page, "require_sound", slow)
    page._check.cache_clear()
    app = healthy(opened("report", audit=audit.id), TITLE)
    assert "nothing is claimed" in preview(app)
    assert not app.get("download_button")
    may_end.set()
    app.run()
    assert len(app.get("download_button")) == 3


def test_what_is_damaged_is_said_until_it_is_mended(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(folder: Path, progress: Reporter) -> None:
        raise WorkspaceError(f"{folder.name} is damaged")

    with monkeypatch.context() as patch:
        patch.setattr(page, "require_sound", damaged)
        page._check.cache_clear()
        app = opened("report", audit=audit.id)
        assert "is damaged" in app.error[0].value
        assert not app.get("download_button")
    app.run()
    assert not app.error
    assert len(app.get("download_button")) == 3
