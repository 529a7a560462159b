"""Every attribution on photos with a planted cue: where it looks, and whether it can be trusted.

A head that was fitted on blurred photos of three classes, 90 % of one with a sticker, leans on the
sticker. On held-out photos of that class with the sticker every attribution of the class's logit is
judged: share of its positive energy in the sticker over the sticker's area (1: knows nothing),
insertion, deletion, completeness, soundness, what the fill does, seconds of a map. Beside them
stands a map drawn at random, smooth, which knows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from benchmarks.measure import MODEL, PHOTOS, Line

IMAGES = 2
PREVALENCE = 0.9
FIGURES = (
    *("energy", "insertion", "deletion", "completeness", "soundness", "fill_sensitivity"),
    *("stability", "seconds"),
)
CONTROL = "random"


def run() -> list[Line]:
    """A line per attribution with every figure, means over the photos."""
    from core.explain.attribution import ATTRIBUTIONS, Attribution

    if CONTROL not in ATTRIBUTIONS:
        ATTRIBUTIONS.register(
            Attribution(
                name=CONTROL, title="Random map", text="", source="", explain=lambda *_: drawn()
            )
        )
    _, cases = photographed()
    return [
        judgement(name, ATTRIBUTIONS[name].title, measured(cases, name)) for name in ATTRIBUTIONS
    ]


@dataclass(frozen=True)
class Judgement(Line):
    """A method with all of its figures in one row."""

    figures: Mapping[str, float] = field(default_factory=dict)
    head: ClassVar[Sequence[str]] = (
        *("method", *(figure.replace("_", " ") for figure in FIGURES)),
        *("energy to hold", ""),
    )

    def row(self) -> str:
        """As a row of a Markdown table."""
        verdict = {True: "holds", False: "**missed**", None: ""}[self.holds]
        digits = {"energy": ".1f", "seconds": ".1f"}
        cells = [format(self.figures[name], digits.get(name, ".2f")) for name in FIGURES]
        return f"| {' | '.join([self.what, *cells, self.target, verdict])} |"


def judgement(name: str, title: str, figures: Mapping[str, float]) -> Judgement:
    """What is held: that exact maps and LRP see the cue, and that a random map does not."""
    energy, target, holds = figures["energy"], "", None
    if name in ("exact", "lrp"):
        target, holds = "> 1.5", energy > 1.5
    elif name == CONTROL:
        target, holds = "0.5 to 1.5", 0.5 < energy < 1.5
    return Judgement(title, energy, target, "x", holds, figures)


def drawn() -> np.ndarray:
    """A smooth map of noise, (7, 7)."""
    return np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)


def photographed() -> tuple[Any, list[tuple[Any, np.ndarray]]]:
    """The model with its head, and photos of the class with the sticker, with their masks."""
    from benchmarks.planted_cues import STICKER_CLASSES, stuck
    from benchmarks.plants import OWNER, planted
    from core.data.preprocess import apply
    from core.explain.fills import Given, filled
    from core.explain.trust import FILLED, Case
    from core.models.load import load_model

    model = load_model(MODEL).use_head(planted("sticker", 0, PREVALENCE).head)
    own, other = (
        sorted((PHOTOS / "val" / STICKER_CLASSES[k]).glob("*.JPEG"))[:IMAGES]
        for k in (OWNER, OWNER + 1)
    )
    cases = []
    for seed, (photo, elsewhere) in enumerate(zip(own, other, strict=True)):
        image, mask = stuck(photo, True, np.random.default_rng(seed))
        inside = apply(model.preprocess, mask.convert("RGB"))[..., 0] / 255
        pixels = apply(model.preprocess, image)
        with Image.open(elsewhere) as opened:
            strange = apply(model.preprocess, opened.convert("RGB"))
        given = Given(pixels, model.preprocess.mean, lambda strange=strange: strange)
        fills = [filled(name, given) for name in FILLED]
        directions = {k: np.asarray(model.weight[k], float) for k in range(len(model.weight))}
        cases.append((Case(model, pixels, fills, directions, seed), inside))
    return model, cases


def measured(cases: list[tuple[Any, np.ndarray]], name: str) -> dict[str, float]:
    """Means over the photos."""
    from core.explain.heatmaps import coarse, energy_share
    from core.explain.trust import judge

    rows = []
    for case, inside in cases:
        found, heat = judge(case, name)
        covered = coarse(inside, (heat.shape[0], heat.shape[1]))
        share = energy_share(heat, covered) / float(inside.mean())
        rows.append({**vars(found), "energy": share})
    return {figure: float(np.mean([row[figure] for row in rows])) for figure in FIGURES}
