"""Every page in headless Chromium: from a click in the navigation to painted."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clicks import ROOT, SETTLED, browser, server
from benchmarks.measure import MODEL, PHOTOS, Line

TIMES = 12
"""Clicks on every page, after one that is not counted."""


def run() -> list[Line]:
    """Prepare two audits of the same images with tags, and go round the pages."""
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        data = str(PHOTOS) if PHOTOS.is_dir() else "demo:cues"
        for number, model in enumerate((MODEL, MODEL.replace("lite0", "lite1"))):
            _core(folder, "audit", "--data", data, "--model", model, "--name", f"pages-{number}")
        audits = [Audit.open(Workspace(Path(folder)), f"pages-{n}") for n in range(2)]
        label = audits[1].classes[0].label
        tag = ["tags", "add", "pages-1", "--class", label, "--component", "0"]
        _core(folder, *tag, "--tag", "spurious")
        with server(folder) as url, browser() as page:
            times = rounds(page, url)
        images = len(audits[0].images)
    lines = []
    for name, taken in times.items():
        median, slow = statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
        lines += [Line(f"{name}: median", median, "-", "ms"), Line(f"{name}: p95", slow, "-", "ms")]
    return [
        *lines,
        Line("images of each audit", images, "-"),
        Line("models", len(audits), "-"),
        Line("classes", len(audits[0].classes), "-"),
        Line("load of the machine in the last minute", os.getloadavg()[0], "-"),
    ]


def _core(workspace: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "core", *arguments, "--workspace", workspace]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)


def rounds(page: Any, url: str) -> dict[str, list[float]]:
    """Milliseconds per page, by its title in the navigation."""
    page.add_init_script("localStorage.setItem('spurioscope-tour', 'ended')")
    page.goto(url)
    page.wait_for_selector(SETTLED)
    page.wait_for_selector('[data-testid="stSidebarNavLink"]')
    page.wait_for_timeout(2000)
    links = page.locator('[data-testid="stSidebarNavLink"] p')
    names = [text.strip() for text in links.all_inner_texts()]
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(TIMES + 1):
        for name in [*names[1:], names[0]]:  # the first page is open already
            page.wait_for_timeout(300)
            taken = float(page.evaluate(_CLICK, name))
            if turn:
                times[name].append(taken)
    return times


_CLICK = """async (name) => {
  const link = [...document.querySelectorAll('[data-testid="stSidebarNavLink"]')].find(
    (a) => a.innerText.trim().endsWith(name));
  const hosts = () => [...document.querySelectorAll('[data-testid="stMain"] *')].filter(
    (e) => e.shadowRoot?.querySelector('.gallery, .scatter'));
  const painted = () => hosts().every(
    (e) => e.shadowRoot.querySelector('.gallery, .scatter').dataset.painted);
  const settled = () => document.querySelector(
    '[data-testid="stApp"][data-test-script-state="notRunning"]') &&
    !document.querySelector('[data-testid="stMain"] [data-testid="stSkeleton"]') &&
    !document.querySelector('[data-testid="stMain"] [data-stale="true"]');
  const title = () => document.querySelector('[data-testid="stMain"] h1')?.innerText;
  const before = title();
  const began = performance.now();
  link.click();
  let quiet = 0, since = 0;
  while (true) {
    await new Promise((done) => requestAnimationFrame(done));
    if (title() && title() !== before && settled() && painted()) {
      if (!quiet) since = performance.now();
      if (++quiet >= 3) return since - began;
    } else quiet = 0;
    if (performance.now() - began > 30000) return NaN;
  }
}"""
"""Until the page has another title, its script has ended, nothing on it is a placeholder or of the
page before, and every picture of its galleries is on screen; that for three frames."""
