"""Before and after: what a correction did to every class and to every tagged cue.

A loop over the measures that are shown before and after (:mod:`core.measures.measure`). Both models
are measured on the same held-out images and the same composites, so that changes are paired. Which
images show a cue is what the parent says: its ranking by spuriosity, or an attribute of the data.
Every interval is a 95 % one by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.measures.cue_figures import PASTED_SCORE, given_images
from core.measures.measure import ALL, EFFECT, EVERY, TAGGED, Change, Measure, Sample
from core.measures.registry import MEASURES
from core.measures.rows import EVERYWHERE
from core.measures.scope import Scope
from core.statistics.estimates import NOTHING
from core.tags.decisions import Decisions
from core.types import IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

COLUMNS = [
    *("class_idx", "label", "class_name", "measure", "subject", "acted_on"),
    *("before", "before_low", "before_high", "after", "after_low", "after_high"),
    *("change", "change_low", "change_high", "unit", "n", "split", "note"),
]
"""``class_idx`` is -1 in rows about all classes; ``acted_on``: whether the mitigation acted on the
class's cues. NaN where there is no such figure, and ``note`` then says why."""


@dataclass(frozen=True)
class Effect:
    """Two audits of the same images, the corrected one and what it was made from."""

    before: Audit
    after: Audit
    decisions: Decisions
    """Tags of ``before``."""
    acted_on: frozenset[str]
    """Keys of the cues acted on, as texts."""
    attribute: str | None = None
    """Says which images show the cue, where people asked for it; default: by spuriosity."""

    @cached_property
    def images(self) -> pd.DataFrame:
        """Held-out images of both, indexed by ``image_id``.

        Columns: ``label``; ``before`` and ``after``, predicted outputs.
        """
        old, new = (a.images[a.held_out] for a in (self.before, self.after))
        ids = old.index.intersection(new.index, sort=False)
        old, new = old.loc[ids], new.loc[ids]
        return pd.DataFrame(
            {"label": old["label"], "before": old["prediction"], "after": new["prediction"]}
        )

    def scopes(
        self, *, pictures: bool, models: dict[str, Model], report: Reporter
    ) -> tuple[Scope, Scope]:
        """Both models, asked about the cues of ``before``."""
        done = self.after.manifest.mitigation
        changed = done is not None and done.encoder_changed
        old = Scope(
            self.before,
            self.decisions,
            parent=self.before,
            images=self.images.index,
            attribute=self.attribute,
            pictures=pictures,
            models=models,
            report=report,
        )
        return old, replace(old, audit=self.after, same_encoder=not changed)

    def row(self, measure: Measure, found: Change, key: str = "") -> dict[str, Any]:
        """One row of the table (COLUMNS).

        Parameters
        ----------
        key : of the cue, where the figure is about one alone; default any of its class.
        """
        facts = self.before.class_facts(found.label) if found.label else EVERYWHERE
        of_class = any(cue.rpartition("/")[0] == found.label for cue in self.acted_on)
        acted_on = key in self.acted_on if key else of_class
        plain = (found.after[0] - found.before[0], *NOTHING[1:])
        change = plain if found.change is None else found.change
        values = [facts.class_idx, facts.label, facts.name, measure.name, found.subject, acted_on]
        values += [*found.before, *found.after, *change, measure.unit, found.n]
        values += [self.after.summary.held_out, found.note]
        return dict(zip(COLUMNS, values, strict=True))


def effects(
    effect: Effect,
    *,
    pictures: bool,
    cue_images: Mapping[str, Path] | None = None,
    models: dict[str, Model] | None = None,
    shown: Sequence[Measure] | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:
    """The table before and after (COLUMNS).

    Parameters
    ----------
    pictures : whether to measure what needs images: pasted cues and the object's share of maps.
    cue_images : folder of images of the cue alone by raw label, for the spurious score.
    models : loaded models by audit id.
    shown : the measures; by default all that are shown before and after.
    """
    models = {} if models is None else models
    scopes = effect.scopes(pictures=pictures, models=models, report=report)
    tagged = list(effect.decisions.spurious)
    shown = MEASURES.seen_in(EFFECT) if shown is None else shown
    rows = _about(effect, scopes, shown, "", ALL)
    for facts in effect.before.classes:
        rows += _about(effect, scopes, shown, facts.label, EVERY)
    for number, label in enumerate(tagged):
        report(Progress("Measuring before and after", number, len(tagged), "classes"))
        rows += _about(effect, scopes, shown, label, TAGGED)
    for label, folder in (cue_images or {}).items():
        old, new = (given_images(scope, label, folder) for scope in scopes)
        rows.append(_paired(effect, PASTED_SCORE, label, old, new))
    report(Progress("Measuring before and after", len(tagged), len(tagged), "classes"))
    for measure in shown:
        found = measure.changes(*scopes) if measure.changes else ()
        rows += [effect.row(measure, change) for change in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _about(
    effect: Effect, scopes: tuple[Scope, Scope], shown: Sequence[Measure], label: str, what: str
) -> list[dict[str, Any]]:
    """The rows of a class, or of all, of the measures that are about such."""
    chosen = [measure for measure in shown if what in measure.about]
    return [row for measure in chosen for row in _rows(effect, scopes, measure, label)]


def _rows(
    effect: Effect, scopes: tuple[Scope, Scope], measure: Measure, label: str
) -> list[dict[str, Any]]:
    """A row per sample; where there is none, why."""
    old, new = (measure.samples(scope, label) for scope in scopes)
    if isinstance(old, str) or isinstance(new, str):
        why = old if isinstance(old, str) else str(new)
        return [effect.row(measure, Change(label, NOTHING, NOTHING, NOTHING, 0, note=why))]
    before = {sample.subject: sample for sample in old}
    return [_paired(effect, measure, label, before.get(after.subject), after) for after in new]


def _paired(
    effect: Effect, measure: Measure, label: str, before: Sample | None, after: Sample
) -> dict[str, Any]:
    """A figure on the images that both models say something of."""
    estimate, new = measure.estimate, pd.Index(after.ids)
    kept = estimate.known(after.values)
    was, change = NOTHING, NOTHING
    if before is not None and len(before.ids):
        places = pd.Index(before.ids).get_indexer(new)
        old = before.values[places]
        kept &= (places >= 0) & estimate.known(old)
        was, change = estimate.of(old[kept]), estimate.change(old[kept], after.values[kept])
    now, n = estimate.of(after.values[kept]), int(kept.sum())
    n = n if after.size is None else min(n, after.size)
    note = after.note if n else "no such image among the held-out ones"
    found = Change(label, was, now, change, n, after.subject, note)
    return effect.row(measure, found, after.key)


def changed_images(effect: Effect) -> dict[str, list[str]]:
    """Held-out images whose prediction changed: ``better``, ``worse`` and ``other`` (wrong twice).

    By the models as they stand; figures use out-of-fold predictions where a head was fitted on the
    images.
    """
    images = effect.images
    truth: IntArray = np.array([effect.before.head.index(v) for v in images["label"]], np.int64)
    old, new = images["before"].to_numpy(), images["after"].to_numpy()
    moved = old != new
    return {
        "better": images.index[moved & (new == truth)].tolist(),
        "worse": images.index[moved & (old == truth)].tolist(),
        "other": images.index[moved & (old != truth) & (new != truth)].tolist(),
    }
