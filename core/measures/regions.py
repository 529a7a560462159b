"""Rows about noise on tagged regions: core and spurious accuracy, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audit import Audit, Candidate
from core.measure.noise import SIGMA, add_noise
from core.measure.score import relative_core_sensitivity, sensitivity_interval
from core.measures.decisions import Decisions
from core.measures.gaps import Rows, share
from core.measures.rows import EVERYWHERE, note, row
from core.measures.trials import (
    mask_in_view,
    pictures,
    predictions_of,
    region,
    trial_ids,
    trial_split,
)
from core.types import FloatArray, Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

REGIONS = ("core_accuracy", "spurious_accuracy", "background", "foreground")
"""What noise leaves readable (the first two) or covers (the others)."""


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
        rows += _noise_class(facts, trial, f"sigma {sigma:g}", trial_split(audit))
    report(Progress("Adding noise", len(steps), len(steps), "classes"))
    return rows + _noise_means(rows, trial_split(audit))


def _noise_class(facts: dict[str, Any], trial: NoiseTrial, sigma: str, split: str) -> Rows:
    names = {
        "core_accuracy": "core_accuracy",
        "spurious_accuracy": "spurious_accuracy",
        "background": "background_noise_accuracy",
        "foreground": "foreground_noise_accuracy",
    }
    rows: Rows = []
    for name, measure in names.items():
        hits = trial.correct[name]
        there = ~np.isnan(hits)
        if there.any():
            said = f"the mask covers {100 * trial.area[name]:.0f} % on average"
            same = f"{sigma}, {measure}"
            rows += [
                _share_row(facts, measure, hits[there], sigma, split, said),
                _share_row(facts, "clean_accuracy", trial.clean[there], same, split),
            ]
    for measure, high, low in (
        ("relative_core_sensitivity", "core_accuracy", "spurious_accuracy"),
        ("relative_foreground_sensitivity", "background", "foreground"),
    ):
        both = ~np.isnan(trial.correct[high]) & ~np.isnan(trial.correct[low])
        if both.any():
            a, b = trial.correct[high][both], trial.correct[low][both]
            found = relative_core_sensitivity(float(a.mean()), float(b.mean()))
            rows.append(
                row(facts, measure, found, interval=sensitivity_interval(a, b), subject=sigma,
                    n=len(a), split=split,
                    note="on the images that have both regions; interval by bootstrap")
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
