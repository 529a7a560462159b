"""The browser's way back, and the keys after a name: what a visitor does between two clicks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(chrome: Browser, started: Callable[..., str], audited: Path) -> Watched:
    address = started(audited)
    page = chrome.new_page()
    page.goto(f"{address}/findings")
    watched = Watched(page, address)
    watched.title("Findings")
    return watched


def test_back_leads_to_the_page_before_and_to_its_view(visit: Watched) -> None:
    for name, title in (("Tagging", "Tagging"), ("Components", "Components of a class")):
        visit.go(name)
        visit.title(title)
    assert visit.parameter("class")
    for title in ("Tagging", "Findings"):
        visit.page.go_back()
        visit.title(title)
        assert visit.parameter("audit")
    visit.page.go_forward()
    visit.title("Tagging")
    visit.clean()


def test_a_link_to_what_changes_something_says_why_it_is_closed(
    chrome: Browser, started: Callable[..., str], audited: Path
) -> None:
    address = started(audited, SPURIOSCOPE_READONLY="1")
    page = chrome.new_page()
    watched = Watched(page, address)
    for name in ("tagging", "new"):
        page.goto(f"{address}/{name}?audit=first")
        watched.title("Not open here")
        page.get_by_text("changes something").wait_for()
        assert page.get_by_text("Page not found").count() == 0
    page.get_by_role("link", name="Open Findings").click()
    watched.title("Findings")
    watched.clean()


def test_keys_tag_after_a_name_was_given(visit: Watched) -> None:
    visit.go("Tagging")
    visit.title("Tagging")
    name = visit.page.get_by_role("textbox", name="Your name")
    name.fill("carla")
    name.press("Enter")
    visit.page.get_by_text("tagged by carla").wait_for()
    visit.page.keyboard.press("2")
    visit.page.get_by_text("1 of").wait_for()
    assert name.input_value() == "carla"
    visit.clean()
