"""Under shift: planted figures on a network wired by hand, on demo:cues and on blurred photos."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import leant
from benchmarks.corrupted import corruptions
from benchmarks.cotrained import cotraining
from benchmarks.measure import PHOTOS, Line
from benchmarks.planted_cues import STICKER_CLASSES, prepare
from benchmarks.whitebox import encode, fitted, render

TEST = 1500
NOTES = {0.4: (0.67, 0.69, 0.21, 0.43, 0.46, 0.52), 0.9: (0.80, 0.78, 0.14, 0.68, 0.45, 0.52)}
"""By share of class 0 with the patch, as the project's method notes have them: confidence of what
the patch turns and of images as they come, their calibration error and that with the patch, AUROC
of the patched images by MaxLogit and by MSP."""

OWNERS = {"cues": {"minibus": "snow", "van": "ball"}, "sticker": {STICKER_CLASSES[0]: "cue"}}
"""Classes with a planted cue, and its attribute."""


def run() -> list[Line]:
    """Every part."""
    return [line for part in PARTS for line in part()]


class Wired(NamedTuple):
    """Test images of the network wired by hand: features, and what the head says."""

    head: Any
    known: np.ndarray
    """Features of the training images."""
    features: tuple[np.ndarray, np.ndarray]
    """Of images as they come, and of other classes with the patch on every one."""
    labels: tuple[np.ndarray, np.ndarray]
    turned: np.ndarray
    """Which of the patched images become class 0 by it."""


def wired(own: float) -> Wired:
    """The network where a share of class 0 has the patch."""
    images, labels, _ = render(3000, own, 1)
    known = encode(images)
    head = fitted(known, labels)
    plain, clean, patched = (render(TEST, own, 2, patched=p) for p in (None, False, True))
    others = clean[1] != 0
    before, after = encode(clean[0][others]), encode(patched[0][others])
    said = [head.logits(part).argmax(axis=1) for part in (before, after)]
    turned = (said[1] == 0) & (said[0] != 0)
    return Wired(head, known, (encode(plain[0]), after), (plain[1], patched[1][others]), turned)


def patch() -> Iterator[Line]:
    """How sure a network is of images that a patch has turned, and whether it looks odd."""
    from core.statistics.anomaly import Known, scores
    from core.statistics.calibration import calibration_error
    from core.statistics.forecasts import forecasts
    from core.statistics.intervals import auroc

    for own, notes in NOTES.items():
        found = wired(own)
        logits = [found.head.logits(part) for part in found.features]
        before, after = (forecasts(z, y) for z, y in zip(logits, found.labels, strict=True))
        known = Known(found.known, found.head.logits(found.known))
        odd = [scores(x, z, known) for x, z in zip(found.features, logits, strict=True)]
        positive = np.repeat([False, True], [len(part) for part in logits])
        areas = {
            name: auroc(np.concatenate([each[name] for each in odd]), positive) for name in odd[0]
        }
        figures = {
            "confidence of what the patch turns": float(after.confidence[found.turned].mean()),
            "confidence of images as they come": float(before.confidence.mean()),
            "calibration error as they come": calibration_error(before.confidence, before.right),
            "calibration error with the patch": calibration_error(after.confidence, after.right),
            "patched told by MaxLogit (AUROC)": areas["max_logit"],
            "patched told by MSP (AUROC)": areas["msp"],
        }
        for (what, value), noted in zip(figures.items(), notes, strict=True):
            near = abs(value - noted) <= NEAR
            target = f"method notes {noted:.2f} ± {NEAR}"
            yield Line(f"patch on {100 * own:.0f} %: {what}", value, target, "", near)
        for name in ("knn", "typicality"):
            what = f"patch on {100 * own:.0f} %: patched told by {name} (AUROC)"
            yield Line(what, areas[name], "for information: features tell what logits do not")


NEAR = 0.05
"""How far a figure may be from the notes, which were made of other draws of the data."""


def cues() -> Iterator[Line]:
    """Confidence and oddity along planted cues, by tenth, beside random directions."""
    if not PHOTOS.is_dir():
        return
    with tempfile.TemporaryDirectory() as folder:
        from core.storage.workspace import Workspace

        workspace = Workspace(Path(folder))
        for name in OWNERS:
            yield from _cue(prepare(name, 0, workspace), name, workspace)


def _cue(audit: Any, name: str, workspace: Any) -> Iterator[Line]:
    from benchmarks.truth import scores as separation
    from core.candidates.key import CandidateKey
    from core.measures.calibrated import CALIBRATED
    from core.measures.measure_requests import MeasureRequest
    from core.measures.ood import OOD
    from core.measures.stored import make_outcomes
    from core.tags.decisions import decided
    from core.tags.log import TagStore
    from core.types import Tag

    store = TagStore.open(workspace)
    for label, cue in OWNERS[name].items():
        _, mine, told, _ = separation(audit, label, cue)
        number = int(mine.iloc[int(told[:5].argmax())]["component"])
        store.add("planted", audit.id, CandidateKey(label, "pca", number), Tag.SPURIOUS)
    found = decided(audit, store)
    make_outcomes(audit, found, ["pasted", "control"])
    tables = [
        table.table(audit, found, MeasureRequest(audit.id, table.name))
        for table in (CALIBRATED, OOD)
    ]
    for table, rows in zip(tables, (SURE, ODD), strict=True):
        for measure, subject, what in rows:
            mine = table[(table["measure"] == measure) & (table["subject"] == subject)]
            for _, row in mine.iterrows():
                where = f"{name}{', ' + row['class_name'] if row['label'] else ''}"
                ends = f"[{row['low']:.2f}, {row['high']:.2f}], n = {row['n']}"
                yield Line(f"{where}: {what}", float(row["value"]), ends)


SURE = (
    ("overconfidence", "cue least tenth", "overconfidence, least of the cue, points"),
    ("overconfidence", "cue most tenth", "overconfidence, most of the cue, points"),
    ("calibration_error", "images of other classes", "calibration error of other classes"),
    ("calibration_error", "the cue pasted on them", "the same with the cue pasted on"),
    ("temperature", "", "temperature"),
)
ODD = (
    ("ood_without_cue", "max_logit", "odd without the cue, MaxLogit (AUROC)"),
    ("ood_without_cue_control", "max_logit", "the same along random directions"),
    ("ood_without_cue", "knn", "odd without the cue, kNN (AUROC)"),
    ("ood_pasted", "max_logit: the cue", "odd with the cue pasted on, MaxLogit (AUROC)"),
    ("ood_pasted", "knn: the cue", "odd with the cue pasted on, kNN (AUROC)"),
)
"""Measure, what it is of, and that in words."""

PARTS: tuple[Callable[[], Iterator[Line]], ...] = (
    patch,
    cues,
    corruptions,
    *leant.PARTS,
    cotraining,
)
"""In the order of the table."""
