"""The three main journeys: audit a folder; tag and rank; compare and report."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.audits.audit import Audit
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from tests.browser.conftest import Watched
from tests.conftest import draw_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def workspace(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy that the journeys may change."""
    import shutil

    root = tmp_path_factory.mktemp("journeys") / "workspace"
    shutil.copytree(audited, root)
    return Workspace(root)


@pytest.fixture(scope="module")
def visit(chrome: Browser, started: Callable[..., str], workspace: Workspace) -> Watched:
    context = chrome.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    return Watched(context.new_page(), started(workspace.root))


def test_audit_a_folder(visit: Watched, tmp_path: Path) -> None:
    folder, page = draw_folder(tmp_path / "photos", np.random.default_rng(5)), visit.page
    page.goto(f"{visit.address}/new")
    visit.title("New audit")
    page.get_by_role("textbox", name="Images", exact=True).fill(str(folder))
    page.get_by_role("textbox", name="Name", exact=True).fill("mine")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("Estimated time").wait_for()
    page.get_by_role("button", name="Start").click()
    finished = page.locator('[class*="st-key-open-"] button').first
    finished.wait_for(timeout=180_000)
    finished.click()
    visit.title("mine")
    page.locator('[data-testid="stDataFrame"] canvas').first.wait_for()
    visit.go("Components")
    visit.title("Components of a class")
    page.locator(".gallery[data-painted]").wait_for()
    assert visit.parameter("audit")
    visit.clean()


def test_tag_and_rank(visit: Watched, workspace: Workspace) -> None:
    audit, page = Audit.open(workspace, "second"), visit.page
    page.goto(f"{visit.address}/tagging?audit={audit.id}")
    visit.title("Tagging")
    page.locator(".gallery[data-painted]").first.wait_for()
    before = len(TagStore.open(workspace).current(audit.id))
    page.keyboard.press("2")
    page.get_by_text(re.compile(r"1 of \d+ tagged by anonymous")).wait_for()
    said = [e for e in TagStore.open(workspace).current(audit.id) if e.annotator == "anonymous"]
    assert [e.tag for e in said] == [Tag.SPURIOUS]
    assert len(TagStore.open(workspace).current(audit.id)) == before + 1
    page.keyboard.press("u")
    page.get_by_text(re.compile(r"0 of \d+ tagged by anonymous")).wait_for()
    visit.settle()
    visit.go("Ranking")
    visit.title("Ranking")
    page.get_by_text("Spurious gap").first.wait_for()
    page.get_by_text("Highest spuriosity").first.wait_for()
    page.get_by_text("Lowest spuriosity").first.wait_for()
    visit.clean()


def test_compare_and_report(visit: Watched, workspace: Workspace, tmp_path: Path) -> None:
    first, second = (Audit.open(workspace, name) for name in ("first", "second"))
    page = visit.page
    page.goto(f"{visit.address}/compare?audit={first.id}")
    page.locator("h1", has_text="Compare").wait_for()
    visit.settle()
    page.get_by_text("second", exact=False).first.wait_for()
    visit.clean()
    visit.go("Report")
    visit.title("Report")
    with page.expect_download() as waiting:
        page.get_by_role("button", name=re.compile("HTML")).click()
    saved = tmp_path / "report.html"
    waiting.value.save_as(saved)
    text = saved.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") or text.startswith("<!DOCTYPE html>")
    assert not re.search(r"""(src|href)=["']https?://""", text)
    for facts in first.classes:
        assert facts.label in text or facts.name.replace("*", "") in text
    assert second.name == "second"
    visit.clean()


def test_name_a_candidate(visit: Watched, workspace: Workspace) -> None:
    audit, page = Audit.open(workspace, "second"), visit.page
    store, label = TagStore.open(workspace), audit.classes[-1].label
    page.goto(f"{visit.address}/components?audit={audit.id}&class={label}")
    visit.title("Components of a class")
    page.locator(".gallery[data-painted]").wait_for()
    card, field = page.locator(".gallery .card").first, page.locator("input.called").first
    assert field.is_hidden()
    card.get_by_role("button", name="core", exact=True).click()
    field.click()
    page.keyboard.type("<b>o 1</b>")
    page.keyboard.press("ArrowLeft")  # moves in the text, not to another class
    page.keyboard.press("Enter")
    page.locator(".gallery .card .title", has_text="<b>o 1</b> (component").first.wait_for()
    assert visit.parameter("class") == label
    (event,) = [e for e in store.current(audit.id, "anonymous") if e.label == label]
    assert (event.tag, event.called) == (Tag.CORE, "<b>o 1</b>")
    page.goto(f"{visit.address}/tagging?audit={audit.id}&at={label}/pca-5")
    visit.title("Tagging")
    page.get_by_label("Call it").fill("1 snow")
    page.keyboard.press("Tab")
    page.keyboard.press("2")
    page.get_by_text(re.compile(r"2 of \d+ tagged by anonymous")).wait_for()
    names = {e.key.short: e.called for e in store.current(audit.id, "anonymous")}
    assert names["pca-5"] == "1 snow"
    visit.clean()
