"""The figures of the comparison: one per model and measure, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.measures.availability import CLASS, CUE, Trials
from core.measures.gaps import MANY_VALUES, share
from core.measures.shared_images import Shared
from core.statistics.bootstrap import RESAMPLES
from core.statistics.calibration import BINS, bin_sums, calibrated_level, calibration_error
from core.statistics.intervals import auroc, mean_interval
from core.statistics.paired import (
    Sampled,
    bootstrap_interval,
    resamples,
    weighted_gap,
    weighted_share,
)
from core.statistics.separation import (
    auroc_interval,
    precision_interval,
    relative_core_sensitivity,
    weighted_auroc,
    weighted_precision,
)
from core.statistics.spuriosity import SpuriousGap, spurious_gap
from core.tags.decisions import Decisions, spuriosity_of
from core.types import FloatArray

NEEDS_TAGS = (
    "needs tags: no class has a candidate decided spurious in every tagged model; tag cues, or "
    "carry them over from a tagged model"
)
NEEDS_CORE = "needs tags: no candidate of these classes is decided core"
NEEDS_CUES = "needs images of a cue alone: compare … --cue-images CLASS=DIR"
OTHER_CUES = "the models were given different cue images: compare … --cue-images CLASS=DIR"
NEEDS_ATTRIBUTES = "needs attributes: a manifest with further columns"
NEEDS_TRIALS = "not measured yet: the command compare does it, and the button Measure"
TOO_FEW = "too few shared held-out images: a gap needs two of the class"


class Figure(NamedTuple):
    """One figure of one model."""

    sampled: Sampled
    interval: tuple[float, float]
    n: int
    """Images behind it."""
    note: str = ""


Figures = dict[str, Figure | str]
"""By audit id: a figure, or what is missing."""


class ClassGap(NamedTuple):
    """The spurious gap of one class in one model."""

    gap: SpuriousGap
    samples: FloatArray
    """(B,) percentage points."""


@dataclass(frozen=True)
class Context:
    """Everything that the figures are made of."""

    shared: Shared
    decisions: Mapping[str, Decisions]
    """By audit id."""
    trials: Mapping[str, Trials]
    _weights: dict[str, FloatArray] = field(default_factory=dict, repr=False)

    @property
    def audits(self) -> tuple[Audit, ...]:
        """In the order of the table."""
        return self.shared.audits

    def weights(self, label: str, n: int, what: str = "") -> FloatArray:
        """The resamples (B, n) that every model is looked at through."""
        key = f"{what}/{label}/{n}"
        if key not in self._weights:
            self._weights[key] = resamples(n, f"{what}/{label}")
        return self._weights[key]

    @cached_property
    def tagged(self) -> list[str]:
        """Classes with a spurious candidate in every model that has any: comparable ones."""
        sets = [set(d.spurious) for d in self.decisions.values() if d.spurious]
        return sorted(set.intersection(*sets) & set(self.shared.labels)) if sets else []

    def has_tags(self, audit: Audit) -> bool:
        """Whether a model takes part in what needs tags."""
        return bool(self.tagged) and bool(self.decisions[audit.id].spurious)

    @cached_property
    def gaps(self) -> dict[tuple[str, str], ClassGap]:
        """Spurious gaps by audit id and label; classes with too few images are left out."""
        found = {}
        for audit in self.audits:
            for label in self.tagged if self.has_tags(audit) else []:
                if gap := _class_gap(self, audit, label):
                    found[audit.id, label] = gap
        return found


def _class_gap(context: Context, audit: Audit, label: str) -> ClassGap | None:
    table = spuriosity_of(audit, label, context.decisions[audit.id].spurious[label])
    held = context.shared.held
    ids = held.index[held["label"] == label]
    table = table.set_index("image_id").reindex(ids)
    if len(ids) < 2 or table["spuriosity"].isna().any():
        return None
    correct = table["correct"].to_numpy(dtype=bool)
    scores = table["spuriosity"].to_numpy(dtype=np.float64)
    gap = spurious_gap(correct, scores)
    return ClassGap(gap, weighted_gap(correct, scores, context.weights(label, len(ids)), gap.k))


def accuracy(context: Context) -> Figures:
    """Share of the held-out images that are predicted correctly."""
    found: Figures = {}
    for audit in context.audits:
        hits = context.shared.correct(audit)
        n = len(hits)
        sampled = Sampled(float(hits.mean()), np.full(RESAMPLES, np.nan))
        found[audit.id] = Figure(sampled, share(float(hits.sum()), n), n)
    return found


def mean_gap(context: Context) -> Figures:
    """Mean of the spurious gaps over the classes that are tagged in every tagged model."""

    def of(audit: Audit, gaps: list[ClassGap], names: str) -> Figure:
        bounds = np.array([(g.gap.gap, g.gap.low, g.gap.high) for g in gaps])
        samples = np.mean([g.samples for g in gaps], axis=0)
        return Figure(
            Sampled(float(bounds[:, 0].mean()), samples),
            mean_interval(*bounds.T),
            sum(2 * g.gap.k for g in gaps),
            names,
        )

    return _over_gaps(context, of)


def worst_gap(context: Context) -> Figures:
    """The largest spurious gap of these classes."""

    def of(audit: Audit, gaps: list[ClassGap], names: str) -> Figure:
        worst = int(np.argmax([g.gap.gap for g in gaps]))
        sampled = Sampled(gaps[worst].gap.gap, np.max([g.samples for g in gaps], axis=0))
        label = [name for name in context.tagged if (audit.id, name) in context.gaps][worst]
        name = audit.class_facts(label).name
        low, high = bootstrap_interval(sampled)
        return Figure(sampled, (max(low, -100), min(high, 100)), 2 * gaps[worst].gap.k, name)

    return _over_gaps(context, of)


def _over_gaps(context: Context, of: Callable[[Audit, list[ClassGap], str], Figure]) -> Figures:
    found: Figures = {}
    for audit in context.audits:
        if not context.has_tags(audit):
            found[audit.id] = NEEDS_TAGS
            continue
        gaps = [g for (owner, _), g in context.gaps.items() if owner == audit.id]
        names = f"{len(gaps)} of {len(context.shared.labels)} classes are tagged"
        found[audit.id] = of(audit, gaps, names) if gaps else TOO_FEW
    return found


def average_precision(context: Context) -> Figures:
    """Mean average precision of the spurious score."""
    return _scores(context, "average_precision")


def area(context: Context) -> Figures:
    """Mean area under the ROC curve of the spurious score."""
    return _scores(context, "auroc")


def _scores(context: Context, what: str) -> Figures:
    tables = {audit.id: context.trials[audit.id].score for audit in context.audits}
    there = {key: table for key, table in tables.items() if table is not None}
    if not there:
        return dict.fromkeys(tables, NEEDS_CUES)
    labels = _scored_alike(list(there.values()))
    if not labels:
        return {k: OTHER_CUES if k in there else NEEDS_CUES for k in tables}
    found: Figures = {}
    for key, table in tables.items():
        found[key] = NEEDS_CUES if table is None else _score(context, table, labels, what)
    return found


def _scored_alike(tables: list[pd.DataFrame]) -> list[str]:
    """Classes for which every model was given the same images of the cue."""
    sets = [
        {
            (label, tuple(sorted(mine["image"])), mine["folder"].iloc[0])
            for label, mine in table[table["source"] == CUE].groupby("label")
        }
        for table in tables
    ]
    return sorted(str(label) for label, *_ in set.intersection(*sets))


def _score(context: Context, table: pd.DataFrame, labels: list[str], what: str) -> Figure:
    """Mean over classes; images of the class and of the cue are resampled, each by themselves."""
    from sklearn.metrics import average_precision_score

    values, lows, highs, samples, n = [], [], [], [], 0
    for label in labels:
        mine = table[table["label"] == label].sort_values(["source", "image"], kind="stable")
        shared = mine["image"].isin(context.shared.held.index)
        mine = mine[shared | (mine["source"] == CUE)]
        sides = [mine.loc[mine["source"] == s, "probability"].to_numpy() for s in (CLASS, CUE)]
        both, n = np.concatenate(sides), n + len(mine)
        positive = np.arange(len(both)) < len(sides[0])
        weights = np.concatenate(
            [context.weights(label, len(p), s) for p, s in zip(sides, (CLASS, CUE), strict=True)],
            axis=1,
        )
        if what == "auroc":
            value = auroc(both, positive)
            bounds = auroc_interval(value, len(sides[0]), len(sides[1]))
            samples.append(weighted_auroc(both, positive, weights))
        else:
            value = float(average_precision_score(positive, both))
            bounds = precision_interval(*sides, seed=0)
            samples.append(weighted_precision(both, positive, weights))
        values.append(value)
        lows.append(bounds[0])
        highs.append(bounds[1])
    interval = mean_interval(*(np.array(part) for part in (values, lows, highs)))
    sampled = Sampled(float(np.mean(values)), np.mean(samples, axis=0))
    return Figure(sampled, interval, n, f"{len(labels)} classes with cue images")


def core_accuracy(context: Context) -> Figures:
    """Mean accuracy with noise on the spurious regions."""
    return _noise(context, "core_accuracy")


def spurious_accuracy(context: Context) -> Figures:
    """Mean accuracy with noise on the core regions."""
    return _noise(context, "spurious_accuracy")


def core_sensitivity(context: Context) -> Figures:
    """Mean relative core sensitivity."""
    return _noise(context, "relative_core_sensitivity")


def _noise(context: Context, what: str) -> Figures:
    def part(table: pd.DataFrame, label: str) -> Part | None:
        if what == "relative_core_sensitivity":
            return _sensitivity(context, table, label)
        return _hits(context, table[what].to_numpy(dtype=np.float64), label, NOISY)

    return _over_trials(context, NOISY, part, NEEDS_CORE)


def _over_trials(
    context: Context,
    what: str,
    part: Callable[[pd.DataFrame, str], Part | None],
    otherwise: str,
) -> Figures:
    """Mean over the classes that have a figure in every model that has any."""
    found: Figures = {}
    parts: dict[str, dict[str, Part]] = {}
    for audit in context.audits:
        found[audit.id] = NEEDS_TRIALS if context.has_tags(audit) else NEEDS_TAGS
        table = getattr(context.trials[audit.id], what) if context.has_tags(audit) else None
        if table is not None:
            shared = {label: _on_shared(context, table, label) for label in context.tagged}
            made = {label: part(mine, label) for label, mine in shared.items()}
            parts[audit.id] = {label: p for label, p in made.items() if p is not None}
    sets = [set(mine) for mine in parts.values() if mine]
    common = sorted(set.intersection(*sets)) if sets else []
    for key, mine in parts.items():
        kept = [mine[label] for label in common] if mine else []
        found[key] = _mean(kept, len(context.tagged), otherwise)
    return found


NOISY, FLIPPED = "noise", "flips"


def _on_shared(context: Context, table: pd.DataFrame, label: str) -> pd.DataFrame:
    """A class's rows about shared held-out images, by id: every model in the same order."""
    mine = table[table["label"] == label]
    return mine[mine["image_id"].isin(context.shared.held.index)].sort_values("image_id")


