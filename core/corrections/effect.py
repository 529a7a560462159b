"""Before and after: what a correction did to every class and to every tagged cue.

Both models are measured on the same held-out images and the same composites, so that changes are
paired. Which images show a cue is what the parent says: its ranking by spuriosity, or an attribute
of the data. Every interval is a 95 % one by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.candidate import Candidate
from core.corrections.acted_on import who_shows
from core.corrections.effect_rows import (
    COLUMNS,
    LOGIT,
    NOTHING,
    WORST,
    Effect,
    mean,
    missing,
    paired,
    points,
    proportion,
    right,
    row,
)
from core.corrections.pictured import NOT_ASKED, cue_image_row, flip_rows, object_rows
from core.corrections.sensitivity import Answer, answer
from core.measures.rows import POINTS
from core.statistics.intervals import combined, paired_change
from core.tags.decisions import values_of
from core.types import IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model


def effects(
    effect: Effect,
    *,
    pictures: bool,
    cue_images: Mapping[str, Path] | None = None,
    models: dict[str, Model] | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:
    """The table before and after (COLUMNS).

    Parameters
    ----------
    pictures : whether to measure what needs images: pasted cues and the object's share of maps.
    cue_images : folder of images of the cue alone by raw label, for the spurious score.
    models : loaded models by audit id.
    """
    models = {} if models is None else models
    rows = _overall(effect)
    rows += [_class_accuracy(effect, facts) for facts in effect.before.classes]
    labels = list(effect.decisions.spurious)
    for number, label in enumerate(labels):
        report(Progress("Measuring before and after", number, len(labels), "classes"))
        rows += _cue_rows(effect, label)
        rows += _direction_rows(effect, label)
        if pictures:
            rows += flip_rows(effect, label, models, report)
        else:
            rows.append(missing(effect, label, "flip_rate", NOT_ASKED))
        rows += object_rows(effect, label, models, pictures=pictures)
    for label, folder in (cue_images or {}).items():
        rows.append(cue_image_row(effect, label, folder, models, report))
    report(Progress("Measuring before and after", len(labels), len(labels), "classes"))
    return pd.DataFrame([*rows, *_worst_groups(effect, labels)], columns=COLUMNS)


def _overall(effect: Effect) -> list[dict[str, Any]]:
    images = effect.images
    same = (images["before"] == images["after"]).to_numpy(bool)
    return [
        paired(effect, "", "accuracy", *right(images), acted_on=False),
        row(
            effect,
            "",
            "agreement",
            after=proportion(same),
            change=NOTHING,
            n=len(same),
            note="predictions of the corrected model that are those of the old one",
        ),
    ]


def _class_accuracy(effect: Effect, facts: AuditedClass) -> dict[str, Any]:
    mine = effect.images[effect.images["label"] == facts.label]
    return paired(effect, facts.label, "accuracy", *right(mine))


def _cue_rows(effect: Effect, label: str) -> list[dict[str, Any]]:
    """Accuracy with and without the cue, and the gap between: by spuriosity, and by an attribute.

    Either gap has a name of its own; only where people asked for an attribute there are both.
    """
    ranked, _ = who_shows(effect.before, label, effect.decisions, effect.images.index)
    shows, basis = effect.shows(label)
    rows = [
        paired(effect, label, f"accuracy_{name}_cue", *right(side), subject=basis)
        for name, side in zip(("with", "without"), _sides(effect, label, shows), strict=True)
    ]
    k, n = (int(count) for count in (ranked.fillna(False).sum(), ranked.notna().sum()))
    of_class = int((effect.images["label"] == label).sum())
    said = f"k = {k} of {of_class} images a side"
    rows.append(_gap_row(effect, label, "spurious_gap", ranked, n=n, note=said))
    if effect.attribute is not None:
        rows.append(_gap_row(effect, label, "cue_gap", shows, subject=basis))
    return rows


def _sides(effect: Effect, label: str, shows: pd.Series) -> list[pd.DataFrame]:
    mine = effect.images["label"] == label
    return [effect.images[mine & (shows == there).fillna(False)] for there in (True, False)]


def _gap_row(
    effect: Effect, label: str, measure: str, shows: pd.Series, **more: Any
) -> dict[str, Any]:
    sides = _sides(effect, label, shows)
    if not all(len(side) for side in sides):
        return missing(effect, label, measure, "no held-out image on one side")
    cells = []
    for column in ("right_before", "right_after"):
        parts = [proportion(side[column].to_numpy(bool)) for side in sides]
        cells.append(points(combined(*parts, signs=(1, -1))))
    changes = [paired_change(*right(side)) for side in sides]
    change = points(combined(*changes, signs=(1, -1)))
    told = {"n": sum(len(side) for side in sides), "unit": POINTS, **more}
    return row(effect, label, measure, cells[0], cells[1], change, **told)


def _worst_groups(effect: Effect, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The worst group of class and cue, over the classes that have a tagged cue."""
    groups: dict[str, pd.DataFrame] = {}
    for label in labels:
        shows, _ = effect.shows(label)
        name, mine = effect.facts(label).name, effect.images["label"] == label
        for there, word in ((True, "with"), (False, "without")):
            part = effect.images[mine & (shows == there).fillna(False)]
            if len(part):
                groups[f"{name} {word} the cue"] = part
    if not groups:
        return []
    worst, cells = [], []
    for column in ("right_before", "right_after"):
        name = min(groups, key=lambda g: (groups[g][column].mean(), g))
        worst.append(name)
        cells.append(proportion(groups[name][column].to_numpy(bool)))
    same = worst[0] == worst[1]
    change = paired_change(*right(groups[worst[0]])) if same else None
    subject = worst[0] if same else f"before: {worst[0]}; after: {worst[1]}"
    note = "" if same else "two different groups: the change has no paired interval"
    return [
        row(
            effect,
            "",
            WORST,
            cells[0],
            cells[1],
            change,
            n=len(groups[worst[1]]),
            subject=subject,
            note=note,
        )
    ]


