"""Rows about changed images: noise under the tagged heatmaps, and pasted cues.

Every forward takes a batch of the audit's size at its precision (a smaller one is padded), so
clean predictions are those that the audit stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.analysis import fitting_rows
from core.audit import Audit, Candidate
from core.data.masks import crop_mask, read_mask
from core.data.preprocess import apply
from core.explain.heatmaps import half_maximum, heatmaps, upsample
from core.features.extract import cores, encode_padded, in_order
from core.measure.noise import SIGMA, add_noise, unit_maps
from core.measure.paste import choose, paste, sample
from core.measure.score import relative_core_sensitivity, sensitivity_interval
from core.measures.decisions import Decisions, held_out, spuriosity_of
from core.measures.gaps import Rows, share
from core.measures.rows import EVERYWHERE, note, row
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

IMAGES = 500
"""Held-out images per class that a trial uses at most, a fixed random part of them."""

SOURCES = 20
"""Training images whose cue is pasted: those of highest spuriosity."""

REGIONS = ("core_accuracy", "spurious_accuracy", "background", "foreground")


def pictures(audit: Audit, image_ids: Sequence[str]) -> Iterator[np.ndarray]:
    """What the encoder sees of each image, (h, w, 3) uint8, decoded in threads."""

    def one(image_id: str) -> np.ndarray:
        return apply(audit.preprocess, audit.image(image_id))

    return in_order(one, image_ids, workers=min(8, cores()), ahead=32)


def logits_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> FloatArray:
    """Logits (n, K) of the audit's head for images that the encoder is to see."""
    size = audit.manifest["compute"]["batch_size"]
    parts = [np.zeros((0, len(audit.head.bias)), np.float32)]
    for start in range(0, len(pixels), size):
        encoded = encode_padded(model, np.stack(pixels[start : start + size]), size)
        parts.append(audit.head.logits(encoded.features.float().cpu().numpy()))
    return np.concatenate(parts)


def predictions_of(audit: Audit, model: Model, pixels: Sequence[np.ndarray]) -> IntArray:
    """Predicted output (n,)."""
    found: IntArray = logits_of(audit, model, pixels).argmax(axis=1).astype(np.int64)
    return found


def region(
    audit: Audit, candidates: Sequence[Candidate], image_ids: Sequence[str], model: Model
) -> FloatArray:
    """Where the candidates support the class, (n, h, w) in [0, 1]: the union of their maps."""
    size = audit.preprocess.input_size
    if not candidates:
        return np.zeros((len(image_ids), *size), np.float32)
    if audit.exact_maps:
        directions = np.stack([c.direction for c in candidates])
        offsets = np.array([c.offset for c in candidates])
        maps = heatmaps(audit.maps(image_ids, model), directions, offsets)
    else:
        maps = np.stack([audit.heatmaps(c, image_ids, model) for c in candidates], axis=1)
    unions = [np.max([upsample(m, size) for m in unit_maps(of_image)], axis=0) for of_image in maps]
    found: FloatArray = np.clip(np.stack(unions), 0.0, 1.0)
    return found


def mask_in_view(audit: Audit, image_id: str, column: str) -> BoolArray | None:
    """An image's mask as the encoder sees it; None where it has none inside the view."""
    image = audit.images.loc[image_id]
    if column not in image.index or not image[column]:
        return None
    size = (int(image["width"]), int(image["height"]))
    mask = crop_mask(read_mask(audit.root / image[column], size), audit.preprocess)
    return mask if mask.any() else None


def trial_ids(audit: Audit, *, inside: str = "", outside: str = "") -> list[str]:
    """Held-out images of a class, or of all others, at most IMAGES of them."""
    images = audit.images[held_out(audit)]
    rows = images["label"] == inside if inside else images["label"] != outside
    return sample(images.index[rows].tolist(), IMAGES)


# Noise


@dataclass(frozen=True)
class NoiseTrial:
    """One class under noise; NaN where an image has no such region."""

    clean: FloatArray
    """(n,) 1 where the image is predicted correctly without noise."""
    correct: dict[str, FloatArray]
    """(n,) the same with noise: REGIONS."""
    area: dict[str, float]
    """Mean of the masks that were used, in [0, 1]."""


