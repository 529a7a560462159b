"""Sixty candidates tagged with the keyboard in headless Chromium, key by key.

The time of a tag is from the key press to the next candidate painted: its name, its first row of
images with overlays.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clicks import ROOT, SETTLED, browser, server
from benchmarks.measure import MODEL, Line

CANDIDATES = 60
KEYS = "11121311214511213111"
"""Mostly core, as published; every answer is pressed."""

SECONDS, P95 = 180.0, 700.0


def run() -> list[Line]:
    """Prepare an audit in a workspace of its own and tag."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "core", "audit", "--data", "demo:cues", "--model", MODEL]
        command += ["--head", "fit", "--limit-per-class", "60", "--workspace", folder]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        return tagged(folder)


def tagged(folder: str) -> list[Line]:
    """Tag the newest audit of a workspace."""
    from core.storage.workspace import Workspace
    from core.tags.log import TagStore

    workspace = Workspace(Path(folder))
    audit_id = workspace.manifests()[0].id
    before = len(TagStore.open(workspace).current(audit_id))
    with server(folder) as url, browser() as page:
        page.goto(f"{url}/tagging?audit={audit_id}&depth=16")
        page.wait_for_selector(".gallery[data-painted]", timeout=60_000)
        page.wait_for_selector(SETTLED)
        began = time.perf_counter()
        times = [press(page, KEYS[i % len(KEYS)]) for i in range(CANDIDATES)]
        whole = time.perf_counter() - began
    saved = len(TagStore.open(workspace).current(audit_id)) - before
    return lines(times, whole, saved)


def lines(times: list[float], whole: float, saved: int) -> list[Line]:
    """The report: ``times`` in milliseconds, ``whole`` in seconds."""
    late = float(np.percentile(times, 95))
    per_tag = 1000 * whole / len(times)
    return [
        Line("candidates tagged by key", saved, f"{CANDIDATES}", "", saved == CANDIDATES),
        Line("all of them", whole, f"< {SECONDS:.0f}", "s", whole < SECONDS),
        Line("time per tag", per_tag, "", "ms"),
        Line("key press to next candidate painted, median", float(np.median(times)), "", "ms"),
        Line("key press to next candidate painted, p95", late, f"< {P95:.0f}", "ms", late < P95),
        Line("key press to next candidate painted, slowest", max(times), "", "ms"),
        Line("load of the machine in the last minute", os.getloadavg()[0], ""),
    ]


def press(page: Any, key: str) -> float:
    """Milliseconds from a key press until the next candidate is painted."""
    before = page.evaluate(_SHOWN)
    page.evaluate(_LISTEN)
    page.keyboard.press(key)
    page.wait_for_function(_NEXT, arg=before, polling="raf", timeout=60_000)
    return float(page.evaluate("performance.now() - window.pressed"))


_LISTEN = """() => {
  window.pressed = performance.now();
  window.addEventListener('keydown', () => { window.pressed = performance.now(); },
    { capture: true, once: true });
}"""

_GALLERY = """[...document.querySelectorAll('[data-testid="stMain"] *')].map(
  (e) => e.shadowRoot && e.shadowRoot.querySelector('.gallery')).find((g) => g)"""

_SHOWN = f"() => {_GALLERY}.dataset.key"

_NEXT = f"""(before) => {{
  const gallery = {_GALLERY};
  return gallery && gallery.dataset.painted && gallery.dataset.key !== before;
}}"""
