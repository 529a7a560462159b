"""Figures by spuriosity, from stored predictions: gaps, and how class-specific a candidate is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.candidate import Candidate, alphas_of
from core.measures.cells import mean_gap, worst_gap
from core.measures.measure import EFFECT, ONE, POINTS, SEVERAL, Measure, Rows, Sample
from core.measures.rows import EVERYWHERE, of_classes, row
from core.measures.scope import Scope
from core.statistics.estimates import Bounds, Gap
from core.statistics.gap_control import gap_control
from core.statistics.intervals import mean_interval, share, side_size
from core.statistics.spuriosity import reliability
from core.tags.decisions import values_of
from core.types import FloatArray, count_of

CHUNK = 4096
"""Images whose features are in memory at once."""

BLOCK = 512
"""Candidates whose alpha on every held-out image is in memory at once."""

_RANKINGS = "Moayeri et al. 2023, section 3"


def gap_sample(scope: Scope, label: str) -> Sample | str:
    """Whether each image is predicted correctly, and its spuriosity."""
    table = scope.ranked(label)
    if len(table) < 2:
        return (
            f"{count_of(len(table), 'image')} with a spuriosity on {scope.split}; a gap needs two"
        )
    ids, k = table["image_id"].tolist(), side_size(len(table))
    values = np.column_stack([scope.correct(ids), table["spuriosity"]])
    note, tests = f"k = {k} of {len(ids)} images a side", len(scope.decisions.spurious)
    return Sample(ids, values, note=note, size=2 * k, tests=tests)


def _side(scope: Scope, label: str, *, high: bool) -> Sample | str:
    """The k images of highest or of lowest spuriosity."""
    found = gap_sample(scope, label)
    if isinstance(found, str):
        return found
    k = side_size(len(found.ids))
    part = slice(k) if high else slice(len(found.ids) - k, None)
    return Sample(found.ids[part], found.values[part, 0], note=found.note)


def _candidates(scope: Scope, label: str) -> list[Sample] | str:
    """The same as for the gap, by one spurious candidate alone."""
    spurious = scope.decisions.spurious[label]
    if isinstance(why := gap_sample(scope, label), str):
        return why
    ids = scope.owner.arrays_of(label).image_ids
    there = scope.among(ids)
    ids = [image_id for image_id, kept in zip(ids, there, strict=True) if kept]
    alpha = values_of(scope.owner, label, spurious)[there]
    correct, k = scope.correct(ids), side_size(len(ids))
    tests = sum(len(found) for found in scope.decisions.spurious.values())
    return [
        Sample(
            ids,
            np.column_stack([correct, alpha[:, i]]),
            subject=candidate.title,
            note=f"k = {k} a side",
            size=2 * k,
            tests=tests,
            over="candidates",
            key=str(candidate.key),
        )
        for i, candidate in enumerate(spurious)
    ]


def _controls(scope: Scope, label: str, *, name: str) -> Rows | str | None:
    """What random directions open beside a gap: of the spuriosity, or of every candidate alone."""
    found = (
        gap_sample(scope, label) if name == "spurious_gap_control" else _candidates(scope, label)
    )
    if isinstance(found, str):
        return None  # said with the gap
    samples = [found] if isinstance(found, Sample) else found
    ids = list(samples[0].ids)
    values = np.column_stack([sample.values[:, 1] for sample in samples])
    logit, components = _logit_of(scope, label, ids)
    beside = gap_control(scope.correct(ids).astype(bool), values, logit, components)
    return [
        row(
            scope.owner.class_facts(label),
            _CONTROLS[name],
            float(gap),
            n=sample.size or 0,
            subject=sample.subject,
            split=scope.split,
            note=_alike(float(p)),
        )
        for sample, gap, p in zip(samples, beside.gap, beside.p, strict=True)
        if gap == gap
    ]


def _alike(p: float) -> str:
    """Whether errors go along with a cue as with its control; there may be no error to compare."""
    if np.isnan(p):
        return "every image is right, or every one wrong: no errors to compare"
    return f"errors go along with the cue as with random directions: p {p:.3f}"


def _logit_of(scope: Scope, label: str, ids: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Logit (n,), but for a constant, and alpha (n, r) of the components of a class's images."""
    arrays = scope.owner.arrays_of(label)
    rows = pd.Index(arrays.image_ids).get_indexer(list(ids))
    components = np.asarray(arrays.alpha[rows, : arrays.components], np.float64)
    return components.sum(axis=1) + np.asarray(arrays.residual, np.float64)[rows], components


def reading(scope: Scope, label: str, bounds: Bounds) -> str:
    """What the interval of a gap says."""
    _, low, high = bounds
    if low > 0:
        return "clarifying"
    return "confusing" if high < 0 else "not certain"


def _mean_rows(scope: Scope) -> Rows:
    """Mean gap; its interval from those of the classes (Zou & Donner 2008), one comparison."""
    samples = [gap_sample(scope, label) for label in scope.decisions.spurious]
    found = [sample for sample in samples if isinstance(sample, Sample)]
    if not found:
        return []
    bounds = np.array([Gap().of(sample.values) for sample in found])
    mean, (low, high) = float(bounds[:, 0].mean()), mean_interval(*bounds.T)
    return [
        row(
            EVERYWHERE,
            MEAN_GAP,
            mean,
            interval=(low, high),
            n=sum(sample.size or 0 for sample in found),
            split=scope.split,
            reading=reading(scope, "", (mean, low, high)),
            note=of_classes(len(found)),
        )
    ]


