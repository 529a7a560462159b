"""Out of distribution: how anomalous images look to a model, set against the cue.

From stored features and logits alone. A shortcut looks typical: images that show it may be nearer
to what the model knows than those that lack it, and a pasted cue need not be noticed at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.audits.evaluation_set import evaluation_sets
from core.audits.folds import said_of
from core.config import CONFIDENCE
from core.measures.conditions import ALL, CUE, conditions
from core.measures.image_sets import ImageSet, held_out, known, named, places, set_key, sets_key
from core.measures.measure import PLAIN, Measure, Rows
from core.measures.on_demand import OnDemand
from core.measures.rows import EVERYWHERE, corrected, row
from core.statistics.anomaly import DETECTED, TITLES, Known, Told, in_class, scores, told_apart
from core.statistics.estimates import Bounds, StudentMean
from core.statistics.gap_control import DRAWS, directions_like
from core.statistics.intervals import mean_interval, side_size
from core.statistics.ranks import column_aurocs
from core.statistics.separation import auroc_interval
from core.tags.decisions import Decisions, spuriosity_of
from core.trials.pasted_composites import PLAIN as CLEAN
from core.trials.pasted_composites import Composites, are_kept, held_out_composites
from core.types import FloatArray, IntArray, Progress, Reporter, count_of

if TYPE_CHECKING:
    from core.measures.measure_requests import MeasureRequest

SIDES = ("least of the cue", "most of the cue")
VERSIONS = {"after": "the cue", "control": "the same shape of its own class"}
"""What is pasted, of which images that have it are kept."""

Scored = Mapping[str, FloatArray]


@dataclass(frozen=True)
class Anomalies:
    """The held-out images of an audit with their scores, and what these are held against."""

    audit: Audit
    images: ImageSet
    known_ids: pd.Index
    known: Known

    @cached_property
    def scored(self) -> Scored:
        """Every score (n,) of the held-out images."""
        return self.of(self.images)

    def of(self, images: ImageSet) -> Scored:
        """Every score (m,) of a set of images."""
        own = places(images.ids, self.known_ids) if images.own and len(self.known_ids) else None
        return scores(images.features, images.logits, self.known, own)

    def changed(self, found: Composites, name: str, rows: np.ndarray) -> Scored:
        """Every score of a version of some images."""
        features = found.plain if name == CLEAN else found.pasted[name]
        own = places([found.ids[i] for i in np.flatnonzero(rows)], self.known_ids)
        logits = found.logits(self.audit.head, rows, name)
        return scores(features[rows], logits, self.known, own if len(self.known_ids) else None)


def anomalies(audit: Audit, typical_of: str = "") -> Anomalies:
    """The held-out images, held against a set (:func:`core.measures.image_sets.known`)."""
    return Anomalies(audit, held_out(audit), *known(audit, typical_of))


def _rows(audit: Audit, decisions: Decisions, request: MeasureRequest, report: Reporter) -> Rows:
    report(Progress("Holding images against what the model knows", 0, 0))
    found = anomalies(audit, request.typical_of)
    if request.against:
        return _against(found, named(audit, request.against))
    ids = found.images.ids.tolist()
    rows = [*_by_cue(found, decisions)]
    groups = [each for each in conditions(audit, decisions, ids) if each.kind != ALL]
    for group in groups:
        if group.kind == CUE:
            rows += _tenth(found, group.name, group.rows, group.tests)
        else:
            rows += _told(found, group.name, found.scored, group.rows)
    for name in evaluation_sets(audit):
        rows += _against(found, named(audit, name))
    for done, label in enumerate(decisions.spurious):
        report(Progress("Looking at pasted cues", done, len(decisions.spurious), "classes"))
        rows += _pasted(found, decisions, label)
    return rows


def _against(found: Anomalies, other: ImageSet) -> Rows:
    """How well every score tells a set from the held-out images that are not in it."""
    inside = places(found.images.ids, other.ids) >= 0 if other.own else None
    rest = np.arange(len(found.images.ids)) if inside is None else np.flatnonzero(~inside)
    theirs, rows = found.of(other), Rows()
    for name, mine in found.scored.items():
        rows += _told_rows(found, f"{name}: {other.name}", told_apart_of(theirs[name], mine[rest]))
    return rows


def _told(found: Anomalies, name: str, scored: Scored, rows: IntArray) -> Rows:
    """The same of a part of the held-out images against the rest of them."""
    inside = np.zeros(len(found.images.ids), bool)
    inside[rows] = True
    return [
        each
        for of, values in scored.items()
        for each in _told_rows(
            found, f"{of}: {name}", told_apart_of(values[inside], values[~inside])
        )
    ]


def told_apart_of(anomalous: FloatArray, others: FloatArray) -> Told | None:
    """:func:`core.statistics.anomaly.told_apart` of finite scores; None without both kinds."""
    ours, theirs = anomalous[np.isfinite(anomalous)], others[np.isfinite(others)]
    return told_apart(ours, theirs) if len(ours) and len(theirs) else None


def _told_rows(found: Anomalies, subject: str, told: Told | None) -> Rows:
    if told is None:
        return []
    n, sizes = (
        told.n_anomalous,
        f"{count_of(told.n_anomalous, 'image')} of it, {count_of(told.n_others, 'other')}",
    )
    alarms = f"where {100 * DETECTED:.0f} % of the set are found; {sizes}"
    figures = {
        AUROC: (told.auroc, f"chance 0.5; {sizes}"),
        AUPR: (told.aupr, f"positive: the set; chance {told.chance:.3f}; {sizes}"),
        FPR: (told.false_alarms, alarms),
    }
    split = said_of(found.audit)
    return [
        row(
            EVERYWHERE,
            measure,
            value,
            interval=(low, high),
            n=n,
            subject=subject,
            split=split,
            note=note,
        )
        for measure, ((value, low, high), note) in figures.items()
    ]


def _tenth(found: Anomalies, name: str, rows: IntArray, tests: int) -> Rows:
    """Where the images of a tenth stand among those of their class, by every score."""
    labels = found.audit.images_of(found.images.ids)["label"]
    classes = pd.factorize(labels)[0]
    return [
        row(
            EVERYWHERE,
            PLACE,
            value,
            interval=(low, high),
            n=len(rows),
            subject=f"{score}: {name}",
            split=said_of(found.audit),
            note=corrected(tests, "groups"),
        )
        for score, values in found.scored.items()
        for value, low, high in [StudentMean((0.0, 1.0)).of(in_class(values, classes)[rows], tests)]
    ]


def _by_cue(found: Anomalies, decisions: Decisions) -> Iterator[dict[str, object]]:
    """Images of every class that show least of the cue against those with most, and the mean.

    Each beside its control: what random directions do that follow the logit as closely.
    """
    by_score: dict[str, list[tuple[Bounds, float, int]]] = {}
    tests = len(decisions.spurious) * len(TITLES)
    for label in decisions.spurious:
        facts = found.audit.class_facts(label)
        for score, told, control, p, n in _sides(found, decisions, facts):
            by_score.setdefault(score, []).append((told, control, n))
            beyond = min(p * tests, 1.0) < 1 - CONFIDENCE
            yield _cue_row(found, facts, score, told, n, beyond)
            yield _control_row(found, facts, score, control, n, f"p {p:.3f}, of this row alone")
    for score, classes in by_score.items():
        bounds = np.array([told for told, _, _ in classes])
        mean = (float(bounds[:, 0].mean()), *mean_interval(*bounds.T))
        n, note = (
            sum(n for *_, n in classes),
            f"mean of {count_of(len(classes), 'class', 'classes')}",
        )
        control = float(np.mean([control for _, control, _ in classes]))
        yield _cue_row(found, EVERYWHERE, score, mean, n, note=note)
        yield _control_row(found, EVERYWHERE, score, control, n, note)


def _control_row(
    found: Anomalies, facts: AuditedClass, score: str, control: float, n: int, note: str
) -> dict[str, object]:
    said = note if control == control else "no random direction to compare with"
    split = said_of(found.audit)
    return row(facts, LACKING_CONTROL, control, n=n, subject=score, split=split, note=said)


BEYOND = "otherwise than"
"""In a reading: more, or less, than along random directions, corrected over classes and scores."""


def _cue_row(
    found: Anomalies,
    facts: AuditedClass,
    score: str,
    told: Bounds,
    n: int,
    beyond: bool = False,
    note: str = "",
) -> dict[str, object]:
    """``beyond``: whether it is more, or less, than along random directions, over all rows."""
    value, low, high = told
    reading = ""
    if low > 0.5 or high < 0.5:
        which = "without" if low > 0.5 else "with"
        than = BEYOND if beyond else "as"
        reading = f"images {which} the cue look more anomalous, {than} along random directions"
    return row(
        facts,
        LACKING,
        value,
        interval=(low, high),
        n=n,
        subject=score,
        split=said_of(found.audit),
        reading=reading if facts is not EVERYWHERE else "",
        note=note,
    )


def _sides(
    found: Anomalies, decisions: Decisions, facts: AuditedClass
) -> Iterator[tuple[str, Bounds, float, float, int]]:
    """Of a class: score, AUROC of least against most, its control and p value, images."""
    from scipy.stats import t

    audit, label = found.audit, facts.label
    ranked = spuriosity_of(audit, label, decisions.spurious[label]).dropna(subset="spuriosity")
    place = places(ranked["image_id"].tolist(), found.images.ids)
    ranked, place = ranked[place >= 0], place[place >= 0]
    k = side_size(len(ranked))
    if not k:
        return
    spuriosity = ranked["spuriosity"].to_numpy(np.float64)
    directions = _directions(audit, label, ranked["image_id"].tolist(), spuriosity)
    columns = (
        spuriosity[:, None] if directions is None else np.column_stack([spuriosity, directions])
    )
    order = np.argsort(-columns, axis=0, kind="stable")
    for score, values in found.scored.items():
        mine = values[place]
        areas = column_aurocs(mine[order[len(mine) - k :]], mine[order[:k]])
        told = (float(areas[0]), *auroc_interval(float(areas[0]), k, k))
        control = p = float("nan")
        if directions is not None:
            control, spread = float(areas[1:].mean()), float(areas[1:].std(ddof=1))
            error = spread * (1 + 1 / DRAWS) ** 0.5
            p = float(2 * t.sf(abs(areas[0] - control) / max(error, 1e-9), DRAWS - 1))
        yield score, told, control, p, 2 * k


def _directions(
    audit: Audit, label: str, ids: list[str], spuriosity: FloatArray
) -> FloatArray | None:
    """Random directions that follow the class's logit as its spuriosity does."""
    arrays = audit.arrays_of(label)
    rows = pd.Index(arrays.image_ids).get_indexer(ids)
    components = np.asarray(arrays.alpha[rows, : arrays.components], np.float64)
    logit = components.sum(axis=1) + np.asarray(arrays.residual, np.float64)[rows]
    return directions_like(spuriosity, logit, components, DRAWS)


