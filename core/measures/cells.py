"""The figures of the comparison: one per model and measure, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from core.audits.audit import Audit
from core.audits.evaluation_set import EvaluationSet, evaluation_sets
from core.measures.measure import Measure, Sample
from core.measures.scope import Scope
from core.measures.shared_images import Shared
from core.statistics.estimates import Bounds
from core.statistics.extremes import largest_gap
from core.statistics.intervals import mean_interval
from core.statistics.paired import Sampled, bootstrap_interval, resamples, weighted_gap
from core.statistics.spuriosity import SpuriousGap, spurious_gap
from core.tags.decisions import Decisions
from core.types import FloatArray, count_of

NEEDS_TAGS = (
    "needs tags: no class has a candidate decided spurious in every tagged model; tag cues, or "
    "carry them over from a tagged model"
)
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
    _weights: dict[str, FloatArray] = field(default_factory=dict, repr=False)
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What one measure found out for the figures of several models, by its name."""

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

    def hand_back(self) -> None:
        """Forget resamples, which are drawn again where they are asked for."""
        self._weights.clear()
        self.kept.clear()

    @cached_property
    def tagged(self) -> list[str]:
        """Classes with a spurious candidate in every model that has any: comparable ones."""
        sets = [set(d.spurious) for d in self.decisions.values() if d.spurious]
        return sorted(set.intersection(*sets) & set(self.shared.labels)) if sets else []

    @cached_property
    def scopes(self) -> dict[str, Scope]:
        """By audit id: its model and its own tags, on the shared held-out images."""
        held = self.shared.held.index
        return {a.id: Scope(a, self.decisions[a.id], images=held) for a in self.audits}

    @cached_property
    def sets(self) -> dict[str, dict[str, EvaluationSet]]:
        """Evaluation sets that every model has, by name, then by audit id."""
        of = {audit.id: evaluation_sets(audit) for audit in self.audits}
        common = set.intersection(*map(set, of.values()))
        return {name: {key: mine[name] for key, mine in of.items()} for name in sorted(common)}

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

    def gaps_of(self, audit: Audit) -> dict[str, ClassGap] | str:
        """Those of one model by label, or why it has none."""
        if not self.has_tags(audit):
            return NEEDS_TAGS
        found = {label: gap for (owner, label), gap in self.gaps.items() if owner == audit.id}
        return found or TOO_FEW


def _class_gap(context: Context, audit: Audit, label: str) -> ClassGap | None:
    scope = context.scopes[audit.id]
    ids, ranked = scope.mine(label), scope.ranked(label)
    if len(ids) < 2 or len(ranked) < len(ids):
        return None
    correct = scope.correct(ids) > 0
    scores = ranked.set_index("image_id")["spuriosity"].loc[ids].to_numpy()
    gap = spurious_gap(correct, scores)
    return ClassGap(gap, weighted_gap(correct, scores, context.weights(label, len(ids)), gap.k))


def mean_gap(context: Context, audit: Audit) -> Figure | str:
    """Mean of the spurious gaps over the classes that are tagged in every tagged model."""
    gaps = context.gaps_of(audit)
    if isinstance(gaps, str):
        return gaps
    bounds = np.array([(g.gap.gap, g.gap.low, g.gap.high) for g in gaps.values()])
    samples = np.mean([g.samples for g in gaps.values()], axis=0)
    n = sum(2 * g.gap.k for g in gaps.values())
    of = f"of {count_of(len(context.shared.labels), 'class', 'classes')}"
    note = f"{count_of(len(gaps), f'{of} is', f'{of} are')} tagged"
    sampled = Sampled(float(bounds[:, 0].mean()), samples)
    return Figure(sampled, mean_interval(*bounds.T), n, note)


