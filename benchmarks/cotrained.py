"""Co-training of shape and texture on drawn shapes with a tint: where it helps, and where not.

The setting of Jain et al. (ICML 2022, section 5): in the few images whose labels are used a tint
goes along with the class; the question is what the images without a label show. Two shapes are
drawn faintly on noise and tinted as a whole; the packaged network encodes them, their edges and
their shuffled patches. Asked about images on which the tint says the other class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import MODEL, Line
from core.types import FloatArray

if TYPE_CHECKING:
    from core.models.model import Model

LABELLED, FREE, ASKED, SIDE = 40, 160, 100, 160
TINTS = np.array([(1.0, 0.3, 0.3), (0.3, 0.3, 1.0)])
SKEWED = (0.5, 0.9)
"""Shares of the images without a label whose tint goes along with their class."""


def shapes(
    n: int, skewed: float, rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Images (SIDE, SIDE, 3) uint8 of a disc or a square, their class, and that of their tint."""
    labels = rng.integers(0, 2, n)
    tints = np.where(rng.random(n) < skewed, labels, 1 - labels)
    drawn = [_shape(label, TINTS[tint], rng) for label, tint in zip(labels, tints, strict=True)]
    return drawn, labels, tints


def _shape(label: int, tint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    down, across = rng.uniform(0.35, 0.65, 2) * SIDE
    size, high = rng.uniform(0.12, 0.3) * SIDE, rng.uniform(15, 30)
    dy, dx = np.abs(y - down), np.abs(x - across)
    square = np.maximum(dy, dx) < size * np.sqrt(np.pi) / 2
    inside = square if label else np.hypot(dy, dx) < size
    grey = 110 + high * inside * rng.choice([-1, 1]) + rng.normal(0, 25, (SIDE, SIDE))
    found: np.ndarray = np.clip(grey[:, :, None] * tint, 0, 255).astype(np.uint8)
    return found


def cotraining() -> Iterator[Line]:
    """Right where the tint says the other class: by labels alone, and with those handed on."""
    from core.corrections.copriors import NOBODY, cotrain
    from core.models.load import load_model
    from core.trials.priors import PRIORS, WHOLE

    model, rng = load_model(MODEL), np.random.default_rng(0)
    test, truth, _ = shapes(ASKED, 0.0, rng)
    known, labels, _ = shapes(LABELLED, 1.0, rng)
    asked, first = encoded(model, test, WHOLE), _views(model, known)
    yield _line("the labelled images alone", first[WHOLE], labels, asked, truth)
    for skewed in SKEWED:
        images, hidden, _ = shapes(FREE, skewed, rng)
        rest = _views(model, images)
        views = {name: np.concatenate([first[name], rest[name]]) for name in rest}
        every = np.append(labels, hidden)
        given = np.arange(len(every)) < LABELLED
        said = cotrain({name: views[name] for name in PRIORS}, every, given).labels
        rows = said != NOBODY
        words = f"tint goes along on {100 * skewed:.0f} % of the images without a label"
        found = _line(f"{words}: co-trained", views[WHOLE][rows], said[rows], asked, truth)
        helps = skewed == SKEWED[0]
        yield replace(found, target="> 0.5", holds=found.value > 0.5) if helps else found
        yield _line(f"{words}: every label known", views[WHOLE], every, asked, truth)


def _line(
    words: str, x: FloatArray, labels: np.ndarray, asked: FloatArray, truth: np.ndarray
) -> Line:
    """Share of the images that a head is right on, fitted on features with labels."""
    from core.models.head import fit_probe

    probe = fit_probe(x, labels, 2)
    right = (asked @ probe.weight.T + probe.bias).argmax(axis=1) == truth
    return Line(f"co-training, {words}", float(right.mean()), "")


def _views(model: Model, images: Sequence[np.ndarray]) -> dict[str, FloatArray]:
    from core.trials.priors import VIEWS

    return {name: encoded(model, images, name) for name in VIEWS}


def encoded(model: Model, images: Sequence[np.ndarray], name: str) -> FloatArray:
    """Features (n, D) of images as they are, or as one of the priors has them."""
    import torch

    from core.trials.priors import WHOLE, view

    seen = [one if name == WHOLE else view(name, one, str(i)) for i, one in enumerate(images)]
    parts = [torch.from_numpy(np.stack(seen[i : i + 32])) for i in range(0, len(seen), 32)]
    return np.concatenate([model.encode(part).features.numpy() for part in parts])
