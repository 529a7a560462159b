"""Every correction of the head against planted shortcuts, over three seeds: also where it fails.

``demo:cues`` with both of its cues, and a sticker on blurred photos. Methods see training images
and a tagged component alone, or drawn cue masks as well; a strength that is not the published one
is chosen on held-out training images. Judged on the test split: the share of images of other
classes without the cue that turn into its class when it is pasted, and accuracy on images without
any cue, averaged over classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import PHOTOS, Line
from benchmarks.planted_cues import Case, case_of, prepare

SEEDS = (0, 1, 2)
FROM, TAGS, MASKS, LOST = 0.6, 0.3, 0.2, 4.0
"""Flip rate before; to be reached from tags and with masks; points of accuracy that may be lost."""

Way = tuple[str, dict[str, str], str]
"""Method, options, and what chooses its strength: ``published`` or ``chosen``."""

SIGNAL = {"cav": "signal", "bias": "kept"}
PLAIN: tuple[Way, ...] = (
    ("spufix", {}, "published"),
    ("spufix", {"reference": "low"}, "published"),
    ("head", {}, "published"),
    ("head", {"variant": "contrast"}, "published"),
    ("pclarc", SIGNAL, "published"),
    ("pclarc", {**SIGNAL, "fit": "refit"}, "published"),
    ("aclarc", {"cav": "signal"}, "published"),
    ("rclarc", SIGNAL, "published"),
    ("projection", {"write": "signal", "bias": "kept"}, "published"),
    ("projection", {"write": "signal"}, "chosen"),
    ("rrclarc", {**SIGNAL, "fit": "refit"}, "published"),
    ("rrclarc", {"cav": "signal"}, "chosen"),
    ("pclarc", {"cav": "signal"}, "chosen"),
)
"""From the tags, by differences between images of high and of low alpha."""

PAIRED: tuple[Way, ...] = (
    ("projection", {}, "chosen"),
    ("pclarc", {}, "chosen"),
    ("pclarc", {"bias": "kept"}, "chosen"),
    ("rclarc", {}, "chosen"),
    ("pclarc", {"fit": "refit"}, "published"),
    ("aclarc", {}, "published"),
    ("rrclarc", {"fit": "refit"}, "published"),
    ("rrclarc", {"bias": "kept"}, "chosen"),
    ("rrclarc", {}, "chosen"),
    ("parts", {}, "chosen"),
)
"""By pairs of features with and without the cue; ``pclarc`` as it is offered first."""


@dataclass(frozen=True)
class Result:
    """What one way did on one case."""

    way: str
    flips: float
    """Mean over the cues."""
    accuracy: float
    """Of images without any cue, averaged over classes."""
    strength: float
    overall: float
    """Accuracy of all test images, most of whose cues fit their class."""


def run() -> list[Line]:
    """Every way on every case; means over the seeds."""
    from core.storage.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        return run_in(Workspace(Path(folder)))


def run_in(workspace: Any) -> list[Line]:
    """The same in a workspace, whose finished audits of the cases are used."""
    lines = []
    for name in ("cues", "sticker"):
        if name == "sticker" and not PHOTOS.is_dir():
            continue
        found = [list(results(case_of(prepare(name, seed, workspace), name))) for seed in SEEDS]
        lines += summary(name, found)
    return lines


def results(case: Case) -> Iterator[Result]:
    """The head before, then every way from tags, from overlays and from masks."""
    from core.corrections.choice import fold_heads

    yield judged(case, "before", case.head, 0.0)
    starts = fold_heads(case.head, case.tags)
    plain, overlays = replace(case.tags, pairs=None, erased={}), case.tags
    masks = replace(case.tags, pairs=case.pairs)
    for basis, evidence, ways in (
        ("tags", plain, PLAIN),
        ("tags, overlays", overlays, PAIRED),
        ("masks", masks, PAIRED),
    ):
        for way in ways:
            yield tried(case, basis, evidence, way, starts)


def tried(case: Case, basis: str, evidence: Any, way: Way, starts: list[Any]) -> Result:
    """One way on one case."""
    from core.corrections.choice import sweep
    from core.corrections.head_methods import mitigate
    from core.corrections.methods import METHODS

    name, options, by = way
    strength = METHODS[name].published
    if by == "chosen":
        strength = sweep(name, case.head, evidence, starts=starts, **options).strength
    head = mitigate(name, case.head, evidence, strength, **options)
    said = " ".join([name, *(f"{k}={v}" for k, v in options.items()), f"({by})"])
    return judged(case, f"{basis}: {said}", head, strength)


def judged(case: Case, way: str, head: Any, strength: float) -> Result:
    """Flip rate over the cues and accuracy on images without any, on the test split."""
    predicted = head.logits(case.features).argmax(axis=1)
    clean, rates = ~case.present.any(axis=1), []
    for cue, (rows, features) in zip(case.tags.cues, case.pasted, strict=True):
        after = head.logits(features).argmax(axis=1) == cue.output
        rates.append((after & (predicted[rows] != cue.output)).mean())
    right = predicted == case.labels
    shares = [right[clean & (case.labels == k)].mean() for k in np.unique(case.labels)]
    return Result(way, float(np.mean(rates)), float(np.mean(shares)), strength, float(right.mean()))


def summary(name: str, found: list[list[Result]]) -> list[Line]:
    """Means over the seeds; targets for what is offered first."""
    before = [results[0] for results in found]
    flips = float(np.mean([r.flips for r in before]))
    lines = [
        Line(f"{name}: flip rate before", flips, f"> {FROM:g}", "", flips > FROM),
        Line(
            f"{name}: accuracy without the cue before",
            100 * float(np.mean([r.accuracy for r in before])),
            "",
            "%",
        ),
        Line(
            f"{name}: accuracy on all test images before",
            100 * float(np.mean([r.overall for r in before])),
            "",
            "%",
        ),
    ]
    first = {
        f"{basis}: pclarc (chosen)": limit
        for basis, limit in (("tags, overlays", TAGS), ("masks", MASKS))
    }
    for same in list(zip(*found, strict=True))[1:]:
        way = same[0].way
        rate = float(np.mean([r.flips for r in same]))
        lost = 100 * float(
            np.mean([b.accuracy - r.accuracy for b, r in zip(before, same, strict=True)])
        )
        used = ", ".join(f"{r.strength:g}" for r in same)
        limit = first.get(way)
        lines += [
            Line(
                f"{name}, {way}, strength {used}: flip rate",
                rate,
                "" if limit is None else f"< {limit:g}",
                "",
                None if limit is None else rate < limit,
            ),
            Line(
                f"{name}, {way}: accuracy lost without the cue",
                lost,
                "" if limit is None else f"<= {LOST:g}",
                "points",
                None if limit is None else lost <= LOST,
            ),
        ]
        if limit is not None:
            overall = 100 * float(np.mean([r.overall for r in same]))
            lines.append(Line(f"{name}, {way}: accuracy on all test images", overall, "", "%"))
    return lines
