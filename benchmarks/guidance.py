"""Model guidance on a rendered Waterbirds-100: four losses, three shares of annotated images.

The background goes with the bird in all training images; the test holds all four groups equally
often, so a model that reads the background is right in half of it and its worst group near 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Line

SIDE = 64
TRAIN, TEST = 240, 100
"""Images per class for training; images per group of the test."""
FRACTIONS = (0.01, 0.1, 1.0)
BASE_EPOCHS, EPOCHS, RATE = 8, 10, 2e-3


def run() -> list[Line]:
    """Train one small network, then guide copies of it."""
    import torch

    from core.mitigate.guidance import Guidance, guide, measure_guidance
    from core.mitigate.localisation import LOSSES
    from core.mitigate.training import Recipe, corrected

    torch.set_num_threads(2)
    train, test = examples()
    base = unguided(train)
    recipe = Recipe(epochs=EPOCHS, rate=RATE, frozen_norms=True)
    plain = guide(base, train, Guidance(weight=0.0), recipe)
    lines = rows("unguided, trained as long", measure_guidance(corrected(base, plain.state), test))
    for loss in LOSSES:
        for fraction in FRACTIONS:
            guided = guide(base, train, Guidance(loss, fraction=fraction), recipe)  # type: ignore[arg-type]
            scores = measure_guidance(corrected(base, guided.state), test)
            lines += rows(f"{loss}, {fraction:.0%} of masks", scores)
    return lines


def rows(what: str, scores: dict[str, float]) -> list[Line]:
    """Worst-group accuracy and EPG; chance for the latter is the area of the bird."""
    return [
        Line(f"{what}: worst group (mean {scores['accuracy']:.2f})", scores["worst_group"], ""),
        Line(f"{what}: EPG (area {scores['area']:.2f})", scores["epg"], ""),
    ]


def examples() -> tuple[Any, Any]:
    """Rendered birds at the network's size."""
    from core.data.demos import birds
    from core.mitigate.examples import Examples

    def draw(split: int, places: dict[str, str], count: int) -> list[Any]:
        found = []
        for k, (label, place) in enumerate(places.items()):
            for i in range(count):
                picture = birds.render(label, place, [0, split, k, i])
                small = np.asarray(picture.pixels.resize((SIDE, SIDE)))
                mask = np.asarray(Image.fromarray(picture.bird).resize((SIDE, SIDE)))
                found.append((small, mask, k, 2 * k + birds.PLACES.index(place)))
        return found

    def stacked(parts: list[Any]) -> Any:
        pixels, masks, labels, groups = zip(*parts, strict=True)
        return Examples(np.stack(pixels), np.array(labels), np.stack(masks), None, np.array(groups))

    home = birds.HOME
    away = {label: birds.PLACES[1 - birds.PLACES.index(place)] for label, place in home.items()}
    return stacked(draw(0, home, TRAIN)), stacked(draw(1, home, TEST) + draw(2, away, TEST))


def unguided(train: Any) -> Any:
    """A small convolutional network trained from nothing, as a model of the audit."""
    import torch
    from torch import nn

    from core.mitigate.guidance import Guidance, guide
    from core.mitigate.training import Recipe, corrected
    from core.models.model import Model
    from core.types import Preprocess

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64), (64, 64)):
        stride = 1 if inputs == outputs else 2
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))
    preprocess = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.5,) * 3, (0.25,) * 3)
    model = Model("small", network, preprocess, outputs=["landbird", "waterbird"])
    recipe = Recipe(epochs=BASE_EPOCHS, rate=2e-3, frozen_norms=False)
    return corrected(model, guide(model, train, Guidance(weight=0.0), recipe).state)
