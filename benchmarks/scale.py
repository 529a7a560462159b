"""A thousand classes, 64 components, 100,000 images: how fast pages open, and the memory held.

The features are generated (:mod:`benchmarks.generated`); every class has tagged cues. The map is
computed beforehand, as the app does in a job. ``SPURIOSCOPE_SCALED=DIR`` uses the audit of a
workspace that a run has left there; what is missing in it is made, and kept.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.clicks import SETTLED, browser, server
from benchmarks.measure import Line

CLASSES, PER_CLASS = 1000, 100
OPENINGS = 5
PAGES = {
    "overview": "classes painted",
    "ranking": "both ends painted",
    "map": "50,000 points painted",
}
PATHS = {"overview": ""}
"""Addresses that are not the page's name: the first page has the bare one."""

NAME = "generated"
"""Of the audit, as it is generated."""

SECONDS, GIGABYTES = 2.0, 1.5


def run() -> list[Line]:
    """Generate, open every page several times, and ask the server for its memory."""
    from benchmarks.generated import make
    from core.audits.audit import Audit
    from core.audits.map import compute_map
    from core.measures.stored import known
    from core.storage.workspace import Workspace
    from core.tags.decisions import decided
    from core.tags.log import TagStore

    with ExitStack() as stack:
        kept = os.environ.get("SPURIOSCOPE_SCALED")
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory())
        workspace = Workspace(Path(folder))
        if workspace.named(NAME):
            audit = Audit.open(workspace, NAME)
        else:
            audit = make(workspace, classes=CLASSES, per_class=PER_CLASS)
            compute_map(audit, umap=False)
        began = time.perf_counter()
        known(audit, decided(audit, TagStore.open(workspace)))
        taken = time.perf_counter() - began
        lines = opened(folder, len(audit.images), len(audit.classes))
    return [
        *lines,
        Line("gaps and groups of every class, or read where they are stored", taken, "", "s"),
    ]


def opened(folder: str, images: int, classes: int) -> list[Line]:
    """Every line about an audit that is alone in its workspace."""
    lines = []
    with server(folder) as url, browser() as page:
        process = listening(url)
        for name, painted in PAGES.items():
            times = [opening(page, url, name) for _ in range(OPENINGS)]
            what = f"page {name}, {painted}"
            lines.append(Line(f"{what}: opened first", times[0], "", "s"))
            middle = statistics.median(times)
            lines.append(
                Line(f"{what}: median of {OPENINGS}", middle, "< 2", "s", middle < SECONDS)
            )
        held = process.memory_info().rss / 1e9
    return [
        *lines,
        Line("resident memory of the server", held, "< 1.5", "GB", held < GIGABYTES),
        Line("classes", classes, ""),
        Line("images", images, ""),
        Line("load of the machine in the last minute", os.getloadavg()[0], ""),
    ]


def listening(url: str) -> psutil.Process:
    """The process that serves an address."""
    port = int(url.rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            return psutil.Process(connection.pid)
    raise SystemExit(f"nobody listens on {url}")


def opening(page: Any, url: str, name: str) -> float:
    """Seconds from an address entered until what the page is about is painted, in a new tab."""
    with _blank(page):
        began = time.perf_counter()
        page.goto(f"{url}/{PATHS.get(name, name)}", wait_until="commit")
        page.wait_for_function(_PAINTED, arg=name, timeout=120_000)
        taken = time.perf_counter() - began
        page.wait_for_selector(SETTLED, timeout=120_000)
    return taken


@contextmanager
def _blank(page: Any) -> Iterator[None]:
    """Leave the last page, so that nothing of it is still at work."""
    page.goto("about:blank")
    yield
    page.wait_for_timeout(1000)


_PAINTED = """(name) => {
  const main = document.querySelector('[data-testid="stMain"]');
  if (!main) return false;
  const within = (what) => [...main.querySelectorAll('*')].filter(
    (e) => e.shadowRoot && e.shadowRoot.querySelector(what)).length;
  if (name === 'overview') return !!main.querySelector('[data-testid="stDataFrame"] canvas');
  if (name === 'map') return within('.scatter[data-painted]') === 1;
  return within('.gallery[data-painted]') === 2;
}"""
