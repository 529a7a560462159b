"""Corrections of the head on stored features of 100,000 images: no image is decoded."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import Line

IMAGES, FEATURES, CLASSES, CUES, PAIRS = 100_000, 2_048, 100, 10, 100
BUDGET = 60.0
METHODS = ("spufix", "projection", "pclarc", "head", "rrclarc")


def run() -> list[Line]:
    """Seconds of every method on ten classes at once, from a memory map."""
    with tempfile.TemporaryDirectory() as folder:
        return timed(Path(folder))


def timed(folder: Path) -> list[Line]:
    """The lines, with features and evidence written into a folder first."""
    from core.corrections.head_methods import mitigate
    from core.corrections.methods import METHODS as KNOWN

    head, evidence = made(folder)
    seconds: dict[str, float] = {}
    for name in METHODS:
        began = time.perf_counter()
        mitigate(name, head, evidence, KNOWN[name].published)
        seconds[name] = time.perf_counter() - began
    began = time.perf_counter()
    mitigate("rrclarc", head, evidence, 1.0, cav="signal", fit="refit")
    refit = time.perf_counter() - began
    total = sum(seconds.values()) + refit
    size = f"{IMAGES:,} x {FEATURES:,}, {CUES} classes"
    return [
        *(Line(f"{name}, {size}", value, "", "s") for name, value in seconds.items()),
        Line(f"rrclarc refitted, {size}", refit, "", "s"),
        Line(f"all of them, {size}", total, f"<= {BUDGET:g}", "s", total <= BUDGET),
    ]


def made(folder: Path) -> tuple[object, object]:
    """A head over CLASSES and evidence with a cue and pairs in CUES of them."""
    from core.candidates.pca import class_pca
    from core.corrections.evidence import UNKNOWN, Cue, Evidence, Pairs, high_against_low
    from core.models.linear import Head

    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, CLASSES, IMAGES))
    features = np.lib.format.open_memmap(
        folder / "features.npy", "w+", np.float32, (IMAGES, FEATURES)
    )
    centres = rng.normal(0, 0.3, (CLASSES, FEATURES)).astype(np.float32)
    shifts = rng.normal(0, 0.5, (CUES, FEATURES)).astype(np.float32)
    for k in range(CLASSES):
        rows = np.flatnonzero(labels == k)
        part = np.abs(rng.standard_normal((len(rows), FEATURES), np.float32) + centres[k])
        if k < CUES:
            part += (rng.random(len(rows)) < 0.7)[:, None] * shifts[k]
        features[rows] = part
    names = [str(k) for k in range(CLASSES)]
    weight = (0.05 * centres).astype(np.float32)
    head = Head(weight, np.zeros(CLASSES, np.float32), names, names, "keep")
    cues, present = [], np.full((IMAGES, CUES), UNKNOWN, np.int8)
    for k in range(CUES):
        own = np.flatnonzero(labels == k)
        pca = class_pca(features[own], weight[k], 4)
        cues.append(Cue(k, pca.basis[:, 0], pca.weight, pca.mean))
        present[own, k] = high_against_low(cues[-1].alpha(features[own]))
    rows = np.concatenate([rng.choice(np.flatnonzero(labels != k), PAIRS) for k in range(CUES)])
    cue = np.repeat(np.arange(CUES), PAIRS)
    hidden = np.array(features[rows])
    pairs = Pairs(hidden + shifts[cue], hidden, cue, rows=rows)
    return head, Evidence(features, labels, tuple(cues), present, pairs)
