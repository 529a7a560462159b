"""The figures of one audit that a rule is about, whatever table or trial they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from core.audits.audit import Audit
from core.candidates.key import CandidateKey, keys_in
from core.corrections.corrected import facts_of, is_derived, parent_of
from core.corrections.effect import Effect, effects
from core.errors import InputError, SpurioscopeError
from core.measures.availability import COST, NAMES, make_trials, missing
from core.measures.cells import Context, figures_of
from core.measures.factors import factor_table, stored_factors
from core.measures.leans import LEAN, PUT_IN, TAKEN_AWAY, Trials
from core.measures.measure import ALL, EFFECT, SEVERAL, Measure
from core.measures.measure_requests import MeasureRequest
from core.measures.on_demand import ON_DEMAND
from core.measures.one_audit import is_slow, measure_parts, parts
from core.measures.rows import as_table
from core.measures.scores import NEEDS_CUES, every_stored_cue, score
from core.measures.shared_images import images_of
from core.measures.stored import is_stored, measured
from core.statistics.estimates import NOTHING, Bounds
from core.storage.workspace import Workspace
from core.tags.decisions import Decisions, Tagged, decided
from core.tags.log import TagStore
from core.trials.leaning import leading
from core.trials.outcomes import Outcomes
from core.types import Reporter, silent

OVER = {
    "spurious": "candidates decided spurious",
    "untagged": "the leading candidates that nobody decided, each as if it were spurious",
    "all": "both; a core feature is meant to matter",
}
"""What a rule can act on."""

LEANS = (PUT_IN, LEAN, TAKEN_AWAY)


class Single(NamedTuple):
    """One figure, or why there is none."""

    bounds: Bounds = NOTHING
    class_name: str = ""
    """Empty where it is of all classes."""
    subject: str = ""
    key: str = ""
    """Of the candidate where it is of one, as a text."""
    n: int = 0
    said: str = ""
    """How it was found, or why it was not."""


class Pass(NamedTuple):
    """Decisions that figures are measured with."""

    decisions: Decisions
    alone: bool = False
    """Whether one untagged candidate of every class stands for its tags."""

    def _alone(self, label: str) -> list[CandidateKey]:
        return self.decisions.spurious.keys_of.get(label, []) if self.alone else []

    def key(self, label: str) -> str:
        """Of the candidate that stands for a class, as a text; empty where none does."""
        return "".join(map(str, self._alone(label)))

    def subject(self, label: str, subject: str) -> str:
        """What a row is of, in words."""
        of = "".join(map(self.decisions.names.written, self._alone(label)))
        return ", ".join(dict.fromkeys(filter(None, (of, subject))))


@dataclass(frozen=True)
class Asked:
    """One audit, and on what rules act there."""

    audit: Audit
    workspace: Workspace
    over: str = "spurious"
    """One of OVER."""
    threshold: int | None = None
    """Votes that decide a tag."""
    quick: bool = False
    """Whether to load no model: what would take one has no figure."""
    report: Reporter = silent

    @cached_property
    def owner(self) -> Audit:
        """Whose tags, donors and regions count: the parent's of a corrected model.

        Raises
        ------
        InputError
            If that was deleted.
        """
        if not is_derived(self.audit):
            return self.audit
        parent = parent_of(self.audit, self.workspace)
        if parent is None:
            name = facts_of(self.audit).parent_name
            raise InputError(f"its donors and regions are those of audit {name!r}, which is gone")
        return parent

    @cached_property
    def decisions(self) -> Decisions:
        """What the owner's tags decide."""
        return decided(self.owner, TagStore.open(self.workspace), self.threshold)

    @cached_property
    def untagged(self) -> list[CandidateKey]:
        """The owner's leading candidates that are decided neither core nor spurious."""
        labels = {facts.class_idx: facts.label for facts in self.owner.classes}
        table = leading(self.owner)
        every = keys_in(table.assign(label=table["class_idx"].map(labels)))
        said = {key for of in (self.decisions.spurious, self.decisions.core) for key in _keys(of)}
        return [key for key in every if key not in said]

    @cached_property
    def keys(self) -> list[CandidateKey]:
        """The candidates that rules act on."""
        tagged = [] if self.over == "untagged" else _keys(self.decisions.spurious)
        return tagged + ([] if self.over == "spurious" else self.untagged)

    def passes(self, measure: Measure) -> list[Pass]:
        """What a figure is measured with: the tags, and each open candidate of a class in turn.

        What is not of the images of a tagged class, a mean over all for one, is of the tags alone.
        """
        tagged = Pass(self.decisions)
        if self.over == "spurious" or measure.sample is None or ALL in measure.about:
            return [tagged]
        return ([] if self.over == "untagged" else [tagged]) + self._one_by_one

    @cached_property
    def _one_by_one(self) -> list[Pass]:
        of_class: dict[str, list[CandidateKey]] = {}
        for key in self.untagged:
            of_class.setdefault(key.label, []).append(key)
        found = []
        for rank in range(max(map(len, of_class.values()), default=0)):
            keys = {label: [of[rank]] for label, of in of_class.items() if rank < len(of)}
            spurious = Tagged(self.owner, keys)
            found.append(Pass(replace(self.decisions, spurious=spurious, notes=()), alone=True))
        return found

    @cached_property
    def trials(self) -> Trials:
        """What these candidates do."""
        return Trials(self.audit, self.keys, self.owner, self.report)

    @property
    def nothing(self) -> Single:
        """Said where a measure has no figure."""
        if self.keys:
            return Single(said="this audit has no such figure")
        if self.over == "untagged":
            return Single(said="every leading candidate is decided")
        return Single(
            said=f"no candidate of audit {self.owner.name!r} is decided spurious: tag one on the "
            "page Components or Tagging, or: python -m core tags add"
        )


