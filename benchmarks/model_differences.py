"""Differences of two models on the same images, for ``python -m benchmarks coverage``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.coverage import Case, Draw, Drawn, true_precision
from core.types import FloatArray

SHARED = 0.7
"""Correlation of both models' scores of an image, beside what its group adds."""
GUARDED = "guarded against an image that was not drawn"


def differences() -> Iterator[Case]:
    """Of average precision, of the area under the ROC curve, and of the calibration error."""
    for first, second in ((20, 20), (50, 75)):
        for apart in (1, 2):
            what = f"of two models, {first} + {second} images, 1 and {apart} apart"
            few = "few images" if first < 50 else ""
            yield Case(f"average precision {what}", _scored(first, second, apart, True), GUARDED)
            yield Case(f"AUROC {what}", _scored(first, second, apart, False), few)
    for images in (60, 300, 2000):
        for off in ((0.03, 0.1), (0.0, 0.1)):
            what = f"calibration errors {off[0]:g} and {off[1]:g} of two models, {images} images"
            yield Case(what, _errors(images, off), "a bound")


def _scored(first: int, second: int, apart: int, precision: bool) -> Draw:
    """Both models see the same images; one tells the groups apart by 1, the other by ``apart``."""
    from scipy.special import ndtr

    from core.statistics.estimates import Area, Precision
    from core.statistics.intervals import combined
    from core.statistics.paired import Sampled, bootstrap_interval, resamples, shared_difference
    from core.statistics.paired import difference as minus

    positive, estimate = np.arange(first + second) < first, Precision() if precision else Area()
    weights = np.concatenate(
        [resamples(n, str(n) + k) for n, k in ((first, "a"), (second, "b"))], 1
    )
    truths = [
        true_precision(first, second, up, "plain") if precision else float(ndtr(up / np.sqrt(2)))
        for up in (1, apart)
    ]

    def draw(rng: np.random.Generator) -> Drawn:
        scores = _alike(rng, len(positive)) + np.outer([1, apart], positive)
        values = [np.column_stack([each, positive]) for each in scores]
        bounds = [estimate.of(each) for each in values]
        found = [
            Sampled(b[0], estimate.under(v, weights)) for v, b in zip(values, bounds, strict=True)
        ]
        before = combined(bounds[1], bounds[0], signs=(1, -1))[1:]
        if precision:
            now = shared_difference(found[0], bounds[0][1:], found[1], bounds[1][1:])[1:]
        else:
            now = bootstrap_interval(minus(found[1], found[0]))
        return truths[1] - truths[0], (before[0], before[1]), now

    return draw


def _alike(rng: np.random.Generator, n: int) -> FloatArray:
    """Scores (2, n) of unit variance of the same images."""
    found: FloatArray = np.sqrt(SHARED) * rng.normal(size=n) + np.sqrt(1 - SHARED) * rng.normal(
        size=(2, n)
    )
    return found


def _errors(images: int, off: tuple[float, float]) -> Draw:
    """Confidence is too large by another amount in either model, everywhere."""
    from core.measures.accuracy import ALIKE
    from core.statistics.calibration import bin_sums, calibration_interval
    from core.statistics.intervals import combined
    from core.statistics.paired import Sampled, resamples, shared_difference

    weights = resamples(images, "images", count=ALIKE)

    def draw(rng: np.random.Generator) -> Drawn:
        sure, level = 0.25 + 0.75 * rng.beta(2, 0.8, images), rng.random(images)
        right = [level < sure - each for each in off]
        bounds = [calibration_interval(sure, each)[:3] for each in right]
        found = [
            Sampled(b[0], np.abs(bin_sums(sure, r, weights)).sum(axis=1) / images)
            for r, b in zip(right, bounds, strict=True)
        ]
        before = combined(bounds[1], bounds[0], signs=(1, -1))[1:]
        now = shared_difference(found[0], bounds[0][1:], found[1], bounds[1][1:])[1:]
        return off[1] - off[0], (before[0], before[1]), now

    return draw
