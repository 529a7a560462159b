"""Calibration of one audit, set against the cue: by tenth of the tagged cues, split, attribute.

Everything is of held-out images that have an output, as the head says of them that did not see
them, with the logits of all outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.folds import said_of, unseen_logits
from core.errors import InputError
from core.measures.accuracy import ACCURACY, CALIBRATION
from core.measures.conditions import ALL, Condition, conditions
from core.measures.measure import PLAIN, POINTS, SHARE, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, corrected, row
from core.statistics.brier import decomposed
from core.statistics.calibration import calibrated_level, calibration_interval
from core.statistics.estimates import Bounds, StudentMean
from core.statistics.forecasts import Forecasts, forecasts
from core.statistics.intervals import clopper_pearson, log_softmax
from core.types import FloatArray, IntArray, Progress, Reporter

if TYPE_CHECKING:
    from core.measures.measure_requests import MeasureRequest
    from core.tags.decisions import Decisions


class Said(NamedTuple):
    """What a model says of labelled images that it did not see."""

    ids: list[str]
    logits: FloatArray
    """(n, K)."""
    labels: IntArray
    """(n,) output of each label."""
    split: str
    """Which images these are."""


def said(audit: Audit) -> Said:
    """The held-out images whose label is an output.

    Raises
    ------
    InputError
        If there is none.
    """
    images = audit.images[audit.held_out]
    outputs = {label: index for index, label in enumerate(audit.head.outputs)}
    labels = images["label"].map(outputs)
    known = labels.notna().to_numpy(bool)
    if not known.any():
        raise InputError(
            f"no held-out image of audit {audit.name!r} has a label among the model's outputs, "
            "so that nothing is known of its calibration"
        )
    ids = images.index[known].tolist()
    truth = labels[known].to_numpy(np.int64)
    return Said(ids, unseen_logits(audit, ids), truth, said_of(audit))


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    del request
    report(Progress("Holding confidence against accuracy", 0, 0))
    known = said(audit)
    every = forecasts(known.logits, known.labels)
    rows = parts_of_brier(known)
    for condition in conditions(audit, decisions, known.ids):
        rows += calibration_rows(condition, every.of(condition.rows), known.split)
    return rows


def calibration_rows(condition: Condition, found: Forecasts, split: str) -> Rows:
    """Accuracy, confidence and what lies between them, of the images of a condition."""
    n, tests = len(found.right), condition.tests
    figures: list[tuple[Measure, Bounds, str]] = [
        *((measure, bounds, "") for measure, bounds in _rates(found, tests)),
        *((m, estimate.of(values, tests), "") for m, estimate, values in _means(found)),
        _ece(found),
    ]
    over = corrected(tests, "groups")
    return [
        row(
            EVERYWHERE,
            measure,
            value,
            interval=(low, high),
            n=n,
            subject=condition.name,
            split=split,
            note=note or over,
        )
        for measure, (value, low, high), note in figures
    ]


def _rates(found: Forecasts, tests: int) -> Iterator[tuple[Measure, Bounds]]:
    """Accuracy with its exact interval, and how far confidence is above it.

    The confidences of these images are known and no estimate, so that the interval of the
    difference is that of the accuracy: ten images that are all right are no proof of doubt.
    """
    n, hits, sure = len(found.right), int(found.right.sum()), float(found.confidence.mean())
    low, high = map(float, clopper_pearson(hits, n, tests))
    yield ACCURACY, (hits / n, low, high)
    yield OVERCONFIDENCE, (100 * (sure - hits / n), 100 * (sure - high), 100 * (sure - low))


def _means(found: Forecasts) -> Iterator[tuple[Measure, StudentMean, FloatArray]]:
    """Figures that are means over images."""
    yield CONFIDENCE, StudentMean((0.0, 1.0)), found.confidence
    yield NLL, StudentMean((0.0, float("inf"))), -found.log_probability
    yield BRIER, StudentMean((0.0, 2.0)), found.brier


def _ece(found: Forecasts) -> tuple[Measure, Bounds, str]:
    value, low, high, plain = calibration_interval(found.confidence, found.right)
    chance = calibrated_level(found.confidence)
    note = f"plain {plain:.3f}, a calibrated model of these confidences {chance:.3f} by chance"
    return CALIBRATION, (value, low, high), note


def parts_of_brier(known: Said) -> Rows:
    """The Brier score of all images taken apart."""
    parts = decomposed(np.exp(log_softmax(known.logits)), known.labels)
    notes = {
        RELIABILITY: f"a calibrated model of these probabilities {parts.chance:.4f} by chance",
        RESOLUTION: "",
        UNCERTAINTY: f"{parts.within:+.4f} is left inside the bins",
    }
    values = (parts.reliability, parts.resolution, parts.uncertainty)
    return [
        row(EVERYWHERE, measure, value, n=len(known.ids), subject=ALL, split=known.split, note=note)
        for (measure, note), value in zip(notes.items(), values, strict=True)
    ]


CALIBRATED = OnDemand("calibration", "confidence against accuracy", _rows)

CONFIDENCE = Measure(
    "confidence",
    "Mean confidence",
    "Mean probability of what is predicted.",
    direction="near the accuracy is better",
    source="Guo et al. 2017, section 2",
    unit=SHARE,
    views=(),
    part="calibration",
)
OVERCONFIDENCE = Measure(
    "overconfidence",
    "Overconfidence",
    "Mean confidence minus accuracy; what chance adds to a calibration error is not in it.",
    unit=POINTS,
    direction="above 0 the model is surer than it is right; near 0 is better",
    source="Guo et al. 2017, section 2",
    views=(),
    part="calibration",
)
NLL = Measure(
    "nll",
    "Negative log-likelihood (NLL)",
    "Mean of minus the natural logarithm of the label's probability.",
    unit=PLAIN,
    better=-1,
    source="Ovadia et al. 2019, section 3",
    views=(),
    part="calibration",
)
BRIER = Measure(
    "brier",
    "Brier score",
    "Mean over images of the summed squares of probability minus label, in [0, 2]; equal "
    "probabilities for K classes have 1 - 1/K.",
    unit=PLAIN,
    better=-1,
    source="Brier 1950",
    views=(),
    part="calibration",
)
_MURPHY = "Murphy 1973, class by class in 15 bins"
RELIABILITY = Measure(
    "brier_reliability",
    "Brier score: reliability",
    "Squared distance of frequencies from probabilities. The Brier score is reliability minus "
    "resolution plus uncertainty, plus what is left inside the bins.",
    unit=PLAIN,
    better=-1,
    source=_MURPHY,
    views=(),
    part="calibration",
)
RESOLUTION = Measure(
    "brier_resolution",
    "Brier score: resolution",
    "Squared distance of the bins' frequencies from that of all images: how much the "
    "probabilities tell apart.",
    unit=PLAIN,
    better=1,
    source=_MURPHY,
    views=(),
    part="calibration",
)
UNCERTAINTY = Measure(
    "brier_uncertainty",
    "Brier score: uncertainty",
    "The part that the labels have by themselves.",
    unit=PLAIN,
    direction="the same for every model of the same images",
    source=_MURPHY,
    views=(),
    part="calibration",
)