class Part(NamedTuple):
    """The figure of one class."""

    value: float
    low: float
    high: float
    samples: FloatArray
    n: int


def _hits(context: Context, hits: FloatArray, label: str, what: str) -> Part | None:
    """Share of hits; None where no image has what it takes."""
    n = int((~np.isnan(hits)).sum())
    if not n:
        return None
    value = float(np.nanmean(hits))
    samples = weighted_share(hits, context.weights(label, len(hits), what))
    return Part(value, *share(value * n, n), samples, n)


def _sensitivity(context: Context, table: pd.DataFrame, label: str) -> Part | None:
    """On the images that have both regions."""
    names = ["core_accuracy", "spurious_accuracy"]
    hits = table[names].to_numpy(dtype=np.float64)
    both = ~np.isnan(hits).any(axis=1)
    if not both.any():
        return None
    hits = np.where(both[:, None], hits, np.nan)
    weights = context.weights(label, len(hits), NOISY)
    shares = [np.clip(weighted_share(hits[:, i], weights), 0, 1) for i in (0, 1)]
    samples = [relative_core_sensitivity(float(a), float(b)) for a, b in zip(*shares, strict=True)]
    value = relative_core_sensitivity(*(float(v) for v in np.nanmean(hits, axis=0)))
    sampled = Sampled(value, np.array(samples))
    return Part(value, *bootstrap_interval(sampled), sampled.samples, int(both.sum()))


