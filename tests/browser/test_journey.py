"""One journey through the app, from an empty workspace to a tag and a what-if."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import FLAGS, Watched

pytestmark = pytest.mark.browser

PREPARED_MS = 240_000


@pytest.fixture
def visit(chromium: str, started: Callable[[Path], str], tmp_path: Path) -> Iterator[Watched]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        yield Watched(context.new_page(), started(tmp_path / "workspace"))
        browser.close()


def test_from_nothing_to_a_tag_and_a_what_if(visit: Watched) -> None:
    page = visit.page
    page.goto(visit.address)
    visit.title("Spurioscope")
    page.get_by_text("This workspace is empty").wait_for()
    page.locator('[data-testid="stProgress"]').wait_for()
    page.locator("h1", has_text="demo-cues").wait_for(timeout=PREPARED_MS)
    visit.settle()
    page.get_by_text("Planted truth and what was found").wait_for()
    visit.clean()

    visit.go("Components")
    visit.title("Components of a class")
    page.locator(".gallery[data-painted]").wait_for()
    first = visit.parameter("class")
    page.get_by_role("button", name="Next class").click()
    visit.settle()
    assert visit.parameter("class") != first
    group = page.get_by_role("group", name=re.compile("Tag of 1\\. Component"))
    tag = group.get_by_role("button", name="spurious")
    tag.click()
    visit.settle()
    page.reload()
    page.locator(".gallery[data-painted]").wait_for()
    assert tag.get_attribute("aria-pressed") == "true"
    visit.clean()

    label = visit.parameter("class")
    page.locator("button.picture").first.click()
    page.get_by_role("button", name="Take apart on the page Image").click()
    visit.title("Image")
    assert visit.parameter("explain") == label
    page.locator('.gallery[data-painted="1"]').wait_for()
    page.get_by_role("combobox", name="What if the model did not see").click()
    page.get_by_role("option").first.click()
    visit.settle()
    assert visit.parameter("off")
    view = page.url
    visit.clean()

    page.go_back()
    visit.settle()
    assert visit.parameter("off") is None
    page.goto(view)
    visit.title("Image")
    assert page.url == view
    visit.clean()

    visit.go("Compare")
    visit.title("Compare models")
    page.get_by_text("Nothing to compare with").wait_for()
    visit.go("New audit")
    visit.title("New audit")
    page.get_by_text("finished").wait_for()
    page.get_by_role("button", name="Check").click()
    page.get_by_text("Say which images and which model to audit.").wait_for()
    visit.clean()
