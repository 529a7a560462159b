"""Figures of images with the cue and without, as the parent's ranking or an attribute tells them.

They are shown before and after: which images show the cue is what the parent says, of both models.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from core.measures.measure import EFFECT, PLAIN, POINTS, Measure, Sample
from core.measures.scope import Scope
from core.measures.scores import score, two_groups
from core.statistics.estimates import Precision, Sides
from core.statistics.intervals import class_probability
from core.types import Progress


def _sides(scope: Scope, label: str) -> Sample:
    """Whether each image of the class is predicted correctly, and whether it shows the cue."""
    shows, basis = scope.shows(label)
    ids, there = list(shows.index), shows.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return Sample(ids, np.column_stack([scope.correct(ids), there]), subject=basis)


def _side(scope: Scope, label: str, *, shown: bool) -> Sample:
    """Whether each image is predicted correctly, of those on one side."""
    sides = _sides(scope, label)
    hits = np.where(sides.values[:, 1] == shown, sides.values[:, 0], np.nan)
    return Sample(sides.ids, hits, subject=sides.subject)


def _gap(scope: Scope, label: str) -> Sample | str | None:
    """Both sides, where an attribute was asked for."""
    if scope.attribute is None:
        return None
    sides = _sides(scope, label)
    return sides if {0.0, 1.0} <= set(sides.values[:, 1]) else "no held-out image on one side"


def _pasted(scope: Scope, label: str) -> Sample | str | None:
    """Probability of the class on its images, and on those of others with the cue pasted."""
    if not scope.pictures:
        return None
    seen, ids = scope.composites(label), scope.mine(label)
    output = scope.owner.class_facts(label).class_idx
    if not seen.ids:
        return None
    rows = seen.usable(output, "after")
    if not ids or not rows.any():
        return "needs held-out images of the class and of others"
    logits = seen.logits(scope.audit.head, rows, "after")
    note = "cue-only images: the cue pasted on other classes' images"
    alone = [f"{seen.ids[row]} pasted" for row in np.flatnonzero(rows)]
    return Sample(
        [*ids, *alone],
        two_groups(scope.probability(ids, output), class_probability(logits, output)),
        subject="pasted cues",
        note="; ".join(part for part in (note, seen.note) if part),
    )


def given_images(scope: Scope, label: str, folder: Path) -> Sample:
    """The same with the images of a folder, which show the cue alone; read where they were not.

    Raises
    ------
    DataError
        If the folder does not exist or holds no readable image.
    InputError
        If the class has no held-out image.
    """
    asked = scope.owner if scope.same_encoder else scope.audit  # only the encoder is asked
    if asked.id not in scope.models:
        scope.models[asked.id] = asked.load_model()
    scope.report(Progress(f"Reading {folder.name}", 0, 0))
    model = scope.models[asked.id]
    found = score(scope.audit, label, folder, model=model, report=scope.report).images
    found, ids = found.sort_values("path", kind="stable"), scope.mine(label)
    own = scope.probability(ids, scope.owner.class_facts(label).class_idx)
    return Sample(
        [*ids, *found["path"]],
        two_groups(own, found["probability"].to_numpy()),
        subject=folder.name,
        note=f"{len(found)} cue-only images of {folder}",
    )


PASTED_SCORE = Measure(
    "spurious_score_average_precision",
    "Spurious score before and after, AP",
    "Class images against images of the cue alone (those that were given, or other classes' images "
    "with the cue pasted on them) by the class's probability.",
    PLAIN,
    "higher is better; chance is the share of class images",
    better=1,
    source="Neuhaus et al. 2023, section 5 (their AUC)",
    views=(EFFECT,),
    sample=_pasted,
    estimate=Precision(),
)
ACCURACY_WITH_CUE = Measure(
    "accuracy_with_cue",
    "Accuracy with the cue",
    "Accuracy on held-out images that show the class's cue.",
    better=1,
    views=(EFFECT,),
    sample=partial(_side, shown=True),
)
ACCURACY_WITHOUT_CUE = Measure(
    "accuracy_without_cue",
    "Accuracy without the cue",
    "Accuracy on held-out images of the class that do not show its cue.",
    better=1,
    views=(EFFECT,),
    sample=partial(_side, shown=False),
)
CUE_GAP = Measure(
    "cue_gap",
    "Gap of an attribute",
    "Accuracy with the cue minus accuracy without, as an attribute of the data tells them apart.",
    POINTS,
    "near 0 is better; a closed gap alone does not mean that the cue is unlearnt",
    views=(EFFECT,),
    sample=_gap,
    estimate=Sides(),
)
