"""The rows of the table before and after, and what they are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.corrections.acted_on import who_shows
from core.measures.gaps import share
from core.measures.rows import EVERYWHERE, SHARE
from core.statistics.bootstrap import RESAMPLES, draws, percentiles
from core.statistics.intervals import paired_change
from core.tags.decisions import Decisions
from core.types import BoolArray, FloatArray

if TYPE_CHECKING:
    pass

COLUMNS = [
    *("class_idx", "label", "class_name", "measure", "subject", "acted_on"),
    *("before", "before_low", "before_high", "after", "after_low", "after_high"),
    *("change", "change_low", "change_high", "unit", "n", "split", "note"),
]
"""``class_idx`` is -1 in rows about all classes; ``acted_on``: whether the mitigation acted on the
class's cues. NaN where there is no such figure, and ``note`` then says why."""


LOGIT = "logits"

CUE_GAP, WORST = "cue_gap", "worst_cue_group_accuracy"
"""Not the gap by spuriosity, and not the worst group of a class and an attribute."""


MEANING = {
    "accuracy": "Share of held-out images predicted correctly. Higher is better.",
    "accuracy_with_cue": "The same on images that show the class's cue. Higher is better.",
    "accuracy_without_cue": "The same on images without it. Higher is better.",
    "spurious_gap": "Accuracy on the k images of highest spuriosity minus that on the k lowest.",
    CUE_GAP: "Accuracy with the cue minus accuracy without, as an attribute of the data tells them "
    "apart. Near 0 is better; a closed gap alone does not mean that the cue is unlearnt.",
    "flip_rate": "Share of other classes' images that become the class when its cue is pasted on "
    "them. Lower is better.",
    "flip_rate_control": "The same with a region without the cue. Compare with flip_rate.",
    "spurious_score_average_precision": "Class images against images of the cue alone (those that "
    "were given, or other classes' images with the cue pasted on them) by the class's probability. "
    "Higher is better; chance is the share of class images.",
    WORST: "The lowest accuracy of any class with its cue, or without. Higher is better.",
    "epg": "Share of the positive part of the class's map that lies on the object. Higher is "
    "better.",
    "tcav": "Share of images with the cue whose logit grows along the cue's direction. 0.5 means "
    "no preference; a linear head has one gradient for all images, so 0 or 1.",
    "sensitivity": "Mean size of that slope. Lower is better.",
    "agreement": "Share of held-out images predicted as before. Higher: less was changed.",
}
"""What every measure means, for people."""


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

        Columns: ``label``; ``before`` and ``after``, predicted outputs; ``right_before`` and
        ``right_after``, out of fold where a head was fitted on the image.
        """
        old, new = (a.images[a.held_out] for a in (self.before, self.after))
        ids = old.index.intersection(new.index, sort=False)
        old, new = old.loc[ids], new.loc[ids]
        return pd.DataFrame(
            {
                "label": old["label"],
                "before": old["prediction"],
                "after": new["prediction"],
                "right_before": old["fair"].astype(bool),
                "right_after": new["fair"].astype(bool),
            }
        )

    @property
    def split(self) -> str:
        """What is reported on, in words."""
        return self.after.summary.held_out

    @property
    def same_encoder(self) -> bool:
        """Whether both see images alike."""
        done = self.after.manifest.mitigation
        return done is None or not done.encoder_changed

    def facts(self, label: str) -> AuditedClass:
        """Facts of a class."""
        return self.before.class_facts(label)

    def shows(self, label: str) -> tuple[pd.Series, str]:
        """Who shows a class's cue among the held-out images, and how that is known.

        See :func:`core.corrections.acted_on.who_shows`.
        """
        ids = self.images.index
        return who_shows(self.before, label, self.decisions, ids, self.attribute)


Cell = tuple[float, float, float]


NOTHING: Cell = (float("nan"),) * 3


def row(
    effect: Effect,
    label: str,
    measure: str,
    before: Cell = NOTHING,
    after: Cell = NOTHING,
    change: Cell | None = None,
    *,
    n: int = 0,
    subject: str = "",
    unit: str = SHARE,
    note: str = "",
    acted_on: bool | None = None,
) -> dict[str, Any]:
    """One row of the table (COLUMNS).

    Parameters
    ----------
    label : raw label; empty in rows about all classes.
    change : default the plain difference, without an interval.
    acted_on : default whether any cue of the class was.
    """
    facts = effect.facts(label) if label else EVERYWHERE
    if acted_on is None:
        acted_on = any(key.rpartition("/")[0] == label for key in effect.acted_on)
    change = change or (after[0] - before[0], *NOTHING[1:])
    values = [facts.class_idx, facts.label, facts.name, measure, subject, acted_on]
    values += [*before, *after, *change, unit, n, effect.split, note]
    return dict(zip(COLUMNS, values, strict=True))


def missing(effect: Effect, label: str, measure: str, why: str) -> dict[str, Any]:
    """A row without figures that says why, and what would bring them."""
    return row(effect, label, measure, note=why)


def paired(
    effect: Effect, label: str, measure: str, before: BoolArray, after: BoolArray, **more: Any
) -> dict[str, Any]:
    """A row about one proportion on the same images."""
    if not len(before):
        return missing(effect, label, measure, "no such image among the held-out ones")
    change = paired_change(before, after)
    return row(
        effect, label, measure, proportion(before), proportion(after), change, n=len(before), **more
    )


def proportion(hits: BoolArray) -> Cell:
    """Share of hits with its Wilson interval."""
    n = len(hits)
    return (float(hits.mean()), *share(float(hits.sum()), n)) if n else NOTHING


def mean(values: FloatArray) -> Cell:
    """Mean with its percentile bootstrap interval over images."""
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return NOTHING
    counts = draws(np.random.default_rng(0), n, RESAMPLES)
    low, high = percentiles(counts @ values / n)
    return float(values.mean()), float(low), float(high)


def right(images: pd.DataFrame) -> tuple[BoolArray, BoolArray]:
    """Whether each image is right before and after."""
    return images["right_before"].to_numpy(bool), images["right_after"].to_numpy(bool)


def points(cell: tuple[float, ...]) -> Cell:
    """Shares as percentage points."""
    value, low, high = (100 * v for v in cell)
    return value, low, high