def _mean(parts: list[Part], classes: int, otherwise: str) -> Figure | str:
    """Unweighted mean over classes, as published; ``classes`` are tagged."""
    if not parts:
        return otherwise
    values, lows, highs = (np.array([part[i] for part in parts]) for i in range(3))
    sampled = Sampled(float(values.mean()), np.mean([part.samples for part in parts], axis=0))
    note = f"{len(parts)} of {classes} tagged classes"
    return Figure(sampled, mean_interval(values, lows, highs), sum(p.n for p in parts), note)


def flip_rate(context: Context) -> Figures:
    """Mean share of other classes' images that a pasted cue turns into its class."""

    def part(table: pd.DataFrame, label: str) -> Part | None:
        return _hits(context, table["turned"].to_numpy(dtype=np.float64), label, FLIPPED)

    return _over_trials(context, FLIPPED, part, "no cue could be cut out")


class Group(NamedTuple):
    """The held-out images of a class with one value of an attribute."""

    name: str
    label: str
    n: int
    """Images of the class."""
    rows: FloatArray
    """Places of the group among all held-out images."""
    inside: FloatArray
    """The same among those of the class."""


def worst_group(context: Context) -> Figures:
    """The lowest accuracy of any class with any value of an attribute."""
    groups = _groups(context)
    if not groups:
        return dict.fromkeys((audit.id for audit in context.audits), NEEDS_ATTRIBUTES)
    return {audit.id: _worst_of(context, audit, groups) for audit in context.audits}