def _pasted(found: Anomalies, decisions: Decisions, label: str) -> Iterator[dict[str, object]]:
    """Images of other classes with the cue pasted on, against the same without it."""
    if not are_kept(found.audit, label, decisions):
        return
    made = held_out_composites(found.audit, label, decisions)
    facts = found.audit.class_facts(label)
    for version, words in VERSIONS.items():
        kept = made.usable(facts.class_idx, version)
        clean, after = (found.changed(made, name, kept) for name in (CLEAN, version))
        for score in after:
            told = told_apart_of(after[score], clean[score])
            if told is None:
                continue
            value, low, high = told.auroc
            yield row(
                facts,
                PASTED,
                value,
                interval=(low, high),
                n=told.n_anomalous,
                subject=f"{score}: {words}",
                split=found.audit.summary.held_out,
                note="against the same images without it; chance 0.5",
            )


def _depends(audit: Audit, decisions: Decisions, request: MeasureRequest) -> object:
    """Which pasted cues and evaluation sets are stored, and what another audit is."""
    asked = [name for name in (request.against, request.typical_of) if name]
    kept = [are_kept(audit, label, decisions) for label in decisions.spurious]
    return [[set_key(audit, name) for name in asked], kept, sets_key(audit)]


OOD = OnDemand(
    "ood",
    "what looks anomalous, against the cue",
    _rows,
    options=("against", "typical_of"),
    version=2,
    depends=_depends,
)