def worst_gap(context: Context, audit: Audit) -> Figure | str:
    """The largest spurious gap of these classes."""
    gaps = context.gaps_of(audit)
    if isinstance(gaps, str):
        return gaps
    label = max(gaps, key=lambda label: gaps[label].gap.gap)
    samples = np.max([g.samples for g in gaps.values()], axis=0)
    every = [(g.gap.accuracy_high, g.gap.accuracy_low, g.gap.k) for g in gaps.values()]
    top, bottom, k = np.array(every).T
    low, high = largest_gap(top * k, bottom * k, k)
    name, n = audit.class_facts(label).name, 2 * gaps[label].gap.k
    if len(gaps) > 1:
        name += f"; the largest of {len(gaps)} is too large on average; its interval allows for it"
    return Figure(Sampled(gaps[label].gap.gap, samples), (100 * low, 100 * high), n, name)


class Part(NamedTuple):
    """The figure of one class."""

    bounds: Bounds
    samples: FloatArray
    n: int


def figures_of(context: Context, measure: Measure) -> Figures:
    """The figure of every model, its own or the mean over the tagged classes."""
    if measure.figure is not None:
        return {audit.id: measure.figure(context, audit) for audit in context.audits}
    return _averaged(context, measure)


def _averaged(context: Context, measure: Measure) -> Figures:
    """Mean over the tagged classes that have a figure in every model that has any."""
    found: Figures = {}
    parts: dict[str, dict[str, Part]] = {}
    for audit in context.audits:
        if not context.has_tags(audit):
            found[audit.id] = NEEDS_TAGS
        elif context.scopes[audit.id].outcomes.missing(measure.needs):
            found[audit.id] = NEEDS_TRIALS
        else:
            made = {label: _part(context, audit, measure, label) for label in context.tagged}
            parts[audit.id] = {label: part for label, part in made.items() if part}
    sets = [set(mine) for mine in parts.values() if mine]
    common = sorted(set.intersection(*sets)) if sets else []
    for key, mine in parts.items():
        kept = [mine[label] for label in common] if mine else []
        found[key] = _mean(kept, len(context.tagged), measure.lacking)
    return found


def _part(context: Context, audit: Audit, measure: Measure, label: str) -> Part | None:
    """The figure of a class; of several samples their mean."""
    samples = measure.samples(context.scopes[audit.id], label)
    parts = [_of_sample(context, measure, label, s) for s in samples if isinstance(s, Sample)]
    made = [part for part in parts if part]
    if len(made) < 2:
        return made[0] if made else None
    bounds = np.array([part.bounds for part in made])
    weighted: FloatArray = np.mean([part.samples for part in made], axis=0)
    value = float(bounds[:, 0].mean())
    return Part((value, *mean_interval(*bounds.T)), weighted, sum(part.n for part in made))


def _of_sample(context: Context, measure: Measure, label: str, sample: Sample) -> Part | None:
    """A figure of shared images, in an order that is the same for every model."""
    estimate, ids = measure.estimate, np.asarray(sample.ids, object)
    kept = np.flatnonzero(context.shared.held.index.get_indexer(ids) >= 0)
    values = sample.values[kept[np.argsort(ids[kept], kind="stable")]]
    known = estimate.known(values)
    if not known.any():
        return None
    under = estimate.resampled(values, lambda n: context.weights(label, n, sample.stratum))
    sampled = Sampled(estimate.value(values[known]), under)
    ends = estimate.of(values)[1:] if estimate.by_formula else bootstrap_interval(sampled)
    return Part((sampled.value, *ends), sampled.samples, int(known.sum()))


def _mean(parts: list[Part], classes: int, otherwise: str) -> Figure | str:
    """Unweighted mean over classes, as published; ``classes`` are tagged."""
    if not parts:
        return otherwise
    bounds = np.array([part.bounds for part in parts])
    sampled = Sampled(float(bounds[:, 0].mean()), np.mean([p.samples for p in parts], axis=0))
    note = f"{len(parts)} of {classes} tagged classes"
    return Figure(sampled, mean_interval(*bounds.T), sum(p.n for p in parts), note)
