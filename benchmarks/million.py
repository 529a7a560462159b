"""The map of a million images: PCA of all of them, a stratified sample of them drawn.

Features are generated (:mod:`benchmarks.generated`), fewer of them than a real encoder has.
``SPURIOSCOPE_MILLION=DIR`` uses the audit of a workspace that a run has left there, or keeps it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from benchmarks.clicks import browser, server
from benchmarks.generated import NAME
from benchmarks.measure import Line, peak_memory
from benchmarks.scale import listening, opening

CLASSES, PER_CLASS, WIDTH = 100, 10_000, 64
OPENINGS = 5
GIGABYTES = 1.5


def run() -> list[Line]:
    """Generate, compute the map in a process of its own, and open its page several times."""
    from benchmarks.generated import make
    from core.audits.synth_request import SynthRequest
    from core.storage.workspace import Workspace

    with ExitStack() as stack:
        kept = os.environ.get("SPURIOSCOPE_MILLION")
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory())
        workspace = Workspace(Path(folder))
        if not workspace.named(NAME):
            images = CLASSES * PER_CLASS
            make(workspace, SynthRequest(images, CLASSES, WIDTH, NAME))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            taken, held, placed, shown = pool.submit(mapped, folder).result()
        with server(folder) as url, browser() as page:
            times = [opening(page, url, "map") for _ in range(OPENINGS)]
            served = listening(url).memory_info().rss / 1e9
    middle = statistics.median(times)
    return [
        Line("images placed by PCA", placed, "1,000,000", "", placed == CLASSES * PER_CLASS),
        Line("images drawn, every class with its share", shown, "<= 50,000", "", shown <= 50_000),
        Line("PCA of all of them", taken, "", "s"),
        Line("largest resident memory of that process", held, "", "GB"),
        Line(f"page map: median of {OPENINGS}", middle, "", "s"),
        Line("resident memory of the server", served, f"< {GIGABYTES}", "GB", served < GIGABYTES),
        Line("load of the machine in the last minute", os.getloadavg()[0], ""),
    ]


def mapped(folder: str) -> tuple[float, float, int, int]:
    """Seconds and gigabytes that the map takes, images that it places, and that are drawn."""
    from core.audits.audit import Audit
    from core.audits.map import compute_map
    from core.storage.workspace import Workspace

    audit = Audit.open(Workspace(Path(folder)), NAME)
    shutil.rmtree(audit.files.map_of(None).folder, ignore_errors=True)  # of an earlier run
    began = time.perf_counter()
    found = compute_map(audit, umap=False)
    taken = time.perf_counter() - began
    held = peak_memory() / 1e9
    return taken, held, len(found.pca), len(found.sample)
