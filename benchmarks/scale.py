"""A thousand classes, 64 components, 100,000 images: how fast pages open, and the memory held.

The features are generated (:mod:`benchmarks.generated`), and maps of a few images of every class,
in which its parts are found; every class has tagged cues, and figures of what its candidates do
that are drawn (a few classes are tried, for the time). The map and the doubted labels are computed
beforehand, as the app does in jobs. ``SPURIOSCOPE_SCALED=DIR`` uses the audits of a workspace that
a run has left there; what is missing in it is made, and kept.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.clicks import ROOT, SETTLED, browser, server
from benchmarks.generated import NAME
from benchmarks.measure import Line

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

CLASSES, PER_CLASS = 1000, 100
OPENINGS = 5
PAGES = {
    "overview": "classes painted",
    "ranking": "both ends painted",
    "map": "50,000 points painted",
    "data": "first doubted label painted",
}
PATHS = {"overview": ""}
"""Addresses that are not the page's name: the first page has the bare one."""

FEW = 10
"""Classes of the audit that the large one's page is set against."""

WIDTH = 1280
"""Features of an image."""

PARTS, MAPPED = 4, 6
"""Parts of a class, and training images of it whose maps are kept."""

TRIED = 3
"""Classes whose candidates are tried."""

SECONDS, GIGABYTES, TIMES = 2.0, 1.5, 4.0


def run() -> list[Line]:
    """Generate, open every page several times, and ask the server for its memory."""
    from core.measures.stored import known
    from core.storage.workspace import Workspace
    from core.tags.decisions import decided
    from core.tags.log import TagStore

    with ExitStack() as stack:
        kept = os.environ.get("SPURIOSCOPE_SCALED")
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory())
        workspace = Workspace(Path(folder))
        small, audit = generated(workspace, "few", FEW), generated(workspace, NAME, CLASSES)
        began = time.perf_counter()
        known(audit, decided(audit, TagStore.open(workspace)))
        taken = time.perf_counter() - began
        lines = opened(folder, audit)
        scripts = [*script_lines(folder, small, audit), trial_line(audit)]
    return [
        *lines,
        *scripts,
        Line("gaps and groups of every class, or read where they are stored", taken, "", "s"),
    ]


def generated(workspace: Workspace, name: str, classes: int) -> Audit:
    """The audit of a workspace with its map and figures of trials, made where it is not there."""
    from benchmarks.generated import make, try_candidates
    from core.audits.audit import Audit
    from core.audits.map import compute_map
    from core.audits.synth_request import SynthRequest
    from core.features.sample import POOL
    from core.quality.label_problems import label_problems

    if workspace.named(name):
        found = Audit.open(workspace, name)
        label_problems(found)
        return found
    room = max(classes * MAPPED + POOL, 3 * POOL)
    size = {"images": classes * PER_CLASS, "classes": classes, "dim": WIDTH}
    audit = make(workspace, SynthRequest(**size, name=name, maps=room, parts=PARTS))
    compute_map(audit, umap=False)
    try_candidates(audit)
    label_problems(audit)
    return audit


def script_lines(folder: str, small: Audit, audit: Audit) -> list[Line]:
    """The script of Overview without a browser: opened by a process, and run again by a click.

    Processor time: a busy machine does not change it.
    """
    os.environ["SPURIOSCOPE_WORKSPACE"] = folder
    (_, few), (first, again) = (_script(one) for one in (small, audit))
    ratio, what = again / few, "script of Overview, processor time"
    return [
        Line(f"{what}: first in its process", first, f"< {SECONDS:g}", "s", first < SECONDS),
        Line(f"{what}, run again: median of {OPENINGS}", again, "", "s"),
        Line(f"the same over that of {FEW} classes", ratio, f"<= {TIMES:g}", "x", ratio <= TIMES),
    ]


def _script(audit: Audit) -> tuple[float, float]:
    """Seconds of a first run and, in the middle, of further ones."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.query_params["audit"] = audit.id
    times = []
    for _ in range(OPENINGS + 1):
        began = time.process_time()
        app.run()
        times.append(time.process_time() - began)
        assert not app.exception
        assert [title.value for title in app.title] == [audit.name]
    return times[0], statistics.median(times[1:])


def trial_line(audit: Audit) -> Line:
    """What it takes to try the candidates of a class among a thousand; not kept."""
    from core.trials.leaning import Trial

    trial = Trial(audit)
    trial.of_class(audit.classes[0])  # the pool is read, once for all classes
    began = time.perf_counter()
    for facts in audit.classes[1 : TRIED + 1]:
        trial.of_class(facts)
    taken = (time.perf_counter() - began) / TRIED
    return Line(f"put in and taken away of a class among {len(audit.classes):,}", taken, "", "s")


def opened(folder: str, audit: Audit) -> list[Line]:
    """Every line about an audit in a browser."""
    lines = []
    with server(folder) as url, browser() as page:
        process = listening(url)
        for name, painted in PAGES.items():
            times = [opening(page, url, name, audit.id) for _ in range(OPENINGS)]
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
        Line("classes", len(audit.classes), ""),
        Line("images", len(audit.images), ""),
        Line("load of the machine in the last minute", os.getloadavg()[0], ""),
    ]


def listening(url: str) -> psutil.Process:
    """The process that serves an address."""
    port = int(url.rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            return psutil.Process(connection.pid)
    raise SystemExit(f"nobody listens on {url}")


def opening(page: Any, url: str, name: str, audit_id: str = "") -> float:
    """Seconds from an address entered until what the page is about is painted, in a new tab."""
    query = f"?audit={audit_id}" if audit_id else ""
    with _blank(page):
        began = time.perf_counter()
        page.goto(f"{url}/{PATHS.get(name, name)}{query}", wait_until="commit")
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
  if (name === 'data') return within('.gallery[data-painted]') === 3;  // and two of its classes
  return within('.gallery[data-painted]') === 2;
}"""
