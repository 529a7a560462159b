"""Can a heatmap be trusted: every attribution of one image judged by what the model does with it.

Completeness and soundness over several labels (:mod:`core.explain.faithfulness`), insertion and
deletion, how much of that is the fill's doing, and whether the map stays what it is when the image
hardly changes. The labels are the class, the strongest other one, and one drawn from the rest,
which the image most likely does not have: a map from which that one can be read is unsound.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import InputError, SpurioscopeError
from core.explain.attribution import ATTRIBUTIONS, attribute
from core.explain.explainer import Explainer, Explanation, Question, Setting
from core.explain.faithfulness import SHARES, best, completeness, composed, order_of, soundness
from core.explain.fills import WORDS
from core.explain.heatmaps import agreement, readable
from core.explain.sis import fill_of, probabilities
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

FILLED = ("mean", "blur", "other")
"""Fills that are averaged over."""

NOISE = 4
"""Standard deviation of the small change, grey values of 255."""


@dataclass(frozen=True)
class Judged:
    """One attribution of one image; shares in [0, 1] unless said otherwise."""

    completeness: float
    """Of the worst label; higher is better."""
    soundness: float
    """Of the worst label; higher is better."""
    mean_completeness: float
    mean_soundness: float
    insertion: float
    """Mean probability of the class with only the best pixels; higher is better."""
    deletion: float
    """Mean probability of the class without them; lower is better."""
    fill_sensitivity: float
    """Standard deviation of insertion over the fills."""
    stability: float
    """Agreement with the map of the image with slight noise, in [-1, 1]; higher is better."""
    seconds: float
    """Of one map."""


@dataclass(frozen=True)
class Case:
    """One image, what it is filled with, and which labels are looked at."""

    model: Model
    pixels: np.ndarray
    """(h, w, 3) uint8."""
    fills: Sequence[FloatArray]
    """(h, w, 3) float32 in [0, 1] each."""
    directions: Mapping[int, FloatArray]
    """The slope (D,) of every label's logit, the class's first."""
    seed: int = 0

    @property
    def labels(self) -> list[int]:
        """Outputs, the class first."""
        return list(self.directions)

    def asked(self, images: Sequence[FloatArray]) -> FloatArray:
        """Probabilities (n, K) of images (h, w, 3) in [0, 1]."""
        own = np.arange(len(self.model.weight), dtype=np.int64)
        return probabilities([(self.model, own)], np.stack(images).astype(np.float32))


def judge(case: Case, method: str) -> tuple[Judged, FloatArray]:
    """One attribution judged, and its map of the class.

    Raises
    ------
    InputError
        If the method cannot explain this architecture.
    """
    image = case.pixels.astype(np.float32) / 255
    size = (image.shape[0], image.shape[1])
    whole = case.asked([image])[0]
    start = time.perf_counter()
    maps = {case.labels[0]: attribute(case.model, case.pixels, _first(case), method)}
    seconds = time.perf_counter() - start
    for label in case.labels[1:]:
        maps[label] = attribute(case.model, case.pixels, case.directions[label], method)
    alone = []
    for label, heat in maps.items():
        kept = [best(order_of(heat, size), size, share) for share in SHARES]
        asked = case.asked([composed(image, fill, k) for fill in case.fills for k in kept])
        alone.append(asked[:, label].reshape(len(case.fills), len(SHARES)).mean(axis=1))
    own = case.labels[0]
    kept = [best(order_of(maps[own], size), size, share) for share in SHARES]
    without = case.asked([composed(image, fill, ~k) for fill in case.fills for k in kept])
    certificates = np.array([each.mean() for each in alone])
    held, classes = whole[case.labels], len(whole)
    complete = completeness(held, certificates, classes)
    sound = soundness(held, certificates, classes)
    found = Judged(
        *(float(complete.min()), float(sound.min()), float(complete.mean()), float(sound.mean())),
        *(float(certificates[0]), float(without[:, own].mean()), float(alone[0].std())),
        *(_stability(case, method, maps[own]), seconds),
    )
    return found, maps[own]


def _first(case: Case) -> FloatArray:
    return case.directions[case.labels[0]]


def _stability(case: Case, method: str, found: FloatArray) -> float:
    noise = np.random.default_rng(case.seed).normal(0, NOISE, case.pixels.shape)
    near = np.clip(np.round(case.pixels + noise), 0, 255).astype(np.uint8)
    return agreement(found, attribute(case.model, near, _first(case), method))


def trust(question: Question) -> Explanation:
    """Every attribution that is asked for, or why it says nothing of this image."""
    if question.candidate is not None:
        raise InputError("trust judges maps of a class by what it is given: leave the candidate")
    case = _case(question)
    names = _names(question.word("by"))
    judged, failed, maps = dict[str, object](), dict[str, str](), dict[str, np.ndarray]()
    for done, name in enumerate(names):
        question.report(done, len(names))
        try:
            found, heat = judge(case, name)
        except SpurioscopeError as error:
            failed[name] = str(error)
            continue
        judged[name], maps[f"map-{name}"] = asdict(found), readable(heat)
    told = "; ".join(words_of(name, found) for name, found in judged.items())
    labels = [question.model.output_names[k] for k in case.labels]
    facts = {"judged": judged, "failed": failed, "labels": labels, "fills": list(FILLED)}
    filled = ", ".join(WORDS[name] for name in FILLED)
    notes = [f"over the labels {', '.join(labels)}; fills: {filled}"]
    notes += [f"{name}: {why}" for name, why in failed.items()]
    return Explanation(maps, facts, told or "no method says anything", notes)


def words_of(name: str, found: object) -> str:
    """One attribution in a line."""
    assert isinstance(found, dict)
    return (
        f"{ATTRIBUTIONS[name].title}: complete {found['completeness']:.2f}, sound "
        f"{found['soundness']:.2f}"
    )


def _names(text: str) -> list[str]:
    if text == "all":
        return list(ATTRIBUTIONS)
    return [ATTRIBUTIONS.chosen(name.strip()).name for name in text.split(",")]


def _case(question: Question) -> Case:
    """The class, the strongest other output and one of the rest, drawn by the seed."""
    model, own = question.model, question.class_idx
    image = question.pixels.astype(np.float32)[None] / 255
    outputs = np.arange(len(model.weight), dtype=np.int64)
    given = probabilities([(model, outputs)], image)[0]
    others = [int(k) for k in np.argsort(-given, kind="stable") if k != own]
    rng = np.random.default_rng(question.seed)
    labels = [*others[:1], *(int(k) for k in rng.permutation(others[1:])[:1])]
    directions = {own: question.direction}
    directions |= {k: np.asarray(model.weight[k], np.float64) for k in labels}
    fills = [fill_of(question, name) for name in FILLED]
    return Case(model, question.pixels, fills, directions, question.seed)


TRUST = Explainer(
    name="trust",
    title="Can a heatmap be trusted",
    text="Every attribution of an image judged: completeness and soundness over several labels, "
    "insertion, deletion, stability, and what the fill does.",
    source="Gupta et al. 2022 (by memory); Petsiuk et al. 2018",
    explain=trust,
    settings={"by": Setting("all", "attributions, joined by commas, or all")},
)