def noise_trial(
    audit: Audit,
    label: str,
    spurious: Sequence[Candidate],
    core: Sequence[Candidate],
    model: Model,
    *,
    sigma: float = SIGMA,
    seed: int = 0,
) -> NoiseTrial:
    """Noise on the tagged regions, and on object and background where there are masks."""
    ids, class_idx = trial_ids(audit, inside=label), audit.head.index(label)
    hits: dict[str, list[float]] = {name: [] for name in REGIONS}
    areas: dict[str, list[float]] = {name: [] for name in REGIONS}
    size = audit.manifest["compute"]["batch_size"]
    seen = pictures(audit, ids)
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        pixels = [next(seen) for _ in part]
        masks = _regions(audit, part, spurious, core, model)
        for name in REGIONS:
            there = [i for i, mask in enumerate(masks[name]) if mask.any()]
            noisy = [
                add_noise(pixels[i], masks[name][i], part[i], sigma=sigma, seed=seed) for i in there
            ]
            found = np.full(len(part), np.nan)
            if noisy:
                found[there] = predictions_of(audit, model, noisy) == class_idx
            hits[name] += found.tolist()
            areas[name] += [float(masks[name][i].mean()) for i in there]
    clean = (audit.images.loc[ids, "prediction"] == class_idx).to_numpy(dtype=np.float64)
    return NoiseTrial(
        clean,
        {name: np.array(values) for name, values in hits.items()},
        {name: float(np.mean(values)) for name, values in areas.items() if values},
    )


def _regions(
    audit: Audit,
    image_ids: Sequence[str],
    spurious: Sequence[Candidate],
    core: Sequence[Candidate],
    model: Model,
) -> dict[str, FloatArray]:
    """Masks (n, h, w) of every region; zeros where an image has none."""
    objects = [mask_in_view(audit, i, "object_mask") for i in image_ids]
    nothing = np.zeros(audit.preprocess.input_size, bool)
    inside = np.stack([nothing if mask is None else mask for mask in objects])
    outside = np.stack([nothing if mask is None else ~mask for mask in objects])
    return {
        "core_accuracy": region(audit, spurious, image_ids, model),
        "spurious_accuracy": region(audit, core, image_ids, model),
        "background": outside.astype(np.float32),
        "foreground": inside.astype(np.float32),
    }


def noise_rows(
    audit: Audit,
    decisions: Decisions,
    model: Model,
    *,
    sigmas: Sequence[float] = (SIGMA,),
    report: Reporter = silent,
) -> Rows:
    """Core, spurious and clean accuracy and both sensitivities, per class and their means."""
    rows: Rows = []
    steps = [(sigma, label) for sigma in sigmas for label in decisions.spurious]
    for done, (sigma, label) in enumerate(steps):
        report(Progress("Adding noise", done, len(steps), "classes"))
        core = decisions.core.get(label, [])
        facts = audit.class_facts(label)
        trial = noise_trial(audit, label, decisions.spurious[label], core, model, sigma=sigma)
        if not core:
            rows.append(
                note("no candidate is tagged core: no spurious accuracy, no relative core "
                     "sensitivity", facts=facts)
            )  # fmt: skip
        rows += _noise_class(facts, trial, f"sigma {sigma:g}", _trial_split(audit))
    report(Progress("Adding noise", len(steps), len(steps), "classes"))
    return rows + _noise_means(rows, _trial_split(audit))


def _trial_split(audit: Audit) -> str:
    """Which images a trial uses; changed images have no out-of-fold prediction."""
    if fitting_rows(audit.images).all() and audit.head.mode == "fit":
        return "train (the head was fitted on these images)"
    return str(audit.summary["held_out"])