def _reliability_rows(scope: Scope) -> Rows:
    """How class-specific every tagged candidate is, over the held-out images of all classes."""
    audit, decisions = scope.audit, scope.decisions
    tagged = [
        (label, tag, candidate)
        for tag, found in (("spurious", decisions.spurious), ("core", decisions.core))
        for label in found
        if label in decisions.spurious
        for candidate in found[label]
    ]
    images = audit.images_of(scope.held)
    codes, labels = pd.factorize(images["label"])
    place = {label: code for code, label in enumerate(labels)}
    rows: Rows = []
    for start in range(0, len(tagged), BLOCK):
        part = tagged[start : start + BLOCK]
        values = _alphas(audit, [candidate for *_, candidate in part], images.index.tolist())
        for value, (label, tag, candidate) in zip(values, part, strict=True):
            known = np.isfinite(value)
            value, own = value[known], codes[known] == place.get(label, -1)
            if n := int(own.sum()):
                found = reliability(value, own)
                rows.append(
                    row(
                        audit.class_facts(label),
                        RELIABILITY,
                        found,
                        interval=share(found * n, n),
                        n=n,
                        subject=candidate.title,
                        split=scope.split,
                        reading=f"chance {own.mean():.3f}",
                        note=f"tagged {tag}",
                    )
                )
    return rows


def _alphas(audit: Audit, candidates: Sequence[Candidate], ids: Sequence[str]) -> FloatArray:
    """Alpha (m, n) float32 of some candidates on any images; NaN where it is not known."""
    found = np.full((len(candidates), len(ids)), np.nan, np.float32)
    quick = [i for i, c in enumerate(candidates) if c.needs == "features"]
    for start in range(0, len(ids) if quick else 0, CHUNK):
        part = slice(start, min(start + CHUNK, len(ids)))
        features = audit.features(ids[part])
        found[quick, part] = alphas_of([candidates[i] for i in quick], features).T
    for i in set(range(len(candidates))) - set(quick):
        found[i] = audit.known_alpha(candidates[i], ids)
    return found


SPURIOUS_GAP = Measure(
    "spurious_gap",
    "Spurious gap",
    "Accuracy on the k images of highest spuriosity minus that on the k lowest.",
    POINTS,
    "positive: clarifying, the cue helps; negative: confusing",
    source=_RANKINGS,
    views=(ONE, EFFECT),
    part="gap",
    sample=gap_sample,
    estimate=Gap(),
    reading=reading,
)
MEAN_GAP = Measure(
    "mean_spurious_gap",
    "Mean spurious gap",
    "Mean of the spurious gaps over the classes that have one, every model by its own tags.",
    POINTS,
    "positive: clarifying on average; nearer to zero: less depends on the cues",
    source=_RANKINGS,
    views=(ONE, SEVERAL),
    part="gap",
    everywhere=_mean_rows,
    figure=mean_gap,
)
RELIABILITY = Measure(
    "reliability",
    "Reliability",
    "Share of the class among the n held-out images of highest alpha, n the class's size.",
    direction="in [0, 1]; higher: more specific to the class; core expected above spurious",
    source=_RANKINGS,
    views=(ONE,),
    part="gap",
    everywhere=_reliability_rows,
)
ACCURACY_HIGH_SPURIOSITY = Measure(
    "accuracy_high_spuriosity",
    "Accuracy at high spuriosity",
    "Accuracy on the k images of highest spuriosity.",
    better=1,
    source=_RANKINGS,
    views=(ONE,),
    part="gap",
    sample=lambda scope, label: _side(scope, label, high=True),
)
ACCURACY_LOW_SPURIOSITY = Measure(
    "accuracy_low_spuriosity",
    "Accuracy at low spuriosity",
    "Accuracy on the k images of lowest spuriosity.",
    better=1,
    source=_RANKINGS,
    views=(ONE,),
    part="gap",
    sample=lambda scope, label: _side(scope, label, high=False),
)
CANDIDATE_GAP = Measure(
    "candidate_gap",
    "Gap of a candidate",
    "The gap with images ranked by one spurious candidate alone.",
    POINTS,
    "positive: better where the candidate is strong",
    source=_RANKINGS,
    views=(ONE,),
    part="gap",
    sample=_candidates,
    estimate=Gap(),
    reading=reading,
)
SPURIOUS_GAP_CONTROL = Measure(
    "spurious_gap_control",
    "Spurious gap of random directions",
    "Mean gap with images ranked by random mixtures of the class's components that follow its "
    "logit as closely as the spuriosity does.",
    POINTS,
    "a spurious gap that is no larger says nothing about its cue",
    views=(ONE,),
    part="gap",
    rows=partial(_controls, name="spurious_gap_control"),
)
CANDIDATE_GAP_CONTROL = Measure(
    "candidate_gap_control",
    "Gap of random directions beside a candidate",
    "The same for one spurious candidate alone.",
    POINTS,
    "a gap that is no larger says nothing about the candidate",
    views=(ONE,),
    part="gap",
    rows=partial(_controls, name="candidate_gap_control"),
)
_CONTROLS = {measure.name: measure for measure in (SPURIOUS_GAP_CONTROL, CANDIDATE_GAP_CONTROL)}
WORST_SPURIOUS_GAP = Measure(
    "worst_spurious_gap",
    "Worst class gap",
    "The largest spurious gap of the tagged classes.",
    POINTS,
    better=-1,
    source=_RANKINGS,
    views=(SEVERAL,),
    figure=worst_gap,
)
