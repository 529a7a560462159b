"""Figures of predictions alone: accuracy, calibration, and what a correction left as it was."""

from __future__ import annotations

import numpy as np

from core.audits.audit import Audit
from core.measures.cells import Context, Figure
from core.measures.measure import ALL, BOTH, EFFECT, EVERY, MCNEMAR, SEVERAL, Measure, Sample
from core.measures.scope import Scope
from core.statistics.bootstrap import RESAMPLES
from core.statistics.calibration import BINS, bin_sums, calibrated_level, calibration_interval
from core.statistics.intervals import share
from core.statistics.paired import Sampled, resamples
from core.types import BoolArray, FloatArray


def _accuracy(context: Context, audit: Audit) -> Figure:
    """Share of the held-out images that are predicted correctly."""
    hits = context.shared.correct(audit)
    sampled = Sampled(float(hits.mean()), np.full(RESAMPLES, np.nan))
    return Figure(sampled, share(float(hits.sum()), len(hits)), len(hits))


def _calibration(context: Context, audit: Audit) -> Figure:
    """Expected calibration error, 15 bins, without what chance adds to it."""
    right, sure = context.shared.correct(audit), context.shared.confidence(audit)
    value, low, high, plain = calibration_interval(sure, right)
    chance = calibrated_level(sure)
    note = f"plain {plain:.3f}, a calibrated model of these confidences {chance:.3f} by chance"
    return Figure(Sampled(value, _resampled(context, right, sure)), (low, high), len(right), note)


ALIKE = 500
"""Resamples that say how alike the calibration errors of two models are."""


def _resampled(context: Context, right: BoolArray, sure: FloatArray) -> FloatArray:
    """The plain error (ALIKE,) under resamples that are the same for every model."""
    sums = np.zeros((ALIKE, BINS))
    for label in context.shared.labels:
        rows = context.shared.rows(label)
        weights = resamples(len(rows), label, count=ALIKE)
        sums += bin_sums(sure[rows], right[rows], weights)
    found: FloatArray = np.abs(sums).sum(axis=1) / len(right)
    return found


def _correct(scope: Scope, label: str) -> Sample:
    """Whether each image of a class, or of all, is predicted correctly."""
    ids = scope.mine(label)
    return Sample(ids, scope.correct(ids))


def _same(scope: Scope, label: str) -> Sample | None:
    """Whether each image is predicted as the parent does."""
    if scope.parent is None or scope.parent.id == scope.audit.id:
        return None
    ids = scope.mine()
    old, new = (a.images_of(ids)["prediction"].to_numpy() for a in (scope.parent, scope.audit))
    note = "predictions of the corrected model that are those of the old one"
    return Sample(ids, (old == new).astype(np.float64), note=note)


ACCURACY = Measure(
    "accuracy",
    "Accuracy",
    "Share of the held-out images predicted correctly.",
    better=1,
    source="",
    views=(SEVERAL, EFFECT),
    about=(ALL, EVERY),
    test=MCNEMAR,
    sample=_correct,
    figure=_accuracy,
)
AGREEMENT = Measure(
    "agreement",
    "Agreement",
    "Share of held-out images predicted as before.",
    direction="higher: less was changed",
    views=(EFFECT,),
    about=(ALL,),
    sample=_same,
)
CALIBRATION = Measure(
    "calibration_error",
    "Calibration error (ECE)",
    "Mean distance of confidence from accuracy in 15 bins, without what chance adds to it.",
    better=-1,
    source="Guo et al. 2017, section 2",
    views=(SEVERAL,),
    test=BOTH,
    figure=_calibration,
)
