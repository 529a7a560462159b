"""Parts of classes as large as those of ImageNet, from stored maps: seconds and memory.

Features and maps are drawn (:mod:`core.audits.synthetic`), as wide as the packaged encoder's;
written by one process, so that the memory of the one that is measured is that of the analysis. What
a thousand classes would take is what a class takes, a thousand times: extrapolated, not measured.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Line, peak_memory
from benchmarks.parts import parts_timed
from core.types import Progress

if TYPE_CHECKING:
    from core.audits.subject import Subject

FEW, CLASSES, PER_CLASS = 5, 20, 1300
WIDTH = 1280
MORE = 1.1
"""Peak of all classes over that of the first few, at most."""


def run() -> list[Line]:
    """Analyse an audit whose maps are all kept, and look at the peak after so many classes."""
    from core.audits.analysis import analyse

    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            subject = pool.submit(written, folder).result()
        peaks = dict[int, float]()

        def report(progress: Progress) -> None:
            if progress.unit == "classes":
                peaks[progress.done] = peak_memory() / 1e9

        with parts_timed(found=True) as times:
            analyse(subject, None, report)
        stored = sum(shard.files.maps.stat().st_size for shard in subject.store.shards) / 1e9
    wall, cpu = (statistics.median(getattr(t, clock) for t in times) for clock in ("wall", "cpu"))
    ratio = peaks[CLASSES] / peaks[FEW]
    what = f"parts of a class of {PER_CLASS:,} images"
    return [
        Line(f"{what}: median of {CLASSES} classes", wall, "", "s"),
        Line(f"{what}: the same, processor time", cpu, "", "s"),
        Line("parts of 1,000 such classes, extrapolated", 1000 * wall / 3600, "", "h"),
        Line("the same, processor time, extrapolated", 1000 * cpu / 3600, "", "h"),
        Line("resident memory before the first class", peaks[0], "", "GB"),
        Line(f"largest resident memory of {FEW} classes", peaks[FEW], "", "GB"),
        Line(f"largest resident memory of {CLASSES} classes", peaks[CLASSES], "", "GB"),
        Line(f"that of {CLASSES} over that of {FEW}", ratio, f"<= {MORE}", "x", ratio <= MORE),
        Line("maps on disk", stored, "", "GB"),
        Line("load of the machine in the last minute", os.getloadavg()[0], ""),
    ]


def written(folder: str) -> Subject:
    """The audit as the pass leaves it, all its maps kept."""
    from core.audits.synth_request import SynthRequest
    from core.audits.synthetic import features_of, manifest_of
    from core.storage.files import write_json
    from core.storage.workspace import Workspace

    images, workspace = CLASSES * PER_CLASS, Workspace(Path(folder))
    request = SynthRequest(images=images, classes=CLASSES, dim=WIDTH, maps=images)
    manifest = manifest_of(request, workspace)
    files = workspace.files(manifest.id)
    write_json(files.manifest, manifest)
    return features_of(files.folder, manifest, request.spectra, request.maps)
