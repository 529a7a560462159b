"""Parts of classes as large as those of ImageNet, from stored maps: seconds and memory.

Features and maps are generated (:mod:`benchmarks.generated`), as wide as the packaged encoder's;
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
from types import SimpleNamespace
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
            subject, model = pool.submit(written, folder).result()
        peaks = dict[int, float]()

        def report(progress: Progress) -> None:
            if progress.unit == "classes":
                peaks[progress.done] = peak_memory() / 1e9

        with parts_timed(found=True) as times:
            analyse(subject, model, report)  # type: ignore[arg-type]
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


def written(folder: str) -> tuple[Subject, SimpleNamespace]:
    """The audit as the pass leaves it, all its maps kept."""
    from benchmarks.generated import features_of, model_of
    from core.storage.workspace import Workspace

    model, images = model_of(CLASSES, WIDTH), CLASSES * PER_CLASS
    return features_of(Workspace(Path(folder)), model, PER_CLASS, room=images), model