_SOURCE = "Hendrycks & Gimpel 2017; Hendrycks et al. 2022; Liu et al. 2020; Sun et al. 2022"
AUROC = Measure(
    "ood_auroc",
    "Out of distribution: AUROC",
    "How well a score tells the images of a set from the other held-out images; of the set being "
    "more anomalous. By: " + ", ".join(f"{name}, {said}" for name, said in TITLES.items()) + ".",
    unit=PLAIN,
    direction="0.5 is chance; above it the set looks anomalous, below it typical",
    source=_SOURCE,
    views=(),
    part="ood",
)
AUPR = Measure(
    "ood_aupr",
    "Out of distribution: AUPR",
    "Average precision of the same, the images of the set being positive; chance is their share.",
    unit=PLAIN,
    direction="above chance the set looks anomalous",
    source=_SOURCE,
    views=(),
    part="ood",
)
FPR = Measure(
    "ood_fpr95",
    "Out of distribution: FPR95",
    "Share of the other held-out images that are flagged by the threshold that flags 95 % of the "
    "set.",
    direction="0.95 is chance; lower: the set is told from the others",
    source="Hendrycks et al. 2019, section 4",
    views=(),
    part="ood",
)
LACKING = Measure(
    "ood_without_cue",
    "Anomaly without the cue",
    "AUROC of a score for the images of a class that show least of its tagged cues against those "
    "that show most. Any direction with a share of the logit does this to scores of the logits: "
    "see its control.",
    unit=PLAIN,
    direction="above 0.5 images without the cue look more anomalous: the cue looks typical",
    views=(),
    part="ood",
)
LACKING_CONTROL = Measure(
    "ood_without_cue_control",
    "Anomaly without the cue: control",
    "The same along random directions that the class's logit follows as closely, mean of 100.",
    unit=PLAIN,
    direction="what is no more than this is no mark of the cue",
    views=(),
    part="ood",
)
PLACE = Measure(
    "ood_place",
    "Place by anomaly in the class",
    "Share of the other images of its class that an image is more anomalous than, mean over a "
    "tenth of the class by its tagged cues.",
    direction="0.5 is the middle; higher: more anomalous than the class",
    views=(),
    part="ood",
)
PASTED = Measure(
    "ood_pasted",
    "Anomaly of a pasted cue",
    "AUROC of a score for images of other classes with the cue pasted on against the same images "
    "without it, from stored features.",
    unit=PLAIN,
    direction="0.5: the paste goes unnoticed; below it the images look more typical with it",
    views=(),
    part="ood",
)