def _noise_class(facts: dict[str, Any], trial: NoiseTrial, sigma: str, split: str) -> Rows:
    names = {
        "core_accuracy": "core_accuracy",
        "spurious_accuracy": "spurious_accuracy",
        "background": "background_noise_accuracy",
        "foreground": "foreground_noise_accuracy",
    }
    rows: Rows = []
    used = ~np.all([np.isnan(trial.correct[name]) for name in REGIONS], axis=0)
    if used.any():
        rows.append(_share_row(facts, "clean_accuracy", trial.clean[used], sigma, split))
    for region_name, measure in names.items():
        hits = trial.correct[region_name]
        there = ~np.isnan(hits)
        if there.any():
            said = (
                f"clean accuracy of these images {trial.clean[there].mean():.3f}; the mask covers "
                f"{100 * trial.area[region_name]:.0f} % on average"
            )
            rows.append(_share_row(facts, measure, hits[there], sigma, split, said))
    for measure, high, low in (
        ("relative_core_sensitivity", "core_accuracy", "spurious_accuracy"),
        ("relative_foreground_sensitivity", "background", "foreground"),
    ):
        a, b = trial.correct[high], trial.correct[low]
        if np.isnan(a).all() or np.isnan(b).all():
            continue
        value = relative_core_sensitivity(float(np.nanmean(a)), float(np.nanmean(b)))
        rows.append(
            row(facts, measure, value, interval=sensitivity_interval(a, b), subject=sigma,
                n=int((~np.isnan(a) | ~np.isnan(b)).sum()), split=split,
                note="interval by bootstrap over images")
        )  # fmt: skip
    return rows


def _share_row(
    facts: dict[str, Any], measure: str, hits: FloatArray, subject: str, split: str, said: str = ""
) -> dict[str, Any]:
    return row(facts, measure, float(hits.mean()), interval=share(float(hits.sum()), len(hits)),
               n=len(hits), subject=subject, split=split, note=said)  # fmt: skip


def _noise_means(rows: Rows, split: str) -> Rows:
    """Unweighted means over the classes, as published."""
    table = pd.DataFrame([r for r in rows if r["measure"] != "note"])
    if table.empty:
        return []
    found = []
    for (measure, subject), part in table.groupby(["measure", "subject"], sort=False):
        found.append(
            row(EVERYWHERE, measure, part["value"].mean(), subject=subject, n=int(part["n"].sum()),
                split=split, note=f"mean of {len(part)} classes, n counts their images")
        )  # fmt: skip
    return found


# Pasted cues


@dataclass(frozen=True)
class Cues:
    """Cut-out cues of one class."""

    pixels: list[np.ndarray]
    """(h, w, 3) uint8 each."""
    masks: list[BoolArray]
    """(h, w) each, never empty."""
    kind: str
    """``cue masks`` or ``overlays above half of their maximum``."""


def cues_of(audit: Audit, label: str, spurious: Sequence[Candidate], model: Model) -> Cues:
    """The cue in the class's training images of highest spuriosity.

    Its drawn mask where the data has such masks, else where the union of the candidates' overlays
    exceeds half of its maximum.
    """
    table = spuriosity_of(audit, label, spurious)
    fitting = set(audit.images.index[fitting_rows(audit.images)])
    table = table[table["image_id"].isin(fitting) & table["spuriosity"].notna()]
    ids = table["image_id"].tolist()
    drawn: dict[str, BoolArray] = {}
    for image_id in ids if "cue_mask" in audit.images.columns else []:
        if (mask := mask_in_view(audit, image_id, "cue_mask")) is not None:
            drawn[image_id] = mask
        if len(drawn) == SOURCES:
            break
    if drawn:
        return Cues(list(pictures(audit, list(drawn))), list(drawn.values()), "cue masks")
    first = ids[:SOURCES]
    masks = [half_maximum(heat) for heat in region(audit, spurious, first, model)] if first else []
    kept = [(i, m) for i, m in zip(first, masks, strict=True) if m.any()]
    pixels = list(pictures(audit, [i for i, _ in kept]))
    return Cues(pixels, [m for _, m in kept], "overlays above half of their maximum")


@dataclass(frozen=True)
class Pasted:
    """What the model says when a class's cue is pasted on held-out images of other classes."""

    table: pd.DataFrame
    """Columns: ``image_id``, ``label``; output indices ``before``, ``after`` (the cue pasted) and
    ``control`` (a region of the same shape from another image of the image's own class)."""
    kind: str
    """How the cue was cut out (:class:`Cues`)."""
    sources: int
    keeps_object: bool
    """Whether the targets' own objects stayed in front, by their masks."""

    def turned(self, class_idx: int, column: str = "after") -> BoolArray:
        """(n,) images that are newly given a class."""
        now, before = self.table[column].to_numpy(), self.table["before"].to_numpy()
        turned: BoolArray = (now == class_idx) & (before != class_idx)
        return turned


