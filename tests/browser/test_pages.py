"""Every page in a real browser: axe-core, the keyboard, alternative texts, foreign requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.audits.audit import Audit
from core.audits.explained import explain, explain_each
from core.audits.looks import draw, leading_keys
from core.audits.strategies import discover
from core.candidates.cluster_search import Asked
from core.candidates.key import CandidateKey
from core.explain.explainer import Explanation
from core.storage.workspace import Workspace
from core.ui.compare import compare
from core.ui.data import data
from core.ui.frame.pictures import asked_of, method_asked
from core.ui.frame.shell import PAGES
from core.ui.measures import measures
from tests.browser.conftest import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
pytest.importorskip("axe_playwright_python", reason="pip install -r requirements-dev.txt")

VIEWS = {
    f"{page}?{word}={name}": title
    for page, word, views in (
        ("measures", "view", measures.VIEWS),
        ("compare", "view", compare.VIEWS),
        ("data", "look_at", data.VIEWS),
    )
    for name, title in list(views.items())[1:]
}
"""Views beside the first one of a page: the address, and what is chosen there."""

BESIDE = ("exact", "lrp")

EXPLAINED = {
    "strategies": "components?kind=cluster&strategies=1",
    "looks": "components?looks=1",
    "methods": "image?methods=1&beside=exact,lrp&look=colour&component=pca-0",
    "concepts": "image?concepts=1&look=colour",
    "spectral": "map?projection=spectral-psi",
}
"""Views of why an image is decided as it is."""

URLS = [*(entry[3] for entries in PAGES.values() for entry in entries), *VIEWS, *EXPLAINED]
CHOSEN = '[role="radiogroup"] [aria-checked="true"]'
GRAVE = ("serious", "critical")
PAINTED = """() => [...document.querySelectorAll("*")].every((node) => {
  const gallery = node.shadowRoot?.querySelector(".gallery");
  return !gallery || gallery.dataset.painted;
})"""
FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  if (!node || node === document.body) return null;
  if (!node.dataset.reached) node.dataset.reached = "yes";
  return node.tagName;
}"""
LEFT_OUT = """() => {
  const found = [];
  const search = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) search(node.shadowRoot);
      if (!node.matches("button, a[href], input, select, textarea")) continue;
      const inside = node.closest('[data-testid="stMain"]') || root !== document;
      const grouped = node.closest('[role="radiogroup"], [role="grid"], .js-plotly-plot');
      const inGrid = node.closest('[data-testid="stDataFrame"], [data-testid="stElementToolbar"]');
      if (!inside || grouped || inGrid || node.disabled || !node.checkVisibility()) continue;
      if (node.closest('[inert], [aria-hidden="true"]')) continue;
      if (node.type === "file" || node.dataset.reached || node.closest("[data-tag]")) continue;
      if (node.tabIndex < 0 && node.matches('[aria-haspopup="listbox"]')) continue;
      found.push(node.outerHTML.slice(0, 160));
    }
  };
  search(document);
  return found;
}"""
"""Whatever can be pressed or typed into and was never reached. One of a group is reached by Tab,
the others by the arrow keys; a table by Tab, its cells by its own keys; the arrow of a select box
does what its field does, and a chosen value is reached itself: Delete takes it away."""


@pytest.fixture(scope="module")
def address(started: Callable[..., str], audited: Path) -> str:
    return started(audited)


@pytest.fixture(scope="module")
def visits(chrome: Browser, address: str) -> dict[str, Watched]:
    """One window for each colour scheme, in which every page is opened."""
    size = {"width": 1440, "height": 900}
    return {
        scheme: Watched(chrome.new_context(viewport=size, color_scheme=scheme).new_page(), address)
        for scheme in ("light", "dark")
    }


def view(url: str, audited: Path) -> str:
    """The page with something on it: one image, a tagged class."""
    audit = Audit.open(Workspace(audited), "first")
    if url == "image":
        facts, image_id = audit.classes[0], str(audit.images.index[0])
        ((_, said),) = explain(audit, asked_of(audit, facts.class_idx, "auto"), [image_id])
        assert isinstance(said, Explanation)
        return f"image?audit={audit.id}&image={image_id}&explain={facts.label}&enough=1"
    if url in EXPLAINED:
        label, image_id = audit.classes[0].label, str(audit.images.index[0])
        discover(audit, [label], Asked(("psi",), 2))
        draw(audit, leading_keys(audit, label, "pca", 1), "npfv")
        maps = [method_asked(name, label, CandidateKey(label, "pca", 0)) for name in BESIDE]
        list(explain_each(audit, maps, [image_id]))
        of = f"&audit={audit.id}&class={label}&image={image_id}&explain={label}"
        return f"{EXPLAINED[url]}{of}&scope=psi:{label}"
    return f"{url}{'&' if url in VIEWS else '?'}audit={audit.id}"


