"""A class under noise: on its tagged regions, and on object and background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audits.audit import Audit
from core.candidates.candidate import Candidate
from core.explain.fills import Given, filled
from core.features.extract import cores, in_order
from core.trials.encoder import Encoder, Seen, regions, trial_ids
from core.trials.noise import SIGMA, add_noise, noise_of
from core.trials.paste import sample
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

TAGGED = ("core_accuracy", "spurious_accuracy")
"""Accuracies with noise on what is tagged spurious, and on what is tagged core."""

MASKED = ("background", "foreground")
"""Accuracies with noise outside and inside of the object's mask; no tag is needed."""

REGIONS = (*TAGGED, *MASKED)

OTHER_FILLS, FILLED = ("mean", "blur"), 24
"""What else stands in a region instead of noise, on so many images: noise is a fill, too."""


@dataclass(frozen=True)
class NoiseTrial:
    """One class under noise."""

    table: pd.DataFrame
    """Columns: ``image_id``; ``clean``, 1.0 where the image is predicted correctly without noise;
    the same with noise, by REGIONS (all, or those that were asked for), NaN where an image has no
    such region; ``area_…``, the mean of the mask in [0, 1], NaN likewise; and ``mean_…`` and
    ``blur_…``, the same as with noise with the region filled so, of FILLED images."""

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

    def by_fill(self, name: str) -> dict[str, tuple[float, int]]:
        """Accuracy under noise and under other fills on the same images, and how many these are.

        Empty where it was made by a version that tried none.
        """
        columns = {"noise": name, **{fill: f"{fill}_{name}" for fill in OTHER_FILLS}}
        if not set(columns.values()) <= set(self.table.columns):
            return {}
        part = self.table[list(columns.values())].dropna().to_numpy(np.float64)
        n = len(part)
        return (
            dict(zip(columns, ((float(x), n) for x in part.mean(axis=0)), strict=True)) if n else {}
        )

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
    every = [*names, *(f"{fill}_{name}" for fill in OTHER_FILLS for name in names)]
    hits = {name: np.full(len(ids), np.nan) for name in every}
    areas = {name: np.full(len(ids), np.nan) for name in names}
    tagged = [
        candidates if name in names else []
        for name, candidates in zip(TAGGED, (spurious, core), strict=True)
    ]

    def noisy() -> Iterator[tuple[tuple[str, int], np.ndarray]]:
        changed = _noisy(audit, ids, tagged, names, model, sigma, seed, seen)
        for place, images in enumerate(changed):
            for name, (pixels, area) in images.items():
                if name in areas:
                    areas[name][place] = area
                yield (name, place), pixels

    features: dict[str, dict[int, FloatArray]] = {name: {} for name in every}
    for (name, place), found in encoder.each(noisy()):
        features[name][place] = found
    for name, of_region in features.items():
        if of_region:
            logits = audit.head.logits(np.stack(list(of_region.values())))
            hits[name][list(of_region)] = logits.argmax(axis=1) == class_idx
    clean = (audit.images_of(ids)["prediction"] == class_idx).to_numpy(dtype=np.float64)
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

    mean, filled_too = audit.preprocess.mean, set(sample(ids, FILLED))

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
        found = {}
        for name, mask in masks.items():
            if name not in names or not mask.any():
                continue
            noisy = add_noise(pixels, mask, image_id, sigma=sigma, seed=seed, noise=noise)
            found[name] = (noisy, float(mask.mean()))
            for fill in OTHER_FILLS if image_id in filled_too else ():
                found[f"{fill}_{name}"] = (_filled(pixels, mask, fill, mean), 0.0)
        return found

    yield from in_order(one, masked(), workers=min(8, cores()), ahead=32)


def _filled(pixels: np.ndarray, mask: FloatArray, fill: str, mean: Sequence[float]) -> np.ndarray:
    """Pixels (h, w, 3) uint8 with a fill where a mask (h, w) in [0, 1] is, as far as it is 1."""
    there = 255 * filled(fill, Given(pixels, mean, lambda: pixels))
    mixed = pixels + mask[:, :, None] * (there - pixels)
    found: np.ndarray = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return found
