"""Dressed digits: a classifier that saw looks go with labels, and one trained on counterfactuals.

The generator of independent mechanisms sees the 4,000 training digits, whose look is a function of
the label, and nothing else; both classifiers are tested on 1,000 digits whose look is random. True
masks serve for two comparisons: with the saliency that steers the generator's masks, and with
counterfactuals composed by them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import Line

if TYPE_CHECKING:
    from core.demos.digits import Digits

COUNTERFACTUALS, EPOCHS, PLAIN_EPOCHS = 16000, 3, 5
"""Four images per training image; 1e5 to 1e6 are published."""
GOALS = {"double-coloured": 0.85, "wildlife": 0.8}
"""Accuracy to be reached."""


def run() -> list[Line]:
    """Three guises, two classifiers each; the masks' own composition for comparison."""
    import torch

    from core.demos.digits import KINDS

    torch.set_num_threads(1)  # the networks are so small that two wait for each other
    return [line for kind in KINDS for line in guise(kind)]


def guise(kind: str) -> list[Line]:
    """Train generator and classifiers on one guise."""
    from core.corrections.generator import WEIGHTS, generate, train_generator
    from core.corrections.invariant import predict, train_classifier
    from core.corrections.saliency import frame_saliency
    from core.demos.digits import sets

    train, test = sets(kind)
    began = time.perf_counter()
    network = train_generator(train.pixels, train.labels, WEIGHTS[kind])
    seconds = time.perf_counter() - began
    taken, made = (generate(network, COUNTERFACTUALS, taken=taken) for taken in (True, False))
    salient = frame_saliency(train.pixels, train.labels) > 0.5
    overlap = (salient & train.masks).sum() / (salient | train.masks).sum()
    plain = train_classifier(train.pixels, train.labels, epochs=PLAIN_EPOCHS)
    taught, drawn = (
        train_classifier(found.pixels, found.labels[:, 0].copy(), epochs=EPOCHS)
        for found in (taken, made)
    )
    masked = train_classifier(*composed(train), epochs=EPOCHS)
    before, after, alone, given = (
        float((predict(network, test.pixels) == test.labels).mean())
        for network in (plain, taught, drawn, masked)
    )
    goal = GOALS.get(kind, before)
    return [
        Line(f"{kind}: plain classifier", before, "", "accuracy"),
        Line(
            f"{kind}: trained on generated counterfactuals",
            after,
            f">= {goal:.2g}" if kind in GOALS else "> plain",
            "accuracy",
            after >= goal,
        ),
        Line(f"{kind}: the same with textures made by the networks", alone, "", "accuracy"),
        Line(
            f"{kind}: trained on counterfactuals composed by the true masks",
            given,
            "> plain",
            "accuracy",
            given > before,
        ),
        Line(f"{kind}: saliency and true masks, intersection over union", float(overlap), ""),
        Line(f"{kind}: training the generator", seconds, "", "s"),
    ]


def composed(train: Digits) -> tuple[np.ndarray, np.ndarray]:
    """The same number of counterfactuals by masks: shape, object and background apart."""
    from core.trials.compositing import compose, filled_background, filled_texture

    rng = np.random.default_rng(0)
    shape, texture, place = rng.integers(0, len(train.labels), (3, COUNTERFACTUALS))
    textures = filled_texture(train.pixels, train.masks)
    places = filled_background(train.pixels, train.masks)
    return compose(train.masks[shape], textures[texture], places[place]), train.labels[shape]