def pasted(
    audit: Audit, label: str, spurious: Sequence[Candidate], model: Model, *, seed: int = 0
) -> Pasted:
    """Paste the cue of a class on held-out images of the other classes and predict.

    Where a target has an object mask its object stays in front, so that nothing of it is hidden.
    """
    cues = cues_of(audit, label, spurious, model)
    ids = trial_ids(audit, outside=label) if cues.masks else []
    labels = audit.images.loc[ids, "label"].tolist()
    picks = choose(ids, len(cues.masks), seed=seed) if ids else np.zeros(0, np.int64)
    others = _others(ids, labels, seed=seed)
    size = audit.manifest["compute"]["batch_size"]
    after, control, kept = [], [], False
    targets, controls = pictures(audit, ids), pictures(audit, others)
    for start in range(0, len(ids), size):
        with_cue, without = [], []
        for i in range(start, min(start + size, len(ids))):
            target, mask = next(targets), cues.masks[picks[i]]
            own = mask_in_view(audit, ids[i], "object_mask")
            if own is not None:
                mask, kept = mask & ~own, True
            with_cue.append(paste(target, cues.pixels[picks[i]], mask))
            without.append(paste(target, next(controls), mask))
        after += predictions_of(audit, model, with_cue).tolist()
        control += predictions_of(audit, model, without).tolist()
    table = pd.DataFrame({"image_id": ids, "label": labels})
    table["before"] = audit.images.loc[ids, "prediction"].to_numpy(dtype=np.int64)
    table["after"], table["control"] = np.array(after, np.int64), np.array(control, np.int64)
    return Pasted(table, cues.kind, len(cues.masks), kept)


def _others(ids: Sequence[str], labels: Sequence[str], *, seed: int) -> list[str]:
    """For every image another one of its class among them; itself where it is alone."""
    members: dict[str, list[str]] = {}
    for image_id, label in zip(ids, labels, strict=True):
        members.setdefault(label, []).append(image_id)
    found = []
    for image_id, label in zip(ids, labels, strict=True):
        rest = [i for i in members[label] if i != image_id] or [image_id]
        found.append(rest[choose([image_id], len(rest), seed=seed + 1)[0]])
    return found


def flip_rows(
    audit: Audit, decisions: Decisions, model: Model, *, report: Reporter = silent
) -> Rows:
    """How often the cue of a class, pasted on other classes' images, turns them into it."""
    rows: Rows = []
    tests = len(decisions.spurious)
    for done, (label, spurious) in enumerate(decisions.spurious.items()):
        report(Progress("Pasting cues", done, tests, "classes"))
        facts = audit.class_facts(label)
        found = pasted(audit, label, spurious, model)
        if found.table.empty:
            rows.append(note("no cue to paste, or no image of another class", facts=facts))
            continue
        rows += _flip_class(audit, facts, found, tests)
    report(Progress("Pasting cues", tests, tests, "classes"))
    return rows


def _flip_class(audit: Audit, facts: dict[str, Any], found: Pasted, tests: int) -> Rows:
    class_idx, n = int(facts["class_idx"]), len(found.table)
    already = float((found.table["before"] == class_idx).mean())
    said = [f"{found.sources} {found.kind}", f"{100 * already:.1f} % had the class before"]
    if found.keeps_object:
        said.append("the target's object stays in front")
    if tests > 1:
        said.append(f"interval corrected for {tests} classes (Bonferroni)")
    turned = {c: found.turned(class_idx, c) for c in ("after", "control")}
    low, _ = share(turned["after"].sum(), n, tests)
    control = float(turned["control"].mean())
    reading = "the cue alone triggers the class" if low > control else "not certain"
    rows = []
    for measure, column in (("flip_rate", "after"), ("flip_rate_control", "control")):
        rows.append(
            row(facts, measure, turned[column].mean(), n=n, split=_trial_split(audit),
                interval=share(turned[column].sum(), n, tests), note="; ".join(said),
                reading=reading if column == "after" else "")
        )  # fmt: skip
    return rows
