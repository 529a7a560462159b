"""Names of every kind in every kind of place, in a real browser: shown as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from core.markdown import visible
from tests.browser.conftest import Watched
from tests.browser.texts import PLACES
from tests.hostile import HOST, NAMES, UNSEEN

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
SHOWN = [visible(name) for name in (*NAMES, UNSEEN)]
MARKDOWN = '[data-testid="stMarkdownContainer"]'
INNER = {
    "title": "h1 [data-heading-text]",
    "subheader": "h3 [data-heading-text]",
    "caption": "p",
    "radio": f'[role="radiogroup"] label {MARKDOWN}',
    "label": f"label {MARKDOWN}",
    "segmented": f"button {MARKDOWN}",
    "html": "p",
}
"""Where the name is, in places that show more than it."""


@pytest.fixture(scope="module")
def visit(
    chrome: Browser, started: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Watched:
    address = started(tmp_path_factory.mktemp("texts"), app="tests/browser/texts.py")
    return Watched(chrome.new_context(viewport={"width": 1900, "height": 1000}).new_page(), address)


def arrive(visit: Watched, place: str) -> None:
    visit.errors.clear()
    visit.page.goto(f"{visit.address}/?place={place}")
    visit.page.locator('[data-testid="stApp"]').wait_for()


def harmless(visit: Watched) -> None:
    """Nothing was fetched, and nothing leads elsewhere."""
    visit.clean()
    assert visit.page.locator(f'[href*="{HOST}"], [src*="{HOST}"]').count() == 0


@pytest.mark.parametrize("place", PLACES)
def test_a_name_is_read_as_it_is_written(visit: Watched, place: str) -> None:
    arrive(visit, place)
    for number, name in enumerate(SHOWN):
        box = visit.page.locator(f".st-key-{place}-{number}")
        box.wait_for()
        if place == "selectbox":
            assert box.locator("input").input_value() == name
            continue
        inner = box.locator(INNER.get(place, MARKDOWN))
        inner.first.wait_for()
        wanted = f"{name}: {name}, {name}." if place == "markdown" else name
        assert set(inner.all_inner_texts()) == {wanted}
    harmless(visit)


def test_a_tooltip_shows_names_as_they_are_written(visit: Watched) -> None:
    arrive(visit, "help")
    visit.page.get_by_role("button", name="Help").hover()
    tip = visit.page.locator(f'[data-testid="stTooltipContent"] {MARKDOWN}')
    tip.wait_for()
    assert tip.locator("p").all_inner_texts() == SHOWN
    harmless(visit)


def test_a_figure_shows_names_as_they_are_written(visit: Watched) -> None:
    arrive(visit, "plotly")
    points = visit.page.locator(".js-plotly-plot .textpoint text")
    points.first.wait_for()
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in points.all_text_contents()] == SHOWN
    ticks = visit.page.locator(".js-plotly-plot .xtick text").all_text_contents()
    assert set(ticks) <= set(SHOWN)
    assert visit.page.locator(".js-plotly-plot .gtitle").text_content() == SHOWN[0]
    harmless(visit)