def _keys(tagged: Tagged) -> list[CandidateKey]:
    return [key for keys in tagged.keys_of.values() for key in keys]


def singles(asked: Asked, measure: Measure) -> list[Single]:
    """Every figure of a measure; where there is none, why. Never empty."""
    try:
        return _way(asked, measure)(asked, measure) or [asked.nothing]
    except SpurioscopeError as error:
        return [Single(said=" ".join(str(error).split()))]


Way = Callable[[Asked, Measure], list[Single]]


def _way(asked: Asked, measure: Measure) -> Way:
    """Where a measure's figures are; before and after first, where a model was corrected."""
    if measure in LEANS:
        return _of_candidates
    if EFFECT in measure.views and is_derived(asked.audit):
        return _of_effect
    if measure.measured_with in parts():
        return _of_table
    if SEVERAL in measure.views:
        return _of_model
    if EFFECT in measure.views:
        return _of_effect
    if measure.measured_with in ON_DEMAND:
        return _on_demand
    return _of_factors if measure.measured_with in FACTORS else _of_scores


FACTORS = ("decided_by", "factor_interaction", "composed_accuracy", "shape_bias", "background_gap")


def _of_candidates(asked: Asked, measure: Measure) -> list[Single]:
    owner, names = asked.owner, asked.decisions.names
    return [
        Single(
            bounds=each.bounds,
            class_name=owner.class_facts(each.key.label).name,
            subject=names.written(each.key),
            key=str(each.key),
            n=each.n,
            said=each.how,
        )
        for each in asked.trials.figures(measure)
    ]


def _of_effect(asked: Asked, measure: Measure) -> list[Single]:
    """Of the audit's model, about the owner's cues."""
    found = []
    for each in asked.passes(measure):
        effect = Effect(asked.owner, asked.audit, each.decisions, frozenset())
        table = effects(effect, pictures=not asked.quick, shown=[measure], report=asked.report)
        names = {"after": "value", "after_low": "low", "after_high": "high"}
        rows = table[["label", "class_name", "subject", "n", "note", *names]].rename(columns=names)
        found += _rows(each, rows[rows["label"] == ""] if ALL in measure.about else rows)
    return found


def _of_table(asked: Asked, measure: Measure) -> list[Single]:
    """Of the table of measures: its rows, and why a tagged class has none."""
    found = []
    own = asked.owner is asked.audit
    for each in asked.passes(measure) if own else [Pass(_own_decisions(asked))]:
        table = _table(asked, each, measure.measured_with)
        rows, tagged = table[table["measure"] == measure.name], each.decisions.spurious
        found += _rows(each, rows)
        if measure.sample:
            lacking = [label for label in tagged if label not in set(rows["label"])]
            found += [_lacking(asked.audit, table, label) for label in lacking]
        elif rows.empty and (tagged or measure.everywhere):
            found.append(_lacking(asked.audit, table, ""))
    return found


