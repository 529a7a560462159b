"""Before and after in pictures: pasted cues, images of the cue alone, maps on the object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audits.audit import Audit
from core.corrections.composites import Composites, held_out_composites
from core.corrections.effect_rows import Cell, Effect, mean, missing, paired, row
from core.statistics.bootstrap import RESAMPLES, draws, percentiles
from core.statistics.intervals import class_probability
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model


def flip_rows(
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
    class_idx = effect.facts(label).class_idx
    if not len(old.ids):
        return [missing(effect, label, "flip_rate", "no cue to paste or no other class's image")]
    said = f"{old.sources} {old.kind}"
    rows = [
        paired(
            effect,
            label,
            measure,
            old.turned(effect.before.head, class_idx, name),
            new.turned(effect.after.head, class_idx, name),
            note=said,
        )
        for measure, name in (("flip_rate", "after"), ("flip_rate_control", "control"))
    ]
    return [*rows, _score_row(effect, label, class_idx, old, new)]


SCORE = "spurious_score_average_precision"


def _score_row(
    effect: Effect, label: str, class_idx: int, old: Composites, new: Composites
) -> dict[str, Any]:
    """The spurious score with pasted cues for images of the cue alone."""
    mine = effect.images.index[effect.images["label"] == label].tolist()
    rows = old.usable(class_idx, "after")
    mine = effect.images.index[effect.images["label"] == label].tolist()
    if not mine or not rows.any():
        return missing(effect, label, SCORE, "needs held-out images of the class and of others")
    given = [
        class_probability(audit.head.logits(audit.features(mine)), class_idx)
        for audit in (effect.before, effect.after)
    ]
    alone = [
        class_probability(audit.head.logits(seen.pasted["after"][rows]), class_idx)
        for audit, seen in ((effect.before, old), (effect.after, new))
    ]
    note = "cue-only images: the cue pasted on other classes' images"
    return _scored(effect, label, given, alone, subject="pasted cues", note=note)


def _scored(
    effect: Effect, label: str, given: list[FloatArray], alone: list[FloatArray], **more: Any
) -> dict[str, Any]:
    """The spurious score from probabilities of class images and of cue-only ones.

    Parameters
    ----------
    given, alone : before and after, of the same images in the same order.
    """
    from core.statistics.separation import spurious_score

    scores = [spurious_score(p_in, p_cue) for p_in, p_cue in zip(given, alone, strict=True)]
    cells = [(found.average_precision, found.ap_low, found.ap_high) for found in scores]
    values = [np.concatenate(pair) for pair in zip(given, alone, strict=True)]
    change = _precision_change(values[0], values[1], len(given[0]))
    return row(effect, label, SCORE, cells[0], cells[1], change, n=len(values[0]), unit="", **more)


def cue_image_row(
    effect: Effect, label: str, folder: Path, models: dict[str, Model], report: Reporter = silent
) -> dict[str, Any]:
    """The spurious score with the images of a folder for images of the cue alone.

    Both models read the same files (:func:`core.measures.scores.score`).

    Raises
    ------
    DataError
        If the folder does not exist or holds no readable image.
    InputError
        If the class has no held-out image.
    """
    from core.measures.scores import score

    report(Progress(f"Reading {folder.name}", 0, 0))
    found, given = [], []
    class_idx = effect.facts(label).class_idx
    mine = effect.images.index[effect.images["label"] == label].tolist()
    for audit in (effect.before, effect.after):
        owner = effect.before if effect.same_encoder else audit  # only the encoder is asked
        if owner.id not in models:
            models[owner.id] = owner.load_model()
        scored = score(audit, label, folder, model=models[owner.id], report=report)
        found.append(scored.images.set_index("path")["probability"])
        given.append(class_probability(audit.head.logits(audit.features(mine)), class_idx))
    paths = sorted(found[0].index.intersection(found[1].index))  # as they were read
    alone = [values.loc[paths].to_numpy() for values in found]
    return _scored(
        effect,
        label,
        given,
        alone,
        subject=folder.name,
        note=f"{len(paths)} cue-only images of {folder}",
    )


def _precision_change(before: FloatArray, after: FloatArray, n_in: int) -> Cell:
    """Change of the average precision; both models are looked at through the same resamples."""
    from core.statistics.separation import weighted_precision

    n, rng = len(before), np.random.default_rng(0)
    positive = np.arange(n) < n_in
    weights = np.concatenate([draws(rng, m, RESAMPLES) for m in (n_in, n - n_in)], axis=1)
    ones = np.ones((1, n))
    value, samples = (
        weighted_precision(after, positive, w) - weighted_precision(before, positive, w)
        for w in (ones, weights)
    )
    low, high = percentiles(samples)
    return float(value[0]), float(low), float(high)


MAPS = 100
"""Images per class whose maps are held against the object's mask."""


NO_MASKS = (
    "needs object masks in the data: add the column object_mask to the manifest, and audit it"
)


NOT_ASKED = "needs pictures, which --quick left out: run the same command without it"


def no_exact_maps(audit: Audit) -> str:
    """Why a share of a map cannot be told for an architecture, and what to do instead."""
    return (
        f"{audit.manifest.model.name} has no exact maps: its head does not read the mean of "
        "one layer's maps, and of an approximation the share would say as much about the "
        "approximation as about the model. Audit a network that ends in average pooling and one "
        "linear layer, or judge by the flip rate and the sensitivity"
    )


def object_rows(
    effect: Effect, label: str, models: dict[str, Model], *, pictures: bool
) -> list[dict[str, Any]]:
    """Energy-based pointing game of the class's logit on the object's mask."""
    if "object_mask" not in effect.before.images.columns:
        return [missing(effect, label, "epg", NO_MASKS)]
    if not (effect.before.exact_maps and effect.after.exact_maps):
        return [missing(effect, label, "epg", no_exact_maps(effect.before))]
    if not pictures:
        return [missing(effect, label, "epg", NOT_ASKED)]
    ids = effect.images.index[effect.images["label"] == label].tolist()[:MAPS]
    class_idx = effect.facts(label).class_idx
    shares = [
        object_shares(audit, ids, class_idx, models) for audit in (effect.before, effect.after)
    ]
    both = ~np.isnan(shares[0]) & ~np.isnan(shares[1])
    if not both.any():
        return [missing(effect, label, "epg", "no held-out image of the class has a mask")]
    old, new = shares[0][both], shares[1][both]
    return [row(effect, label, "epg", mean(old), mean(new), mean(new - old), n=len(old))]


def object_shares(
    audit: Audit, image_ids: list[str], class_idx: int, models: dict[str, Model]
) -> FloatArray:
    """Share (n,) of the positive part of a class's map on the object; NaN without a mask.

    The map averages to the corrected logit minus the class's mean logit, as everywhere in the app:
    gradient times pooled maps, with a correction that of the linear piece that the image lies in.
    """
    from core.data.masks import mask_on_grid
    from core.explain.heatmaps import energy_share
    from core.trials.encoder import mask_in_view

    found = np.full(len(image_ids), np.nan)
    masks = [mask_in_view(audit, i, "object_mask") for i in image_ids]
    there = [i for i, mask in enumerate(masks) if mask is not None]
    ids = [image_ids[i] for i in there]
    if not ids:
        return found
    if not audit.store.has_maps(ids) and audit.id not in models:
        models[audit.id] = audit.load_model()
    slopes, constants = audit.head.piece(audit.features(ids), class_idx)
    level = float(audit.class_arrays(class_idx).facts.logit_mean)
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
