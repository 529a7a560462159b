"""Before and after: what a correction did to every class and to every tagged cue.

Both models are measured on the same held-out images and the same composites, so that changes are
paired. Which images show a cue is what the parent says: its ranking by spuriosity, or an attribute
of the data. Every interval is a 95 % one by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audit import Audit, Candidate
from core.config import CONFIDENCE
from core.measures.decisions import Decisions, values_of
from core.measures.gaps import share
from core.measures.rows import POINTS, SHARE
from core.mitigation.composites import Composites, held_out_composites
from core.mitigation.findings import key_of, who_shows
from core.statistics import combined, log_softmax, paired_change
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

COLUMNS = [
    *("class_idx", "label", "class_name", "measure", "subject", "acted_on"),
    *("before", "before_low", "before_high", "after", "after_low", "after_high"),
    *("change", "change_low", "change_high", "unit", "n", "split", "note"),
]
"""``class_idx`` is -1 in rows about all classes; ``acted_on``: whether the mitigation acted on the
class's cues. NaN where there is no such figure, and ``note`` then says why."""

LOGIT = "logits"
RESAMPLES = 2000

MEANING = {
    "accuracy": "Share of held-out images predicted correctly. Higher is better.",
    "accuracy_with_cue": "The same on images that show the class's cue. Higher is better.",
    "accuracy_without_cue": "The same on images without it. Higher is better.",
    "spurious_gap": "Accuracy with the cue minus accuracy without. Near 0 is better; a closed gap "
    "alone does not mean that the cue is unlearnt.",
    "flip_rate": "Share of other classes' images that become the class when its cue is pasted on "
    "them. Lower is better.",
    "flip_rate_control": "The same with a region without the cue. Compare with flip_rate.",
    "spurious_score_average_precision": "Class images against images of other classes with the "
    "cue pasted on them, by the class's probability. Higher is better; chance is the share of "
    "class images.",
    "worst_group_accuracy": "Accuracy of the worst group of class and cue. Higher is better.",
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
    """Keys of the cues acted on (:func:`core.mitigation.findings.key_of`)."""
    attribute: str | None = None
    """Says which images show the cue; default the planted one where the data has one."""

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
        return str(self.after.summary["held_out"])

    @property
    def same_encoder(self) -> bool:
        """Whether both see images alike."""
        return not self.after.manifest["mitigation"]["encoder_changed"]

    def facts(self, label: str) -> dict[str, Any]:
        """Facts of a class."""
        return self.before.class_facts(label)

    def shows(self, label: str) -> tuple[pd.Series, str]:
        """Who shows a class's cue among the held-out images, and how that is known.

        See :func:`core.mitigation.findings.who_shows`.
        """
        ids = self.images.index
        return who_shows(self.before, label, self.decisions, ids, self.attribute)


def effects(
    effect: Effect, *, pictures: bool, models: dict[str, Model] | None = None,
    report: Reporter = silent,
) -> pd.DataFrame:  # fmt: skip
    """The table before and after (COLUMNS).

    Parameters
    ----------
    pictures : whether to measure what needs images: pasted cues and the object's share of maps.
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
            rows += _flip_rows(effect, label, models, report)
        else:
            rows.append(_missing(effect, label, "flip_rate", "needs pictures; not asked for"))
        rows += _object_rows(effect, label, models, pictures=pictures)
    report(Progress("Measuring before and after", len(labels), len(labels), "classes"))
    return pd.DataFrame([*rows, *_worst_groups(effect, labels)], columns=COLUMNS)


Cell = tuple[float, float, float]
NOTHING: Cell = (float("nan"),) * 3


def _row(
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
    facts = effect.facts(label) if label else {"class_idx": -1, "label": "", "name": ""}
    if acted_on is None:
        acted_on = any(key.rpartition("/")[0] == label for key in effect.acted_on)
    change = change or (after[0] - before[0], *NOTHING[1:])
    values = [facts["class_idx"], facts["label"], facts["name"], measure, subject, acted_on]
    values += [*before, *after, *change, unit, n, effect.split, note]
    return dict(zip(COLUMNS, values, strict=True))


def _missing(effect: Effect, label: str, measure: str, why: str) -> dict[str, Any]:
    return _row(effect, label, measure, note=why)


def _proportion(hits: BoolArray) -> Cell:
    n = len(hits)
    return (float(hits.mean()), *share(float(hits.sum()), n)) if n else NOTHING


def _paired(
    effect: Effect, label: str, measure: str, before: BoolArray, after: BoolArray, **more: Any
) -> dict[str, Any]:
    """A row about one proportion on the same images."""
    if not len(before):
        return _missing(effect, label, measure, "no such image among the held-out ones")
    change = paired_change(before, after)
    return _row(effect, label, measure, _proportion(before), _proportion(after), change,
                n=len(before), **more)  # fmt: skip


def _right(images: pd.DataFrame) -> tuple[BoolArray, BoolArray]:
    return images["right_before"].to_numpy(bool), images["right_after"].to_numpy(bool)


def _overall(effect: Effect) -> list[dict[str, Any]]:
    images = effect.images
    same = (images["before"] == images["after"]).to_numpy(bool)
    return [
        _paired(effect, "", "accuracy", *_right(images), acted_on=False),
        _row(effect, "", "agreement", after=_proportion(same), change=NOTHING, n=len(same),
             note="predictions of the corrected model that are those of the old one"),
    ]  # fmt: skip


def _class_accuracy(effect: Effect, facts: dict[str, Any]) -> dict[str, Any]:
    mine = effect.images[effect.images["label"] == facts["label"]]
    return _paired(effect, facts["label"], "accuracy", *_right(mine))


def _cue_rows(effect: Effect, label: str) -> list[dict[str, Any]]:
    """Accuracy with and without the cue, and the gap between."""
    shows, basis = effect.shows(label)
    mine = effect.images["label"] == label
    sides = [effect.images[mine & (shows == there).fillna(False)] for there in (True, False)]
    rows = [
        _paired(effect, label, f"accuracy_{name}_cue", *_right(side), subject=basis)
        for name, side in zip(("with", "without"), sides, strict=True)
    ]
    if not all(len(side) for side in sides):
        return [*rows, _missing(effect, label, "spurious_gap", "no held-out image on one side")]
    cells = []
    for column in ("right_before", "right_after"):
        parts = [_proportion(side[column].to_numpy(bool)) for side in sides]
        cells.append(_points(combined(*parts, signs=(1, -1))))
    changes = [paired_change(*_right(side)) for side in sides]
    change = _points(combined(*changes, signs=(1, -1)))
    n = sum(len(side) for side in sides)
    rows.append(
        _row(
            effect,
            label,
            "spurious_gap",
            cells[0],
            cells[1],
            change,
            n=n,
            subject=basis,
            unit=POINTS,
        )
    )
    return rows


def _points(cell: tuple[float, ...]) -> Cell:
    value, low, high = (100 * v for v in cell)
    return value, low, high


def _worst_groups(effect: Effect, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The worst group of class and cue, over the classes that have a tagged cue."""
    groups: dict[str, pd.DataFrame] = {}
    for label in labels:
        shows, _ = effect.shows(label)
        name, mine = effect.facts(label)["name"], effect.images["label"] == label
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
        cells.append(_proportion(groups[name][column].to_numpy(bool)))
    same = worst[0] == worst[1]
    change = paired_change(*_right(groups[worst[0]])) if same else None
    subject = worst[0] if same else f"before: {worst[0]}; after: {worst[1]}"
    note = "" if same else "two different groups: the change has no paired interval"
    return [
        _row(effect, "", "worst_group_accuracy", cells[0], cells[1], change,
             n=len(groups[worst[1]]), subject=subject, note=note)
    ]  # fmt: skip


def _direction_rows(effect: Effect, label: str) -> list[dict[str, Any]]:
    """TCAV and sensitivity of every tagged cue of a class, along its signal direction."""
    rows = []
    for candidate in effect.decisions.spurious[label]:
        acted = key_of(label, candidate) in effect.acted_on
        old = _slopes(effect, effect.before, label, candidate)
        new = old
        if old is not None:
            new = _slopes(effect, effect.after, label, candidate)
        if old is None or new is None:
            why = "no training or held-out image of the class to take it from"
            rows.append(_missing(effect, label, "sensitivity", why))
            continue
        more: dict[str, Any] = {"subject": candidate.title, "acted_on": acted}
        rows.append(_paired(effect, label, "tcav", old > 0, new > 0, **more))
        size = np.abs(old), np.abs(new)
        cells = [_mean(v) for v in size]
        rows.append(
            _row(effect, label, "sensitivity", cells[0], cells[1], _mean(size[1] - size[0]),
                 n=len(old), unit=LOGIT, **more)
        )  # fmt: skip
    return rows


def _slopes(effect: Effect, audit: Audit, label: str, candidate: Candidate) -> FloatArray | None:
    """Derivative (n,) of the class's logit along the cue on held-out images that show it most.

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
    slope, _ = audit.head.piece(audit.features(ids[held].tolist()), candidate.class_idx)
    found: FloatArray = slope @ (v / max(float(np.linalg.norm(v)), 1e-300))
    return found


def _mean(values: FloatArray) -> Cell:
    """Mean with its percentile bootstrap interval over images."""
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return NOTHING
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    low, high = np.quantile(counts @ values / n, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(values.mean()), float(low), float(high)


def _flip_rows(
    effect: Effect, label: str, models: dict[str, Model], report: Reporter
) -> list[dict[str, Any]]:
    """Flip rates with the very same composites, and the spurious score on them."""
    tags = effect.decisions
    old = held_out_composites(effect.before, label, tags, models=models, report=report)
    new = old
    if not effect.same_encoder:
        new = held_out_composites(
            effect.before, label, tags, seen_by=effect.after, models=models, report=report
        )
    class_idx = int(effect.facts(label)["class_idx"])
    if not len(old.ids):
        return [_missing(effect, label, "flip_rate", "no cue to paste or no other class's image")]
    said = f"{old.sources} {old.kind}"
    rows = [
        _paired(effect, label, measure, old.turned(effect.before.head, class_idx, name),
                new.turned(effect.after.head, class_idx, name), note=said)
        for measure, name in (("flip_rate", "after"), ("flip_rate_control", "control"))
    ]  # fmt: skip
    return [*rows, _score_row(effect, label, class_idx, old, new)]


def _score_row(
    effect: Effect, label: str, class_idx: int, old: Composites, new: Composites
) -> dict[str, Any]:
    from core.measure.score import spurious_score

    measure = "spurious_score_average_precision"
    mine = effect.images.index[effect.images["label"] == label].tolist()
    rows = old.usable(class_idx, "after")
    if not mine or not rows.any():
        return _missing(effect, label, measure, "needs held-out images of the class and of others")
    cells, values = [], []
    for audit, seen in ((effect.before, old), (effect.after, new)):
        p_in, p_cue = (
            np.exp(log_softmax(audit.head.logits(phi))[:, class_idx])
            for phi in (audit.features(mine), seen.pasted["after"][rows])
        )
        found = spurious_score(p_in, p_cue)
        cells.append((found.average_precision, found.ap_low, found.ap_high))
        values.append(np.concatenate([p_in, p_cue]))
    change = _precision_change(values[0], values[1], len(mine))
    return _row(effect, label, measure, cells[0], cells[1], change,
                n=len(mine) + int(rows.sum()), unit="",
                note="cue-only images: the cue pasted on other classes' images")  # fmt: skip


def _precision_change(before: FloatArray, after: FloatArray, n_in: int) -> Cell:
    """Change of the average precision; both models are looked at through the same resamples."""
    from core.measure.score import weighted_precision

    n, rng = len(before), np.random.default_rng(0)
    positive = np.arange(n) < n_in
    weights = np.concatenate(
        [rng.multinomial(m, np.full(m, 1 / m), RESAMPLES) for m in (n_in, n - n_in)], axis=1
    ).astype(np.float64)
    ones = np.ones((1, n))
    value, samples = (
        weighted_precision(after, positive, w) - weighted_precision(before, positive, w)
        for w in (ones, weights)
    )
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(value[0]), float(low), float(high)


MAPS = 100
"""Images per class whose maps are held against the object's mask."""


def _object_rows(
    effect: Effect, label: str, models: dict[str, Model], *, pictures: bool
) -> list[dict[str, Any]]:
    """Energy-based pointing game of the class's logit on the object's mask."""
    if "object_mask" not in effect.before.images.columns:
        return [_missing(effect, label, "epg", "needs object masks in the data")]
    if not pictures:
        return [_missing(effect, label, "epg", "needs pictures; not asked for")]
    if not (effect.before.exact_maps and effect.after.exact_maps):
        return [_missing(effect, label, "epg", "the architecture has no exact maps")]
    ids = effect.images.index[effect.images["label"] == label].tolist()[:MAPS]
    class_idx = int(effect.facts(label)["class_idx"])
    shares = [
        object_shares(audit, ids, class_idx, models) for audit in (effect.before, effect.after)
    ]
    both = ~np.isnan(shares[0]) & ~np.isnan(shares[1])
    if not both.any():
        return [_missing(effect, label, "epg", "no held-out image of the class has a mask")]
    old, new = shares[0][both], shares[1][both]
    return [_row(effect, label, "epg", _mean(old), _mean(new), _mean(new - old), n=len(old))]


def object_shares(
    audit: Audit, image_ids: list[str], class_idx: int, models: dict[str, Model]
) -> FloatArray:
    """Share (n,) of the positive part of a class's map on the object; NaN without a mask.

    The map averages to the corrected logit minus the class's mean logit, as everywhere in the app:
    gradient times pooled maps, with a correction that of the linear piece that the image lies in.
    """
    from core.data.masks import mask_on_grid
    from core.explain.heatmaps import energy_share
    from core.measures.trials import mask_in_view

    found = np.full(len(image_ids), np.nan)
    masks = [mask_in_view(audit, i, "object_mask") for i in image_ids]
    there = [i for i, mask in enumerate(masks) if mask is not None]
    ids = [image_ids[i] for i in there]
    if not ids:
        return found
    if not audit.store.has_maps(ids) and audit.id not in models:
        models[audit.id] = audit.load_model()
    slopes, constants = audit.head.piece(audit.features(ids), class_idx)
    level = float(audit.class_arrays(class_idx).facts["logit_mean"])
    for start in range(0, len(ids), 32):
        part = range(start, min(start + 32, len(ids)))
        maps = audit.maps([ids[i] for i in part], models.get(audit.id))
        for i, of_image in zip(part, maps, strict=True):
            heat = np.tensordot(slopes[i], of_image, axes=1) + constants[i] - level
            mask = masks[there[i]]
            assert mask is not None
            inside = mask_on_grid(mask, (heat.shape[0], heat.shape[1]))
            found[there[i]] = energy_share(heat, inside)
    return found


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
