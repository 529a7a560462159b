"""Rows about noise on tagged regions: core and spurious accuracy, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.audits.audited import AuditedClass
from core.candidates.candidate import Candidate
from core.features.extract import cores, in_order
from core.measures.gaps import Rows, share
from core.measures.rows import EVERYWHERE, note, row
from core.statistics.separation import relative_core_sensitivity, sensitivity_interval
from core.tags.decisions import Decisions
from core.trials.encoder import Encoder, Seen, regions, trial_ids, trial_split
from core.trials.noise import SIGMA, add_noise, noise_of
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

TAGGED = ("core_accuracy", "spurious_accuracy")
"""Accuracies with noise on what is tagged spurious, and on what is tagged core."""

MASKED = ("background", "foreground")
"""Accuracies with noise outside and inside of the object's mask; no tag is needed."""

REGIONS = (*TAGGED, *MASKED)


@dataclass(frozen=True)
class NoiseTrial:
    """One class under noise."""

    table: pd.DataFrame
    """Columns: ``image_id``; ``clean``, 1.0 where the image is predicted correctly without noise;
    the same with noise, by REGIONS (all, or those that were asked for), NaN where an image has no
    such region; and ``area_…``, the mean of the mask in [0, 1], NaN likewise."""

    @property
    def clean(self) -> FloatArray:
        """(n,) 1 where the image is predicted correctly without noise."""
        found: FloatArray = self.table["clean"].to_numpy(np.float64)
        return found

    @property
    def correct(self) -> dict[str, FloatArray]:
        """(n,) the same with noise, by REGIONS."""
        there = [name for name in REGIONS if name in self.table.columns]
        return {name: self.table[name].to_numpy(np.float64) for name in there}

    def area(self, name: str) -> float:
        """Mean of the masks that were used, in [0, 1]."""
        areas = self.table[f"area_{name}"].to_numpy(np.float64)
        return float(np.mean(areas[~np.isnan(areas)]))


def noise_trial(
    audit: Audit,
    label: str,
    spurious: Sequence[Candidate],
    core: Sequence[Candidate],
    model: Model,
    *,
    names: Sequence[str] = REGIONS,
    sigma: float = SIGMA,
    seed: int = 0,
    seen: Seen | None = None,
) -> NoiseTrial:
    """Noise on the tagged regions, and on object and background where there are masks.

    Parameters
    ----------
    names : some of REGIONS.
    """
    ids, class_idx = trial_ids(audit, inside=label), audit.head.index(label)
    encoder, seen = Encoder(audit, model), seen or Seen(audit)
    hits = {name: np.full(len(ids), np.nan) for name in names}
    areas = {name: np.full(len(ids), np.nan) for name in names}
    tagged = [
        candidates if name in names else []
        for name, candidates in zip(TAGGED, (spurious, core), strict=True)
    ]

    def noisy() -> Iterator[tuple[tuple[str, int], np.ndarray]]:
        changed = _noisy(audit, ids, tagged, names, model, sigma, seed, seen)
        for place, images in enumerate(changed):
            for name, (pixels, area) in images.items():
                areas[name][place] = area
                yield (name, place), pixels

    features: dict[str, dict[int, FloatArray]] = {name: {} for name in names}
    for (name, place), found in encoder.each(noisy()):
        features[name][place] = found
    for name, of_region in features.items():
        if of_region:
            logits = audit.head.logits(np.stack(list(of_region.values())))
            hits[name][list(of_region)] = logits.argmax(axis=1) == class_idx
    clean = (audit.images.loc[ids, "prediction"] == class_idx).to_numpy(dtype=np.float64)
    table = pd.DataFrame({"image_id": pd.Series(ids, dtype=str), "clean": clean, **hits})
    return NoiseTrial(table.assign(**{f"area_{name}": areas[name] for name in names}))


def _noisy(
    audit: Audit,
    ids: Sequence[str],
    tagged: Sequence[Sequence[Candidate]],
    names: Sequence[str],
    model: Model,
    sigma: float,
    seed: int,
    seen: Seen,
) -> Iterator[dict[str, tuple[np.ndarray, float]]]:
    """Every image with noise on each region that it has, and that region's area; in threads."""

    def masked() -> Iterator[tuple[str, FloatArray, FloatArray]]:
        size = int(audit.manifest.compute.batch_size)
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            spurious, core = regions(audit, tagged, part, model)
            yield from zip(part, spurious, core, strict=True)

    def one(given: tuple[str, FloatArray, FloatArray]) -> dict[str, tuple[np.ndarray, float]]:
        image_id, spurious, core = given
        masks = dict(zip(TAGGED, (spurious, core), strict=True))
        inside = seen.mask(image_id, "object_mask") if set(MASKED) & set(names) else None
        if inside is not None:
            masks |= {
                "background": (~inside).astype(np.float32),
                "foreground": inside.astype(np.float32),
            }
        pixels = seen.picture(image_id)
        noise = noise_of(image_id, pixels.shape, seed=seed)
        return {
            name: (
                add_noise(pixels, mask, image_id, sigma=sigma, seed=seed, noise=noise),
                float(mask.mean()),
            )
            for name, mask in masks.items()
            if name in names and mask.any()
        }

    yield from in_order(one, masked(), workers=min(8, cores()), ahead=32)


def noise_rows(
    audit: Audit,
    decisions: Decisions,
    noise: Callable[[str, float], NoiseTrial],
    *,
    sigmas: Sequence[float] = (SIGMA,),
) -> Rows:
    """Core, spurious and clean accuracy and both sensitivities, per class and their means.

    Parameters
    ----------
    noise : the trial of a class, by its raw label, at a sigma.
    """
    rows: Rows = []
    for sigma in sigmas:
        for label in decisions.spurious:
            facts = audit.class_facts(label)
            if not decisions.core.get(label):
                rows.append(
                    note(
                        "no candidate is tagged core: no spurious accuracy, no relative core "
                        "sensitivity",
                        facts=facts,
                    )
                )
            rows += _noise_class(facts, noise(label, sigma), f"sigma {sigma:g}", trial_split(audit))
    return rows + _noise_means(rows, trial_split(audit))


def _noise_class(facts: AuditedClass, trial: NoiseTrial, sigma: str, split: str) -> Rows:
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
            said = f"the mask covers {100 * trial.area(name):.0f} % on average"
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
                row(
                    facts,
                    measure,
                    found,
                    interval=sensitivity_interval(a, b),
                    subject=sigma,
                    n=len(a),
                    split=split,
                    note="on the images that have both regions; interval by bootstrap",
                )
            )
    return rows


def _share_row(
    facts: AuditedClass, measure: str, hits: FloatArray, subject: str, split: str, said: str = ""
) -> dict[str, Any]:
    return row(
        facts,
        measure,
        float(hits.mean()),
        interval=share(float(hits.sum()), len(hits)),
        n=len(hits),
        subject=subject,
        split=split,
        note=said,
    )


def _noise_means(rows: Rows, split: str) -> Rows:
    """Unweighted means over the classes, as published."""
    table = pd.DataFrame([r for r in rows if r["measure"] != "note"])
    if table.empty:
        return []
    found = []
    for (measure, subject), part in table.groupby(["measure", "subject"], sort=False):
        found.append(
            row(
                EVERYWHERE,
                measure,
                part["value"].mean(),
                subject=subject,
                n=int(part["n"].sum()),
                split=split,
                note=f"mean of {len(part)} classes, n counts their images",
            )
        )
    return found
