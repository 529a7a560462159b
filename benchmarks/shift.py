"""Under shift: planted figures on a network wired by hand, and on blurred photos with a sticker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.measure import Line
from benchmarks.whitebox import encode, fitted, render

TEST = 1500
PLANTED = {0.1: None, 0.4: (0.67, 0.69, 0.21, 0.43), 0.9: (0.80, 0.78, 0.14, 0.68)}
"""By share of class 0 with the patch: confidence of flipped and of clean predictions, calibration
error without and with the patch, as the project's method notes have them."""


def run() -> list[Line]:
    """Every part."""
    return [line for part in PARTS for line in part()]


def wired(own: float) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """A head, labels of test images of other classes, their logits without and with the patch."""
    images, labels, _ = render(3000, own, 1)
    head = fitted(encode(images), labels)
    pairs = [render(TEST, own, 2, patched=patched) for patched in (False, True)]
    others = pairs[0][1] != 0
    clean, patched = (head.logits(encode(images[others])) for images, _, _ in pairs)
    return head, pairs[0][1][others], clean, patched


def calibration() -> Iterator[Line]:
    """How sure a network is of images that a cue has turned."""
    from core.statistics.calibration import calibration_error
    from core.statistics.forecasts import forecasts

    for own, planted in PLANTED.items():
        _, labels, clean, patched = wired(own)
        before, after = forecasts(clean, labels), forecasts(patched, labels)
        turned = (patched.argmax(axis=1) == 0) & (clean.argmax(axis=1) != 0)
        found = (
            float(after.confidence[turned].mean()),
            float(before.confidence.mean()),
            calibration_error(before.confidence, before.right),
            calibration_error(after.confidence, after.right),
        )
        words = (
            "confidence of what the patch turns",
            "confidence without the patch",
            "calibration error without the patch",
            "calibration error with the patch",
        )
        for place, (what, value) in enumerate(zip(words, found, strict=True)):
            target = f"method notes: {planted[place]:.2f}" if planted else ""
            yield Line(f"patch on {100 * own:.0f} % of its class: {what}", value, target)


PARTS: tuple[Callable[[], Iterator[Line]], ...] = (calibration,)
"""In the order of the table."""