def _direction_rows(effect: Effect, label: str) -> list[dict[str, Any]]:
    """TCAV and sensitivity of every tagged cue of a class, along its signal direction."""
    rows = []
    for candidate in effect.decisions.spurious[label]:
        acted = str(candidate.key) in effect.acted_on
        old = _answer(effect, effect.before, label, candidate)
        new = old and _answer(effect, effect.after, label, candidate)
        if old is None or new is None:
            why = "no training or held-out image of the class to take it from"
            rows.append(missing(effect, label, "sensitivity", why))
            continue
        more: dict[str, Any] = {"subject": candidate.title, "acted_on": acted}
        rows.append(paired(effect, label, "tcav", old.slopes > 0, new.slopes > 0, **more))
        cells = [mean(old.sizes), mean(new.sizes)]
        rows.append(
            row(
                effect,
                label,
                "sensitivity",
                cells[0],
                cells[1],
                mean(new.sizes - old.sizes),
                n=len(old.slopes),
                unit=LOGIT,
                **more,
            )
        )
    return rows


def _answer(effect: Effect, audit: Audit, label: str, candidate: Candidate) -> Answer | None:
    """What the class's logit answers to the cue on held-out images that show it most.

    The direction is the unit difference of the mean features of the training images with the
    highest and the lowest quarter of alpha (signal CAV).
    """
    arrays = effect.before.class_arrays(candidate.class_idx)
    alpha = values_of(effect.before, label, [candidate])[:, 0]
    ids = np.array(arrays.image_ids, object)
    train = np.flatnonzero(arrays.fitting)
    train = train[np.argsort(-alpha[train], kind="stable")]
    k = len(train) // 4
    held = np.flatnonzero(pd.Index(ids).isin(effect.images.index))
    held = held[np.argsort(-alpha[held], kind="stable")][: max(len(held) // 4, 1)]
    if not k or not len(held):
        return None
    high, low = (audit.features(ids[part].tolist()) for part in (train[:k], train[-k:]))
    v = high.mean(axis=0, dtype=np.float64) - low.mean(axis=0, dtype=np.float64)
    v /= max(float(np.linalg.norm(v)), 1e-300)
    return answer(audit.head, audit.features(ids[held].tolist()), v, candidate.class_idx)


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