def _own_decisions(asked: Asked) -> Decisions:
    """What the audit's own tags decide; a corrected one took them over from its parent."""
    if asked.owner is asked.audit:
        return asked.decisions
    return decided(asked.audit, TagStore.open(asked.workspace), asked.threshold)


def _table(asked: Asked, each: Pass, part: str) -> pd.DataFrame:
    """A part of the table of measures; that of candidates which nobody tagged is not kept."""
    audit, decisions = asked.audit, each.decisions
    if asked.quick and is_slow(part) and not is_stored(audit, decisions, part):
        raise InputError(f"not measured yet: python -m core measure {audit.name!r} --what {part}")
    if not each.alone:
        return measured(
            audit, asked.workspace, part, threshold=asked.threshold, report=asked.report
        )
    made = measure_parts(Outcomes(audit, decisions), [part], report=asked.report)
    return decisions.names.in_table(as_table([row for _, rows in made for row in rows]))


def _rows(each: Pass, table: pd.DataFrame) -> list[Single]:
    return [
        Single(
            bounds=(row["value"], row["low"], row["high"]),
            class_name=row["class_name"],
            subject=each.subject(row["label"], row["subject"]),
            key=each.key(row["label"]),
            n=int(row["n"]),
            said=row["note"],
        )
        for row in table.to_dict("records")
    ]


def _lacking(audit: Audit, table: pd.DataFrame, label: str) -> Single:
    """What the notes of a class say, else those about all."""
    notes = table[table["measure"] == "note"]
    said = [list(notes.loc[notes["label"] == of, "note"]) for of in (label, "")]
    name = audit.class_facts(label).name if label else ""
    why = "; ".join(next(filter(None, said), []))
    return Single(class_name=name, said=why or "there is no such figure")


def _of_model(asked: Asked, measure: Measure) -> list[Single]:
    """Of the model as the comparison has it."""
    audit, decisions = asked.audit, _own_decisions(asked)
    wanted = [NAMES.get(kind, kind) for kind in measure.needs]
    wanted += [COST] if measure.measured_with in COSTS else []
    if wanted and not asked.quick:
        lacking = [name for name in missing(audit, decisions) if name in wanted]
        make_trials(audit, decisions, lacking, report=asked.report)
    figure = figures_of(Context(images_of(audit), {audit.id: decisions}), measure)[audit.id]
    if isinstance(figure, str):
        return [Single(said=figure)]
    return [Single((figure.sampled.value, *figure.interval), n=figure.n, said=figure.note)]


COSTS = ("parameters", "images_per_second")


def _of_factors(asked: Asked, measure: Measure) -> list[Single]:
    """What the model decides by; of all classes."""
    table = stored_factors(asked.audit) if asked.quick else None
    if asked.quick and table is None:
        raise InputError(f"not measured yet: python -m core factors {asked.audit.name!r}")
    table = factor_table(asked.audit, report=asked.report) if table is None else table
    return _rows(Pass(_own_decisions(asked)), table[table["measure"] == measure.name])


def _on_demand(asked: Asked, measure: Measure) -> list[Single]:
    """Of a table that is made where it is asked for, with the audit's own tags."""
    demand, decisions = ON_DEMAND[measure.measured_with], _own_decisions(asked)
    audit, request = asked.audit, MeasureRequest(asked.audit.id, demand.name)
    if asked.quick and demand.known(audit, decisions, request) is None:
        raise InputError(
            f"not measured yet: python -m core measure {audit.name!r} --what {demand.name}"
        )
    table = demand.table(audit, decisions, request, asked.report)
    return _rows(Pass(decisions), table[table["measure"] == measure.name])


def _of_scores(asked: Asked, measure: Measure) -> list[Single]:
    """Of the classes that images of their cue alone were given for."""
    found = []
    for label, cues in every_stored_cue(asked.audit).items():
        table = score(asked.audit, label, Path(cues["folder"].iloc[0]), report=asked.report).table
        found += _rows(Pass(_own_decisions(asked)), table[table["measure"] == measure.name])
    return found or [Single(said=NEEDS_CUES)]
