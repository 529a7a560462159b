"""The report as a file in a real browser whose network is off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from core.audits.audit import Audit
from core.report.document import compose, render
from core.report.material import gather
from core.storage.workspace import Workspace
from tests.browser.conftest import Watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
FAILED = "() => [...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
WIDER = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def file(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of both audits, in a folder of its own."""
    workspace = Workspace(audited)
    evidence = [gather(Audit.open(workspace, name), workspace) for name in ("first", "second")]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(compose(evidence)), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1200, 400])
def test_it_opens_without_network_and_shuts_nobody_out(
    chrome: Browser, file: Path, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    size = {"width": width, "height": 900}
    # axe-core is a script, and the document allows none
    context = chrome.new_context(viewport=size, offline=True, bypass_csp=True)
    visit = Watched(context.new_page(), file.as_uri())
    visit.page.goto(file.as_uri())
    assert visit.page.locator("article").count() == 4
    assert visit.page.locator("img").count() > 0
    assert visit.page.evaluate(FAILED) == 0
    assert not visit.page.evaluate(WIDER)
    assert not visit.foreign
    assert not visit.errors
    found = axe.Axe().run(visit.page).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    context.close()


def test_its_policy_stops_scripts_and_requests(chrome: Browser, file: Path) -> None:
    planted = file.with_name("planted.html")
    Image.new("RGB", (8, 8)).save(file.with_name("other.png"))
    more = "<script>document.title = 'ran'</script><img id=x src='other.png'></body>"
    planted.write_text(file.read_text(encoding="utf-8").replace("</body>", more), encoding="utf-8")
    page = chrome.new_page()
    page.goto(planted.as_uri())
    assert page.title() != "ran"
    assert page.evaluate("() => document.getElementById('x').naturalWidth") == 0
    page.close()
