"""Calibration of one audit, set against the cue: by tenth of the tagged cues, split, attribute.

Everything is of held-out images that have an output, as the head says of them that did not see
them, with the logits of all outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.measures.accuracy import ACCURACY, CALIBRATION
from core.measures.conditions import ALL, CUE, CUES, Condition, conditions
from core.measures.measure import PLAIN, POINTS, SHARE, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, corrected, row
from core.measures.unseen import Cooled, Said, cooled, ensemble, members_of, said
from core.statistics.brier import decomposed
from core.statistics.calibration import BINS, bins_of, calibrated_level, calibration_interval
from core.statistics.estimates import Bounds, StudentMean
from core.statistics.forecasts import Forecasts, forecasts
from core.statistics.intervals import clopper_pearson, paired_change
from core.statistics.paired import newly_given
from core.trials.pasted_composites import PLAIN as CLEAN
from core.trials.pasted_composites import are_kept, held_out_composites
from core.types import FloatArray, IntArray, Progress, Reporter

if TYPE_CHECKING:
    from core.measures.measure_requests import MeasureRequest
    from core.tags.decisions import Decisions


PASTES = {
    CLEAN: "images of other classes",
    "after": "the cue pasted on them",
    "control": "the same shape of their own class pasted on them",
}
"""Versions of images that a cue was pasted on, in words."""


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    report(Progress("Holding confidence against accuracy", 0, 0))
    if request.ensemble:
        alone, together = ensemble(audit, members_of(audit, request.ensemble))
        rows = _known(audit, decisions, together, alone=False)
        return [*rows, *_changes(audit, decisions, alone, together)]
    rows = _known(audit, decisions, said(audit))
    for label in decisions.spurious:
        rows += _pasted(audit, decisions, label)
    return rows


def _known(audit: Audit, decisions: Decisions, known: Said, *, alone: bool = True) -> Rows:
    """Every figure of the images as they are, then of the same at a temperature."""
    every, rows = forecasts(known.logits, known.labels), Rows()
    groups = list(conditions(audit, decisions, known.ids))
    for group in groups:
        rows += calibration_rows(group, every.of(group.rows), known.split)
    for name, places in _curves(groups):
        rows += _curve(name, every.of(places), known.split)
    rows += parts_of_brier(known)
    found = cooled(audit, known, alone=alone)
    return rows if found is None else [*rows, *_at_temperature(known, groups, found)]


def _curves(groups: Sequence[Condition]) -> Iterator[tuple[str, IntArray]]:
    """Images whose accuracy is held against their confidence: all, and both ends of the cue."""
    by_name = {group.name: group.rows for group in groups}
    yield ALL, by_name[ALL]
    for name, tenths in ((LEAST_CUE, CUES[:3]), (MOST_CUE, CUES[-3:])):
        parts = [by_name[f"{CUE} {of}"] for of in tenths if f"{CUE} {of}" in by_name]
        if parts:
            yield name, np.concatenate(parts)


LEAST_CUE, MOST_CUE = "three tenths with least of the cue", "three tenths with most of the cue"
BIN = ": confidence "
"""Parts the images of a reliability diagram from the bin."""


def _curve(name: str, found: Forecasts, split: str) -> Iterator[dict[str, object]]:
    """Accuracy and mean confidence of every bin with an image (Guo et al. 2017, figure 1)."""
    bins = bins_of(found.confidence)
    there = np.unique(bins)
    for place in there:
        mine = found.of(bins == place)
        n, hits = len(mine.right), int(mine.right.sum())
        low, high = map(float, clopper_pearson(hits, n, len(there)))
        subject = f"{name}{BIN}{place / BINS:.2f} to {(place + 1) / BINS:.2f}"
        note = corrected(len(there), "bins")
        figures = {BIN_ACCURACY: (hits / n, low, high)}
        figures[BIN_CONFIDENCE] = (float(mine.confidence.mean()), float("nan"), float("nan"))
        for measure, (value, *ends) in figures.items():
            yield row(
                EVERYWHERE,
                measure,
                value,
                interval=(ends[0], ends[1]),
                n=n,
                subject=subject,
                split=split,
                note=note if measure is BIN_ACCURACY else "known of these images, no estimate",
            )


def _at_temperature(known: Said, groups: Sequence[Condition], found: Cooled) -> Rows:
    """The temperature, and what it does to images that it was not fitted on."""
    rows = [temperature_row(found)]
    judged = np.isfinite(found.of_images)
    every = forecasts(known.logits[judged], known.labels[judged], found.of_images[judged])
    place = np.cumsum(judged) - 1
    for group in groups:
        mine = place[group.rows[judged[group.rows]]]
        if len(mine):
            at = group._replace(name=f"{group.name}{AT}")
            same = calibration_rows(at, every.of(mine), known.split)
            rows += [each for each in same if each["measure"] != ACCURACY.name]
    return rows


def temperature_row(found: Cooled) -> dict[str, object]:
    """The temperature itself."""
    ends = (found.low, found.high)
    return row(EVERYWHERE, TEMPERATURE, found.value, interval=ends, n=found.n, split=found.on)


AT = ", at the temperature"
"""Ends the name of a group whose logits were divided by a temperature."""


def _pasted(audit: Audit, decisions: Decisions, label: str) -> Rows:
    """The same of images of other classes with the cue of a class pasted on, where it is stored."""
    if not are_kept(audit, label, decisions):
        return []
    made, facts, rows = held_out_composites(audit, label, decisions), audit.class_facts(label), []
    for name, words in PASTES.items():
        kept = made.usable(facts.class_idx, "after" if name == CLEAN else name) & (made.truth >= 0)
        if not kept.any():
            continue
        logits = made.logits(audit.head, kept, name)
        found = forecasts(logits, made.truth[kept])
        group = Condition("pasted", words, np.flatnonzero(kept), 1)
        rows += calibration_rows(group, found, audit.summary.held_out, facts=facts)
        if name == "after":
            plain = made.logits(audit.head, kept, CLEAN).argmax(axis=1)
            turned = newly_given(plain, logits.argmax(axis=1), facts.class_idx)
            rows += _turned(audit, facts, found.confidence[turned])
    return rows


TURNED = "what the pasted cue turns into the class"


def _turned(audit: Audit, facts: AuditedClass, sure: FloatArray) -> Rows:
    """How sure the model is of images that the cue turned."""
    if not len(sure):
        return []
    value, low, high = StudentMean((0.0, 1.0)).of(sure)
    split = audit.summary.held_out
    return [
        row(
            facts, CONFIDENCE, value, interval=(low, high), n=len(sure), subject=TURNED, split=split
        )
    ]


def _changes(audit: Audit, decisions: Decisions, alone: Said, together: Said) -> Rows:
    """What the mean of probabilities changes against the audit alone, on the same images."""
    before, after = (forecasts(each.logits, each.labels) for each in (alone, together))
    return changes(list(conditions(audit, decisions, alone.ids)), before, after, alone.split)


def changes(groups: Sequence[Condition], before: Forecasts, after: Forecasts, split: str) -> Rows:
    """What an ensemble changes against a model alone, of every group of the same images."""
    rows = []
    for group in groups:
        one, other = before.of(group.rows), after.of(group.rows)
        for measure, bounds in _changed(one, other, group.tests):
            rows.append(
                row(
                    EVERYWHERE,
                    measure,
                    bounds[0],
                    interval=bounds[1:],
                    n=len(group.rows),
                    subject=group.name,
                    split=split,
                    note=corrected(group.tests, "groups"),
                )
            )
    return rows


def _changed(one: Forecasts, other: Forecasts, tests: int) -> Iterator[tuple[Measure, Bounds]]:
    """Every change with its interval, image by image."""
    hits = paired_change(one.right, other.right, tests=tests)
    yield ENSEMBLE_ACCURACY, (100 * hits[0], 100 * hits[1], 100 * hits[2])
    yield ENSEMBLE_NLL, StudentMean().of(one.log_probability - other.log_probability, tests)
    yield ENSEMBLE_BRIER, StudentMean((-2.0, 2.0)).of(other.brier - one.brier, tests)


def calibration_rows(
    condition: Condition, found: Forecasts, split: str, *, facts: AuditedClass = EVERYWHERE
) -> Rows:
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
            facts,
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
    parts = decomposed(known.logits, known.labels)
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


def _depends(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    """Which pasted cues are stored, and what the other models are."""
    members = members_of(audit, request.ensemble)
    kept = [are_kept(audit, label, decisions) for label in decisions.spurious]
    return [kept, [[each.manifest.fingerprint, each.head_key] for each in members]]


CALIBRATED = OnDemand(
    "calibration",
    "confidence against accuracy",
    _rows,
    options=("ensemble",),
    version=3,
    depends=_depends,
    grouped=True,
)

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
BIN_ACCURACY = Measure(
    "bin_accuracy",
    "Accuracy at a confidence",
    "Accuracy of the images whose confidence is in a bin, for a reliability diagram.",
    direction="as high as the confidence there is best",
    source="Guo et al. 2017, figure 1",
    views=(),
    part="calibration",
)
BIN_CONFIDENCE = Measure(
    "bin_confidence",
    "Confidence in a bin",
    "Mean confidence of the same images.",
    direction="beside the accuracy there",
    source="Guo et al. 2017, figure 1",
    views=(),
    part="calibration",
)
TEMPERATURE = Measure(
    "temperature",
    "Temperature",
    "What the logits are divided by so that the likelihood of other images is highest; it changes "
    "no prediction.",
    unit=PLAIN,
    direction="above 1 the model was too sure, below 1 not sure enough",
    source="Guo et al. 2017, section 4.2",
    views=(),
    part="calibration",
)
_ENSEMBLE = "Lakshminarayanan et al. 2017; Ovadia et al. 2019"
_AGAINST = "Mean of the models' probabilities against this model alone, on the same images: {}."
ENSEMBLE_ACCURACY = Measure(
    "ensemble_accuracy",
    "Ensemble: change of accuracy",
    _AGAINST.format("accuracy"),
    unit=POINTS,
    better=1,
    source=_ENSEMBLE,
    views=(),
    part="calibration",
)
ENSEMBLE_NLL = Measure(
    "ensemble_nll",
    "Ensemble: change of the NLL",
    _AGAINST.format("negative log-likelihood"),
    unit=PLAIN,
    better=-1,
    source=_ENSEMBLE,
    views=(),
    part="calibration",
)
ENSEMBLE_BRIER = Measure(
    "ensemble_brier",
    "Ensemble: change of the Brier score",
    _AGAINST.format("Brier score"),
    unit=PLAIN,
    better=-1,
    source=_ENSEMBLE,
    views=(),
    part="calibration",
)
