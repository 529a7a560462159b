"""Held-out images with the cue of a class pasted on them, as a head sees them: features, kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit import Audit
from core.audits.folds import fitted_on_all, fold_heads
from core.models.linear import Head
from core.statistics.paired import newly_given
from core.storage.files import there
from core.storage.layout import PastedFiles
from core.tags.decisions import Decisions
from core.trials.outcomes import VERSIONS, Outcomes, pasted_features
from core.types import BoolArray, FloatArray, IntArray, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

PLAIN = "plain"
"""Of an image without a cue."""


@dataclass(frozen=True)
class Composites:
    """Held-out images of other classes with a class's cue pasted on them, as features."""

    ids: list[str]
    """(T,) the images."""
    truth: IntArray
    """(T,) their outputs, -1 where the head has none."""
    plain: FloatArray
    """(T, D) without the cue."""
    pasted: dict[str, FloatArray]
    """(T, D) by :data:`core.trials.pasted_cues.PASTES`; rows of NaN where an image has none."""
    kind: str
    sources: int

    unseen: Mapping[str, FloatArray] | None = None
    """(T, K) what to add to a head's logits, of PLAIN and of every version, so that an image is
    judged by the fold that did not see it; None where no head was fitted on these images, or the
    folds are unknown."""
    note: str = ""
    """Which of both, where the head was fitted on these images."""

    def logits(self, head: Head, rows: BoolArray, name: str = PLAIN) -> FloatArray:
        """Logits (n, K) of some images, out of fold where it is known how."""
        features = self.plain if name == PLAIN else self.pasted[name]
        found = head.logits(features[rows])
        return found if self.unseen is None else found + self.unseen[name][rows]

    def turned(self, head: Head, class_idx: int, name: str = "after") -> BoolArray:
        """Images that are newly given the class, of those that the version exists of."""
        rows = self.usable(class_idx, name)
        before, after = (self.logits(head, rows, of).argmax(axis=1) for of in (PLAIN, name))
        return newly_given(before, after, class_idx)

    def usable(self, class_idx: int, name: str) -> BoolArray:
        """(T,) images of another class that the version exists of."""
        there: BoolArray = ~np.isnan(self.pasted[name][:, 0]) & (self.truth != class_idx)
        return there


def held_out_composites(
    audit: Audit,
    label: str,
    decisions: Decisions,
    *,
    seen_by: Audit | None = None,
    models: dict[str, Model] | None = None,
    report: Reporter = silent,
) -> Composites:
    """Composites of a class's cue, encoded where they are missing.

    Parameters
    ----------
    audit : whose cues are cut out, by its decisions.
    seen_by : whose encoder sees them; default ``audit``.
    models : loaded models by audit id, filled where one is needed.
    """
    seen_by, models = seen_by or audit, {} if models is None else models

    def model(of: Audit) -> Model:
        if of.id not in models:
            models[of.id] = of.load_model()
        return models[of.id]

    found, features = pasted_features(
        audit, label, decisions, model, seen_by=seen_by, report=report
    )
    ids = found.table["image_id"].tolist()
    width = seen_by.head.weight.shape[1]
    plain = seen_by.features(ids) if ids else np.zeros((0, width), np.float32)
    unseen, note = _unseen(seen_by, ids, {PLAIN: plain, **features})
    return Composites(
        ids,
        found.table["truth"].to_numpy(np.int64),
        plain,
        features,
        found.kind,
        found.sources,
        unseen,
        note,
    )


def _unseen(
    audit: Audit, ids: Sequence[str], features: Mapping[str, FloatArray]
) -> tuple[dict[str, FloatArray] | None, str]:
    """See :class:`Composites`."""
    if not ids or not fitted_on_all(audit):
        return None, ""
    folds = fold_heads(audit)
    if folds is None:
        return None, "the head was fitted on these images, and its folds are unknown"
    return {name: folds.change(ids, of) for name, of in features.items()}, "out of fold"


def are_kept(audit: Audit, label: str, decisions: Decisions) -> bool:
    """Whether the features of a class's composites are stored, so that no model is needed."""
    own = Outcomes(audit, decisions)
    return all(
        there(PastedFiles(own.path(kind, label)).array(name))
        for kind, versions in VERSIONS.items()
        for name in versions
    )
