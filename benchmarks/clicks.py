"""The app in headless Chromium: first paint, a click on another class, a change of page."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import MODEL, PHOTOS, Line

ROOT = Path(__file__).resolve().parents[1]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
CLICKS = 20
APP = "app.py", "Classes that lean on something"
"""A script, and what it shows when it is useful."""
WORD = "Painted"
BARE = "bare.py", WORD
"""What no app of Streamlit can be faster than: a script without imports of its own."""
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def run() -> list[Line]:
    """Prepare an audit in a workspace of its own and measure."""
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        data = str(PHOTOS) if PHOTOS.is_dir() else "demo:cues"
        prepare = ["audit", "--data", data, "--model", MODEL, "--name", "clicks"]
        command = [sys.executable, "-m", "core", *prepare, "--workspace", folder]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        audit = Audit.open(Workspace(Path(folder)), "clicks")
        labels = [facts.label for facts in audit.classes]
        Path(folder, BARE[0]).write_text(f"import streamlit as st\n\nst.write({WORD!r})\n")
        with browser() as page:
            first_paint(folder, page, BARE)  # what a browser fetches once is not counted
            both = [(first_paint(folder, page), first_paint(folder, page, BARE)) for _ in range(5)]
            with server(folder) as url:
                classes = class_clicks(page, url, labels)
                pages = page_switches(page, url)
        n = len(audit.images)
    paints, bare = zip(*both, strict=True)
    first, empty, second, third = (statistics.median(t) for t in (paints, bare, classes, pages))
    return [
        Line("first useful paint after streamlit run", first, "<= 2", "s", first <= 2),
        Line("the same of a page of Streamlit that says one word, in turns", empty, "-", "s"),
        Line("first useful paint over that", first / empty, "-", "x"),
        Line("click on another class to first row painted", second, "<= 300", "ms", second <= 300),
        Line("change of page, everything painted", third, "<= 600", "ms", third <= 600),
        Line("images of the audit", n, "-"),
        Line("load of the machine in the last minute", os.getloadavg()[0], "-"),
    ]


@contextmanager
def browser() -> Iterator[Any]:
    """One page of a headless Chromium."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("no Chromium on this machine: install it to measure clicks")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium.new_page(viewport={"width": 1440, "height": 900})
        chromium.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(workspace: str, port: int, script: str = APP[0]) -> subprocess.Popen[bytes]:
    """``streamlit run app.py`` on a workspace, or another script of that."""
    file = script if script == APP[0] else str(Path(workspace, script))
    command = [sys.executable, "-m", "streamlit", "run", file, "--server.port", str(port)]
    return subprocess.Popen(
        [*command, "--server.headless", "true"],
        cwd=ROOT,
        env={**os.environ, "SPURIOSCOPE_WORKSPACE": workspace},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def server(workspace: str) -> Iterator[str]:
    """A running app; yields its address."""
    port = free_port()
    process = launch(workspace, port)
    try:
        url = f"http://localhost:{port}"
        wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str) -> None:
    """Return when the server answers."""
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{url} did not answer")


def first_paint(workspace: str, page: Any, shown: tuple[str, str] = APP) -> float:
    """Seconds from the command to the classes, or what else a script shows, on the screen."""
    script, words = shown
    port = free_port()
    began = time.perf_counter()
    process = launch(workspace, port, script)
    try:
        wait_for(f"http://localhost:{port}")
        page.goto(f"http://localhost:{port}", wait_until="commit")
        page.get_by_text(words).first.wait_for(timeout=60_000)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def class_clicks(page: Any, url: str, labels: list[str]) -> list[float]:
    """Milliseconds from a click on "next class" to its first row of overlays, in the browser."""
    for label in labels:  # every class once: warm caches, as in a prepared audit
        page.goto(f"{url}/components?class={label}")
        page.wait_for_selector(".gallery[data-painted]", timeout=60_000)
        page.wait_for_selector(SETTLED)
        page.wait_for_timeout(1500)
    times = []
    for _ in range(CLICKS):
        page.wait_for_selector(SETTLED)
        page.wait_for_timeout(400)
        times.append(float(page.evaluate(_CLICK)))
    return times


_CLICK = """async () => {
  const host = [...document.querySelectorAll('*')].find(
    (e) => e.shadowRoot && e.shadowRoot.querySelector('.gallery'));
  const gallery = () => host.shadowRoot.querySelector('.gallery');
  const before = gallery().dataset.key;
  const button = [...document.querySelectorAll('button')].find(
    (b) => b.innerText.includes('Next class'));
  const began = performance.now();
  button.click();
  while (true) {
    await new Promise((done) => requestAnimationFrame(done));
    const now = gallery();
    if (now.dataset.painted && now.dataset.key !== before) break;
    if (performance.now() - began > 20000) return NaN;
  }
  return performance.now() - began;
}"""


def page_switches(page: Any, url: str) -> list[float]:
    """Milliseconds from a click in the navigation until the new page stands still, painted."""
    page.goto(url)
    page.wait_for_selector(SETTLED)
    page.wait_for_timeout(2000)
    times: list[float] = []
    for turn in range(CLICKS + 2):
        page.wait_for_timeout(500)
        taken = float(page.evaluate(_SWITCH, ("Components", "Overview")[turn % 2]))
        if turn >= 2:  # each page once before: warm caches
            times.append(taken)
    return times


_SWITCH = """async (name) => {
  const painted = () => {
    if (name === 'Overview') return document.querySelector(
      '[data-testid="stMain"] [data-testid="stDataFrame"] canvas');
    return [...document.querySelectorAll('[data-testid="stMain"] *')].some(
      (e) => e.shadowRoot && e.shadowRoot.querySelector('.gallery[data-painted]'));
  };
  const title = () => document.querySelector('[data-testid="stMain"] h1')?.innerText;
  const before = title();
  const link = [...document.querySelectorAll('[data-testid="stSidebarNavLink"]')].find(
    (a) => a.innerText.includes(name));
  const began = performance.now();
  link.click();
  while (true) {
    await new Promise((done) => requestAnimationFrame(done));
    const settled = document.querySelector(
      '[data-testid="stApp"][data-test-script-state="notRunning"]');
    if (settled && title() !== before && painted()) break;
    if (performance.now() - began > 20000) return NaN;
  }
  return performance.now() - began;
}"""