def _worst_of(context: Context, audit: Audit, groups: list[Group]) -> Figure:
    right = context.shared.correct(audit).astype(np.float64)
    accuracies = np.array([right[group.rows].mean() for group in groups])
    samples = [
        weighted_share(right[g.rows], context.weights(g.label, g.n)[:, g.inside]) for g in groups
    ]
    worst = int(accuracies.argmin())
    value, n = float(accuracies[worst]), len(groups[worst].rows)
    interval = share(value * n, n, len(groups))
    note = f"{groups[worst].name}; {len(groups)} groups (Bonferroni)"
    return Figure(Sampled(value, np.nanmin(samples, axis=0)), interval, n, note)


def _groups(context: Context) -> list[Group]:
    held = context.shared.held
    found: list[Group] = []
    for attribute in context.audits[0].summary.attributes:
        values = held[attribute].astype(str).to_numpy()
        if len(set(values)) > MANY_VALUES:
            continue
        for label in context.shared.labels:
            rows = context.shared.rows(label)
            for value in sorted(set(values[rows])):
                inside = np.flatnonzero(values[rows] == value)
                name = f"{label}, {attribute} = {value}"
                found.append(Group(name, label, len(rows), rows[inside], inside))
    return found


def calibration(context: Context) -> Figures:
    """Expected calibration error, 15 bins."""
    found: Figures = {}
    for audit in context.audits:
        right, sure = context.shared.correct(audit), context.shared.confidence(audit)
        sums = np.zeros((RESAMPLES, BINS))
        for label in context.shared.labels:
            rows = context.shared.rows(label)
            sums += bin_sums(sure[rows], right[rows], context.weights(label, len(rows)))
        samples = np.abs(sums).sum(axis=1) / len(right)
        sampled = Sampled(calibration_error(sure, right), samples)
        low, high = bootstrap_interval(sampled)
        note = f"a calibrated model of these confidences: {calibrated_level(sure):.3f}"
        found[audit.id] = Figure(sampled, (max(low, 0.0), high), len(right), note)
    return found


def size(context: Context) -> Figures:
    """Numbers in the encoder and the audited head; exact."""
    found: Figures = {}
    for audit in context.audits:
        cost = context.trials[audit.id].cost
        found[audit.id] = NEEDS_TRIALS
        if cost is not None:
            count = float(cost["parameters"])
            found[audit.id] = Figure(
                Sampled(count, np.full(RESAMPLES, np.nan)), (count, count), 0, "counted"
            )
    return found


def speed(context: Context) -> Figures:
    """Images per second of the encoder, on the machine that measured it."""
    found: Figures = {}
    for audit in context.audits:
        cost = context.trials[audit.id].cost
        found[audit.id] = NEEDS_TRIALS
        if cost is not None:
            seconds = np.array(cost["seconds"])
            weights = resamples(len(seconds), audit.id)  # models are timed apart: no pairs
            images = cost["batch"] * len(seconds)
            sampled = Sampled(float(images / seconds.sum()), images / (weights @ seconds))
            note = (
                f"{cost['device']} {cost['precision']}, batches of {cost['batch']}, load "
                f"{cost['load']:.1f}, {cost['at'][:10]}"
            )
            found[audit.id] = Figure(sampled, bootstrap_interval(sampled), images, note)
    return found
