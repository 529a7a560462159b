"""Ratios that say in minutes whether something became slow: ``python -m benchmarks --quick``.

Both halves of a ratio are measured in the same run and by processor time, so that neither the
machine nor its load decides. A ratio that falls by more than a third below the one in
``recorded.json`` fails; ``--record`` writes there the least of three measurements.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.growth import exponent, measured
from benchmarks.measure import MODEL, Line, photos

RECORDED = Path(__file__).with_name("recorded.json")

FALLEN = 2 / 3
"""Share of the recorded ratio below which a measured one fails."""

Ratios = Mapping[str, float]
"""By what they say; a larger one is better."""


def processor(call: Callable[[], object], repeats: int = 3) -> float:
    """Processor seconds of the fastest of several calls."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def class_pca() -> Ratios:
    """Components of a class against the whole covariance."""
    from benchmarks.components import published
    from core.candidates.pca import class_pca as ours

    rng = np.random.default_rng(0)
    features, weight = np.abs(rng.normal(size=(150, 1280))), rng.normal(size=1280)
    mine = processor(lambda: [ours(features, weight, 64) for _ in range(10)], 9) / 10
    return {"class PCA over a full eigh": processor(lambda: published(features, weight)) / mine}


def the_pass() -> Ratios:
    """Decoding and forward passes alone over the pass that does both and stores what they say."""
    from core.audits.run import plan_of
    from core.data.open import open_data
    from core.features.extract import encode_padded, extract, prepare
    from core.features.shards import FeatureStore
    from core.models.load import load_model

    with tempfile.TemporaryDirectory() as folder:
        table = open_data(str(photos(Path(folder) / "photos", 96)), workspace=Path(folder))
        model = load_model(MODEL).to("cpu", "fp32")
        paths = [table.root / path for path in table.frame["path"]]

        def alone() -> None:
            pixels = [prepare(path, model.preprocess).pixels for path in paths]
            for start in range(0, len(pixels), 32):
                encode_padded(model, np.stack(pixels[start : start + 32]), 32)

        def whole(number: list[int] = [0]) -> None:  # noqa: B006 - counts the calls
            number[0] += 1
            store = FeatureStore(Path(folder) / str(number[0]))
            store.extend(plan_of(table, store))
            how = {"batch_size": 32, "workers": 2, "keep_maps": True, "advanced": lambda _: None}
            extract(model, table.root, store.shards, **how)  # type: ignore[arg-type]

        alone()
        return {"decoding and forward passes over the pass": processor(alone, 2) / processor(whole)}


def overlays() -> Ratios:
    """Overlays from stored maps: against captum's Grad-CAM, and against their product alone."""
    from benchmarks.heatmaps import run

    found = {line.what: line.value for line in run()}
    names = "stored maps over Grad-CAM", "a product of as many maps over an overlay"
    return {name: found[name] for name in names}


SMALL, LARGE, CLASSES = 2_000, 20_000, 5
"""Images of drawn audits, and their classes: ten times as many images of the same."""


def drawn() -> Ratios:
    """Growth of drawn audits with images: to write them, to read of them, to open pages on them."""
    from core.audits.audit import Audit
    from core.audits.synth_request import SynthRequest
    from core.audits.synthetic import run_synth
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))

        def written(images: int) -> float:
            request = SynthRequest(images, CLASSES, 128, str(images), components=8)
            return processor(lambda: run_synth(request, workspace), 1)

        def read(images: int) -> float:
            def call() -> None:
                audit = Audit.open(workspace, str(images))
                ids = audit.class_arrays(0).image_ids[:100]
                audit.features(ids), audit.images_of(ids)

            call()
            return processor(call, 5)

        writing, reading = (measured(cost, SMALL, LARGE) for cost in (written, read))
        opened = [{n: page_costs(folder, str(n)) for n in (SMALL, LARGE)} for _ in range(3)]
    found = {
        "images written, per second: ten times the images over one": 10
        * writing[SMALL]
        / writing[LARGE],
        "an audit opened and read: one time the images over ten": reading[SMALL] / reading[LARGE],
    }
    memory = {n: min(each[n][1] for each in opened) for n in (SMALL, LARGE)}
    paged = {
        page: {n: min(each[n][0][page] for each in opened) for n in (SMALL, LARGE)}
        for page in QUICK_PAGES
    }
    whole = {n: sum(cost[n] for cost in paged.values()) for n in (SMALL, LARGE)}
    found["pages: one time the images over ten"] = whole[SMALL] / whole[LARGE]
    found["memory of the app: one time the images over ten"] = memory[SMALL] / memory[LARGE]
    costs = {"writing": writing, "opening and reading": reading}
    costs |= {f"page {page}": cost for page, cost in paged.items()}
    for what, of in costs.items():
        print(f"growth with images: {what} as their power {exponent(of):.2f}")
    return found


QUICK_PAGES = ("overview", "components", "data", "map", "image")


def page_costs(workspace: str, name: str) -> tuple[dict[str, float], float]:
    """Processor seconds of every page, run again, and the memory then, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.page_scripts", workspace, name, *QUICK_PAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {page: sum(times) for page, times in found["pages"].items()}, found["memory"]


PARTS = (class_pca, the_pass, overlays, drawn)


def in_one_thread(*, record: bool = False) -> int:
    """Run :func:`main` in a process of one thread: threads that wait count as processor time."""
    command = [sys.executable, "-m", "benchmarks.quick", *["--record"] * record]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=one, check=False).returncode


def ratios() -> Ratios:
    """Every ratio, measured once."""
    return {name: ratio for part in PARTS for name, ratio in part().items()}


RECORDINGS = 3
"""Measurements of which the least of each ratio is recorded."""


def recorded_anew() -> int:
    """Measure several times and keep the least of each ratio; returns the exit code."""
    found = [ratios() for _ in range(RECORDINGS)]
    kept = {name: round(min(each[name] for each in found), 3) for name in found[0]}
    RECORDED.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(kept, indent=1))
    return 0


def main() -> int:
    """Measure every ratio and compare it with the recorded one; returns the exit code."""
    if not RECORDED.exists():
        print(f"{RECORDED.name} is not there yet: run --quick --record on a quiet machine")
        return 2
    recorded: dict[str, float] = json.loads(RECORDED.read_text())
    found = ratios()
    print("", f"| {' | '.join(Line.head)} |", "|---" * len(Line.head) + "|", sep="\n")
    for name, ratio in found.items():
        least = FALLEN * recorded.get(name, 0.0)
        print(Line(name, ratio, f">= {least:.3g}", "x", ratio >= least).row(), flush=True)
    lost = sorted(recorded.keys() - found.keys())
    fallen = [name for name, ratio in found.items() if ratio < FALLEN * recorded.get(name, 0.0)]
    for name in [*fallen, *lost]:
        print(f"{name}: recorded {recorded[name]:.3g}, now {found.get(name, 0):.3g}")
    return int(bool(fallen or lost))


if __name__ == "__main__":
    sys.exit(recorded_anew() if "--record" in sys.argv else main())
