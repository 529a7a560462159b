"""Drawn audits of growing size: processor time, memory, and bytes against what was announced."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from benchmarks.growth import line
from benchmarks.measure import Line

SIZES = {1: 4, 10: 40, 100: 400}
"""Classes of an audit, by how many times as large as the first it is."""
PER_CLASS, DIM = 128, 256
MORE = 1.1
"""Memory of the largest over that of the smallest, at most."""

_ONE = """
import json, sys, time
from pathlib import Path
from benchmarks.measure import peak_memory
from core.audits.synth_request import SynthRequest
from core.audits.synthetic import needed, run_synth
from core.storage.workspace import Workspace
folder, images, classes, dim = sys.argv[1], *map(int, sys.argv[2:])
request = SynthRequest(images, classes, dim, components=16)
audit = run_synth(request, Workspace(Path(folder)))
size = sum(path.stat().st_size for path in audit.folder.rglob("*") if path.is_file())
print(json.dumps([time.process_time(), peak_memory(), size / needed(request)]))
"""


def run() -> list[Line]:
    """Every size in a process of its own."""
    costs, peaks, shares = {}, {}, []
    for classes in SIZES.values():
        images = classes * PER_CLASS
        with tempfile.TemporaryDirectory() as folder:
            asked = [sys.executable, "-c", _ONE, folder, *map(str, (images, classes, DIM))]
            done = subprocess.run(asked, capture_output=True, text=True, check=True)
        costs[images], peaks[images], share = json.loads(done.stdout.splitlines()[-1])
        shares.append(share)
    first, *_, last = peaks.values()
    ratio, most = last / first, max(shares)
    said = ", ".join(f"{peak / 2**20:.0f} MiB at {images:,}" for images, peak in peaks.items())
    what = f"peak memory of an audit at 100 x the images over 1 x ({said})"
    return [
        line("processor time of an audit, by images", costs, 1.1),
        Line(what, ratio, f"<= {MORE}", "x", ratio <= MORE),
        Line("bytes on disk over those announced, at most", most, "<= 1", "", most <= 1),
    ]
