"""Lasso the images that carry a planted cue, in a real browser, and read what sets them apart."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial import ConvexHull

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.statistics.intervals import auroc
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from core.ui.kit.palette import CLASSES
from tests.browser.conftest import FLAGS
from tests.conftest import tiny_request

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
RUNNING = '[data-testid="stApp"][data-test-script-state="running"]'
SCATTER = ".scatter[data-painted]"
POINTS = """(root) => {
  const { view } = root;
  const [x, y] = view.spots();
  const { left, top, right, bottom } = view.canvas.getBoundingClientRect();
  const points = [...view.ids].map((id, i) => [id, x[i] + left, y[i] + top]);
  return {
    frame: [left, top, right, bottom],
    points,
    bright: points.map(([id]) => id).filter((_, i) => view.chosen[i]),
  };
}"""


def draw_cues(root: Path) -> Path:
    """Boats and cars; half of the boats, and a tenth of the cars, under a white sky."""
    rng = np.random.default_rng(11)
    rows = []
    for label, colour, rate in (("boat", (200, 60, 60), 0.5), ("car", (60, 60, 200), 0.1)):
        for i in range(60):
            sky = i < 60 * rate
            pixels = rng.normal(90, 25, (64, 64, 3))
            x, y = rng.integers(4, 40), rng.integers(30, 44)
            pixels[y : y + 16, x : x + 20] = colour + rng.normal(0, 30, 3)
            if sky:
                pixels[:24] = rng.normal(245, 6, (24, 64, 3))
            name = f"{label}-{i:02d}.png"
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / name)
            rows.append((name, label, "test" if i % 5 == 0 else "train", int(sky)))
    columns = ["path", "label", "split", "sky"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "manifest.csv", index=False)
    return root / "manifest.csv"


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    data = draw_cues(tmp_path)
    return run_audit(tiny_request(data, name="sky"), Workspace(tmp_path / "workspace"))


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=[*FLAGS, *WEBGL])
        opened = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
        opened.set_default_timeout(30_000)
        yield opened
        browser.close()


def settle(page: Page) -> None:
    page.wait_for_timeout(600)
    page.wait_for_selector(RUNNING, state="detached")
    page.wait_for_timeout(600)


def seen(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.locator(SCATTER).evaluate(POINTS)
    return found


def lasso(page: Page, wanted: set[str]) -> None:
    """Draw a line around the wanted points with the mouse."""
    view = seen(page)
    spots = np.array([[x, y] for image_id, x, y in view["points"] if image_id in wanted])
    middle = spots.mean(axis=0)
    outward = spots - middle
    away = spots + 8 * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    left, top, right, bottom = view["frame"]
    line = np.clip(away[ConvexHull(away).vertices], [left + 1, top + 1], [right - 1, bottom - 1])
    drag(page, [*line, line[0]])


def box(page: Page, image_id: str) -> None:
    """Draw a small box around a point with the mouse."""
    ((x, y),) = [(x, y) for found, x, y in seen(page)["points"] if found == image_id]
    drag(page, [(x - 6, y - 6), (x + 6, y + 6)])


def drag(page: Page, spots: Sequence[Sequence[float]]) -> None:
    page.mouse.move(*spots[0])
    page.mouse.down()
    for x, y in spots[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_lasso_names_the_planted_component_first(
    page: Page, audit: Audit, started: Callable[[Path], str]
) -> None:
    arrays = audit.class_arrays(audit.class_facts("boat").class_idx)
    sky = audit.images.loc[arrays.image_ids, "sky"].to_numpy() == 1
    components = arrays.pca.basis.shape[1]
    apart = [abs(auroc(np.asarray(arrays.alpha[:, i]), sky) - 0.5) for i in range(components)]
    planted = int(np.argmax(apart))
    assert apart[planted] > 0.45

    workspace = Workspace(audit.folder.parent.parent)
    address = started(workspace.root)
    page.goto(f"{address}/map?scope=psi:boat&colour=attribute:sky")
    page.wait_for_selector(SCATTER)
    settle(page)
    wanted = {i for i, s in zip(arrays.image_ids, sky, strict=True) if s}
    lasso(page, wanted)
    page.get_by_text(re.compile(r"\d+ images selected")).wait_for()
    settle(page)
    chosen = set(seen(page)["bright"])
    assert len(chosen & wanted) >= 0.9 * len(wanted)
    assert len(chosen - wanted) <= 0.2 * len(wanted)

    name = f"component {planted + 1}"
    said = page.get_by_text("differ from the other").inner_text()
    assert re.search(rf"show (more|less) of {name} \(AUROC", said), said
    first = page.locator(".gallery .card").first
    assert name.capitalize() in first.inner_text()
    photos = first.locator("img.photo")
    photos.first.wait_for()
    assert photos.count() == min(12, len(chosen))
    for picture in (photos.first, first.locator("img.overlay").first):
        page.wait_for_function("i => i.naturalWidth > 0", arg=picture.element_handle())
    assert TagStore.open(workspace).current(audit.id) == []

    first.get_by_role("button", name="spurious").click()  # a tag leaves the selection alone
    settle(page)
    assert set(seen(page)["bright"]) == chosen
    (saved,) = TagStore.open(workspace).current(audit.id)
    assert (saved.label, saved.component, saved.tag) == ("boat", planted, Tag.SPURIOUS)

    colour = page.get_by_role("combobox", name="Colour")
    colour.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # scrolling closes a list that is open
    colour.click()
    page.get_by_role("option", name="Right or wrong").click()
    settle(page)
    assert set(seen(page)["bright"]) == chosen  # another colour does so too
    assert "colour=correct" in page.url

    more = [image_id for image_id, *_ in seen(page)["points"] if image_id not in chosen][:3]
    page.get_by_role("button", name="Box", exact=True).click()
    page.keyboard.down("Shift")  # adds to what is selected
    for image_id in more:
        box(page, image_id)
        settle(page)
    page.keyboard.up("Shift")
    assert set(seen(page)["bright"]) >= chosen | set(more)

    page.get_by_role("button", name="Clear the selection").click()
    settle(page)
    assert page.get_by_text("images selected").count() == 0
    assert not seen(page)["bright"]


def test_map_is_painted_in_its_colours_and_can_be_moved(
    page: Page, audit: Audit, started: Callable[[Path], str]
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = started(audit.folder.parent.parent)
    page.goto(f"{address}/map?scope=psi:boat&colour=attribute:sky")
    page.wait_for_selector(SCATTER)
    settle(page)
    before = seen(page)
    left, top, right, bottom = before["frame"]
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    sky = audit.images["sky"].to_dict()
    hits = 0
    for image_id, x, y in before["points"]:
        wanted = np.array([int(CLASSES[sky[image_id]][i : i + 2], 16) for i in (1, 3, 5)])
        hits += np.abs(picture[round(y), round(x)] - wanted).max() < 60  # most of it is opaque
    assert hits > 0.9 * len(before["points"])  # a few lie below others

    image_id, x, y = before["points"][0]
    page.mouse.move(x, y)
    tip = page.locator(".scatter .tip")
    tip.locator("img").wait_for()
    assert re.match("boat|car", tip.inner_text())

    page.get_by_role("button", name="Move", exact=True).click()
    middle = ((left + right) / 2, (top + bottom) / 2)
    drag(page, [middle, (middle[0] + 50, middle[1] - 30)])
    _, x, y = seen(page)["points"][0]
    assert (x, y) == pytest.approx((before["points"][0][1] + 50, before["points"][0][2] - 30))
    page.get_by_role("button", name="Zoom in").click()
    spread = [np.ptp([p[1] for p in seen(page)["points"]])]
    page.mouse.move(*middle)
    page.mouse.wheel(0, 400)
    page.wait_for_timeout(300)
    spread.append(np.ptp([p[1] for p in seen(page)["points"]]))
    assert spread[1] < 0.6 * spread[0]
    page.locator(".scatter canvas").focus()
    page.keyboard.press("0")
    assert seen(page)["points"] == before["points"]

    _, x, y = before["points"][0]
    page.mouse.click(x, y)
    page.wait_for_url("**/image?*image=*")
    assert not errors
