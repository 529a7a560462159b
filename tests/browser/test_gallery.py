"""The gallery in a real browser: clicks, keys, patching without a flash, broken photos."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

APP = """
import time
from io import BytesIO

import streamlit as st
from PIL import Image
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.ui.kit.gallery import Picture, gallery
from core.ui.frame.media import media_routes, media_url

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "slow": (0, 0, 255)}


def render(kind, name, params):
    if name.startswith("missing"):
        return None
    if name.startswith("slow"):
        time.sleep(1.0)
    out = BytesIO()
    if kind == "photo":
        Image.new("RGB", (32, 24), COLOURS[name.split("/")[0]]).save(out, "PNG")
    else:
        Image.new("RGBA", (32, 24), (255, 255, 0, 200)).save(out, "PNG")
    return out.getvalue(), "image/png"


def picture(name, i):
    photo, overlay = (media_url(kind, f"{name}/{i}.png") for kind in ("photo", "overlay"))
    caption = f"{name} {i} <script>window.attacked = true</script><b>bold</b>"
    return Picture(f"{name}-{i}", photo, overlay, None, caption, f"{name} photo {i}", good=i == 0)


def page():
    name = st.radio("Class", list(COLOURS) + ["missing"])
    count = 2 if name == "green" else 3
    pictures = [picture(name, i) for i in range(count)]
    picked = gallery(pictures, key="grid", label="Photos", controls=True, token=name)
    st.text(f"picked {picked}")


if get_script_run_ctx(suppress_warning=True) is None:
    app = st.App("app.py", routes=media_routes(render))
else:
    page()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=1)
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"The app did not answer within {seconds} s")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    port = free_port()
    options = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
    command += ["--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    server = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "Browser", address: str) -> Iterator["Page"]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    opened.goto(address)
    painted(opened, "red", 3)
    yield opened
    context.close()


def painted(page: "Page", token: str, count: int) -> None:
    page.wait_for_selector(f".gallery[data-key='{token}'][data-painted='{count}']")


def choose(page: "Page", name: str) -> None:
    page.locator("label", has_text=name).last.click()


def sources(page: "Page") -> list[str | None]:
    return [image.get_attribute("src") for image in page.locator("img.photo").all()]


def overlay_opacity(page: "Page", cell: int = 0) -> float:
    page.wait_for_timeout(250)  # the length of the fade
    overlay = page.locator("img.overlay").nth(cell)
    return float(overlay.evaluate("image => getComputedStyle(image).opacity"))


def test_click_and_enter_and_space_pick_a_picture(page: "Page") -> None:
    page.get_by_role("button", name="red photo 1").click()
    page.wait_for_selector("text=picked red-1")
    page.keyboard.press("Tab")  # on to the third picture
    page.keyboard.press("Enter")
    page.wait_for_selector("text=picked red-2")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.wait_for_selector("text=picked red-1")


def test_holding_the_mouse_looks_and_does_not_pick(page: "Page") -> None:
    page.get_by_role("button", name="red photo 1").click(delay=600)
    page.get_by_role("button", name="red photo 2").click()
    page.wait_for_selector("text=picked red-2")


def test_texts_are_text_and_roles_are_named(page: "Page") -> None:
    assert page.get_by_role("list", name="Photos").get_by_role("listitem").count() == 3
    caption = page.locator(".caption").first
    expected = "red 0 <script>window.attacked = true</script><b>bold</b>"
    assert caption.text_content() == expected
    assert caption.get_attribute("title") == expected
    assert page.evaluate("window.attacked") is None
    assert page.locator(".verdict").all_text_contents() == ["✓ correct", "✗ wrong", "✗ wrong"]


def test_new_pictures_are_patched_into_the_same_images(page: "Page") -> None:
    mark = "all => all.forEach((image, i) => { image.mark = i; })"
    page.eval_on_selector_all(".grid img", mark)
    choose(page, "green")
    painted(page, "green", 2)
    assert sources(page) == ["/pictures/photo/green/0.png", "/pictures/photo/green/1.png"]
    marks = page.eval_on_selector_all(".grid img", "all => all.map((image) => image.mark)")
    assert marks == [0, 1, 2, 3, 4, 5]  # three images in each of the two cells that remain


def test_old_picture_stays_until_the_new_one_is_there(page: "Page") -> None:
    photo = page.locator("img.photo").first
    photo.evaluate(
        """image => {
          window.frames_seen = 0;
          window.blanks_seen = 0;
          const look = () => {
            window.frames_seen += 1;
            if (!image.naturalWidth || image.hidden) window.blanks_seen += 1;
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    choose(page, "slow")
    page.wait_for_selector(".cell[data-pending]")
    assert sources(page)[0] == "/pictures/photo/red/0.png"
    painted(page, "slow", 3)
    assert sources(page)[0] == "/pictures/photo/slow/0.png"
    assert page.evaluate("window.frames_seen") > 10
    assert page.evaluate("window.blanks_seen") == 0


def test_a_newer_choice_overtakes_one_that_still_loads(page: "Page") -> None:
    choose(page, "slow")
    page.wait_for_selector(".cell[data-pending]")
    choose(page, "green")
    painted(page, "green", 2)
    page.wait_for_timeout(1500)  # the slow pictures have arrived by now
    assert sources(page) == ["/pictures/photo/green/0.png", "/pictures/photo/green/1.png"]


def test_photo_that_does_not_load_is_named(page: "Page") -> None:
    choose(page, "missing")
    painted(page, "missing", 3)
    assert page.locator(".notice").first.text_content() == ("missing photo 0 (photo not available)")
    assert page.locator("img:visible").count() == 0
    choose(page, "red")
    painted(page, "red", 3)
    assert page.locator("img.photo:visible").count() == 3
    assert page.locator(".notice").first.text_content() == ""


def test_pointing_and_the_key_o_take_the_heatmap_off(page: "Page") -> None:
    assert overlay_opacity(page) == pytest.approx(0.6)
    page.locator(".picture").first.hover()
    assert overlay_opacity(page) == 0
    assert overlay_opacity(page, 1) == pytest.approx(0.6)
    page.locator(".picture").nth(2).focus()
    page.keyboard.press("o")
    assert overlay_opacity(page, 1) == 0
    assert page.get_by_role("status").text_content() == (
        "Heatmaps are hidden; press o to show them."
    )
    page.keyboard.press("o")
    assert overlay_opacity(page, 1) == pytest.approx(0.6)


def test_the_key_o_looks_as_long_as_it_is_held_wherever_the_focus_is(page: "Page") -> None:
    page.locator("h1, label").first.click()
    page.keyboard.down("o")
    assert overlay_opacity(page, 1) == 0
    page.keyboard.down("o")  # as a keyboard repeats it
    page.wait_for_timeout(500)
    assert overlay_opacity(page, 1) == 0
    page.keyboard.up("o")
    assert overlay_opacity(page, 1) == pytest.approx(0.6)
    assert page.get_by_role("status").text_content() == ""


def test_strength_is_kept_by_the_browser_and_followed_by_other_tabs(
    page: "Page", address: str
) -> None:
    other = page.context.new_page()
    other.goto(address)
    painted(other, "red", 3)
    page.get_by_role("slider").fill("0.25")
    assert overlay_opacity(page) == pytest.approx(0.25)
    assert overlay_opacity(other) == pytest.approx(0.25)
    page.reload()
    painted(page, "red", 3)
    assert overlay_opacity(page) == pytest.approx(0.25)