def arrive(visit: Watched, url: str, audited: Path) -> None:
    visit.errors.clear()
    visit.page.goto(f"{visit.address}/{view(url, audited)}")
    visit.page.locator("h1").first.wait_for()
    visit.page.get_by_role("button", name="Copy link").wait_for()
    visit.page.locator('ul[data-testid="stSidebarNavItems"][role="none"]').wait_for()
    visit.settle()
    visit.page.wait_for_function(PAINTED)
    if url in VIEWS:
        assert VIEWS[url] in visit.page.locator(CHOSEN).all_inner_texts()


def violations(visit: Watched) -> list[dict[str, Any]]:
    """What axe-core finds, serious and critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(visit.page).response["violations"]
    return [v for v in found if v["impact"] in GRAVE]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("url", URLS)
def test_a_page_shuts_nobody_out(
    url: str, scheme: str, visits: dict[str, Watched], audited: Path
) -> None:
    visit = visits[scheme]
    arrive(visit, url, audited)
    said = [
        f"{v['id']}: {node['target']} {node['html'][:200]}"
        for v in violations(visit)
        for node in v["nodes"]
    ]
    assert not said, "\n".join(said)
    if scheme == "light":
        assert cut(visit) == []
        assert never_reached(visit) == []
        assert too_wide(visit) <= 1
    visit.clean()


@pytest.mark.parametrize("url", ["compare?view=tags", "compare?view=robustness"])
def test_tables_of_views_fit(url: str, visits: dict[str, Watched], audited: Path) -> None:
    visit, audit = visits["light"], Audit.open(Workspace(audited), "first")
    visit.page.goto(f"{visit.address}/{url}&audit={audit.id}")
    visit.page.locator("h1").first.wait_for()
    visit.page.locator(TABLES).first.wait_for()
    visit.settle()
    assert cut(visit) == []
    visit.clean()


TABLES = '[data-testid="stDataFrame"], [data-testid="stTable"]'
CUT = """(tables) => [...document.querySelectorAll(tables)].flatMap((table) => {
  const inside = table.querySelector(".dvn-scroller") || table;
  const heads = [...table.querySelectorAll("th")].map((head) => head.textContent.trim());
  const raw = heads.filter((head) => head.includes("_"));
  return inside.scrollWidth > inside.clientWidth + 1 ? [heads.join(", "), ...raw] : raw;
})"""


def cut(visit: Watched) -> list[str]:
    """Tables of which a part is out of sight, and heads of columns that are no words."""
    found: list[str] = visit.page.evaluate(CUT, TABLES)
    return found


def never_reached(visit: Watched) -> list[str]:
    """What the key Tab does not come by, going through the page once."""
    for step in range(200):
        visit.page.keyboard.press("Tab")
        if visit.page.evaluate(FOCUSED) is None and step:
            break
    found: list[str] = visit.page.evaluate(LEFT_OUT)
    return found


def too_wide(visit: Watched) -> int:
    """Pixels by which the page is wider than a narrow window."""
    visit.page.set_viewport_size({"width": 900, "height": 900})
    visit.settle()
    over: int = visit.page.evaluate(
        """() => { const main = document.querySelector('[data-testid="stMain"]');
        return main.scrollWidth - main.clientWidth; }"""
    )
    visit.page.set_viewport_size({"width": 1440, "height": 900})
    return over


def test_a_link_is_copied_by_keyboard(chrome: Browser, address: str, audited: Path) -> None:
    context = chrome.new_context(permissions=["clipboard-read", "clipboard-write"])
    visit = Watched(context.new_page(), address)
    arrive(visit, "findings", audited)
    button = visit.page.get_by_role("button", name="Copy link")
    button.focus()
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("Copied").wait_for()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied == visit.page.url
    assert "audit=" in copied
    context.close()


def test_the_tour_is_taken_and_ends_for_good(chrome: Browser, address: str, audited: Path) -> None:
    context = chrome.new_context()
    visit = Watched(context.new_page(), address)
    page = visit.page
    page.goto(address)
    visit.title("second")
    tour = page.get_by_role("region", name="Tour")
    tour.get_by_text("1 of 6").wait_for()
    page.reload()  # the address has parameters now, but nobody passed it on
    tour.get_by_text("1 of 6").wait_for()
    visit.go("Tagging")
    visit.title("Tagging")
    assert tour.count() == 0  # the step is about another page
    visit.go("Overview")
    tour.get_by_text("1 of 6").wait_for()
    tour.get_by_role("button", name="Next: Components").click()
    visit.title("Components of a class")
    tour.get_by_text("2 of 6").wait_for()
    tour.get_by_role("button", name="End the tour").click()
    tour.wait_for(state="detached")
    page.reload()
    visit.title("Components of a class")
    assert tour.count() == 0
    visit.go("Glossary")
    visit.title("Glossary")
    page.get_by_role("button", name="Show the tour again").click()
    tour.get_by_text("1 of 6").wait_for()
    visit.title("second")
    visit.clean()
    context.close()


def test_who_comes_by_a_link_meets_no_tour(chrome: Browser, address: str, audited: Path) -> None:
    for url in ("overview", "image"):
        context = chrome.new_context()
        visit = Watched(context.new_page(), address)
        arrive(visit, url, audited)
        tour = visit.page.get_by_role("region", name="Tour")
        assert tour.count() == 0
        visit.page.reload()
        visit.settle()
        visit.go("Components")
        visit.title("Components of a class")
        visit.go("Overview")
        visit.title("first")
        assert tour.count() == 0
        visit.go("Glossary")
        visit.page.get_by_role("button", name="Show the tour again").click()
        tour.get_by_text("1 of 6").wait_for()
        visit.clean()
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_click_enlarges_and_shuts_nobody_out(
    chrome: Browser, address: str, audited: Path, scheme: str
) -> None:
    size = {"width": 1440, "height": 900}
    context = chrome.new_context(viewport=size, color_scheme=scheme)
    visit = Watched(context.new_page(), address)
    page = visit.page
    arrive(visit, "tagging", audited)
    page.locator("button.picture").nth(1).click()
    dialog = page.get_by_role("dialog", name="Enlarged picture")
    dialog.wait_for()
    photo, overlay = dialog.locator("img.photo"), dialog.locator("img.overlay")
    page.wait_for_function("image => image.src.includes('size=640')", arg=photo.element_handle())
    second = photo.get_attribute("src")
    assert "/spotlight/" in str(overlay.get_attribute("src"))
    assert violations(visit) == []
    box = dialog.bounding_box()
    assert box is not None
    assert box["height"] <= 900
    assert box["width"] > 500
    page.keyboard.press("ArrowLeft")  # goes to the first picture, and to no other candidate
    page.wait_for_function(
        "([image, other]) => image.src && !image.src.endsWith(other)",
        arg=[photo.element_handle(), second],
    )
    dialog.get_by_role("button", name="Previous").wait_for()
    assert dialog.get_by_role("button", name="Previous").is_disabled()
    first = visit.parameter("at")
    page.keyboard.down("o")
    page.wait_for_timeout(700)
    assert float(overlay.evaluate("image => getComputedStyle(image).opacity")) == 0
    page.keyboard.up("o")
    page.wait_for_timeout(400)
    assert float(overlay.evaluate("image => getComputedStyle(image).opacity")) == 1
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert visit.parameter("at") == first
    page.locator("button.picture").first.click()
    dialog.get_by_role("button", name="Take apart on the page Image").click()
    visit.title("Image")
    assert visit.parameter("component") is not None
    visit.clean()
    context.close()


def test_a_presentation_is_paged_with_the_arrow_keys(
    chrome: Browser, started: Callable[..., str], audited: Path
) -> None:
    visit = Watched(chrome.new_page(), started(audited, SPURIOSCOPE_READONLY="1"))
    visit.page.goto(visit.address)
    visit.title("Findings")
    visit.page.get_by_text("Finding 1 of").wait_for()
    visit.page.keyboard.press("ArrowRight")
    visit.page.get_by_text("Finding 2 of").wait_for()
    visit.page.wait_for_url("**finding=2**")
    visit.page.keyboard.press("ArrowLeft")
    visit.page.get_by_text("Finding 1 of").wait_for()
    size = visit.page.evaluate("getComputedStyle(document.documentElement).fontSize")
    assert float(size.removesuffix("px")) >= 20
    shown = visit.page.locator('[data-testid="stSidebarNavLink"]').all_inner_texts()
    assert not [name for name in shown if "Tagging" in name or "New audit" in name]
    visit.clean()
    visit.page.close()
