"""Model guidance on a rendered Waterbirds-100: four losses, three shares of annotated images.

The background goes with the bird in all training images; the test holds all four groups equally
often, so a model that reads the background is right in half of it and its worst group near 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import Line

SIDE = 64
TRAIN, TEST, PAIRS = 160, 60, 200
"""Images per class for training; per group of the test; per group for the encoder."""
FRACTIONS = (0.01, 0.1, 1.0)
PRETRAINING, BASE_EPOCHS, EPOCHS, RATE = 24, 6, 10, 3e-4


def run() -> list[Line]:
    """Train one small network, then guide copies of it."""
    import torch

    from core.mitigate.guidance import Guidance, guide, measure_guidance
    from core.mitigate.localisation import LOSSES
    from core.mitigate.training import Recipe, accuracies, corrected

    torch.set_num_threads(2)
    train, test = examples()
    encoder = pretrained()
    base = unguided(encoder, train)
    recipe = Recipe(epochs=EPOCHS, rate=RATE)
    plain = guide(base, train, Guidance(weight=0.0), recipe)
    named = accuracies(encoder.network, encoder, replace(test, labels=test.groups))["accuracy"]
    lines = [Line("the encoder before: names bird and place (chance 0.25)", named, "")]
    lines += rows("unguided, trained as long", measure_guidance(corrected(base, plain.state), test))
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


def draw(number: int, places: dict[str, str], count: int) -> list[Any]:
    """Birds at one place each: small pictures, masks, labels and groups."""
    from core.data.demos import birds

    found = []
    for k, (label, place) in enumerate(places.items()):
        for i in range(count):
            picture = birds.render(label, place, [0, number, k, i])
            small = np.asarray(picture.pixels.resize((SIDE, SIDE)))
            mask = np.asarray(Image.fromarray(picture.bird).resize((SIDE, SIDE)))
            found.append((small, mask, k, 2 * k + birds.PLACES.index(place)))
    return found


def stacked(parts: list[Any], *, by_group: bool = False) -> Any:
    """Pictures as examples, labelled by kind or by kind and place."""
    from core.mitigate.examples import Examples

    pixels, masks, labels, groups = (np.array(column) for column in zip(*parts, strict=True))
    return Examples(pixels, groups if by_group else labels, masks, None, groups)


def homes() -> tuple[dict[str, str], dict[str, str]]:
    """Where each kind stands in training, and the other way round."""
    from core.data.demos import birds

    away = {label: birds.PLACES[1 - birds.PLACES.index(p)] for label, p in birds.HOME.items()}
    return dict(birds.HOME), away


def examples() -> tuple[Any, Any]:
    """Waterbirds-100 for training, all four groups for the test."""
    home, away = homes()
    return stacked(draw(0, home, TRAIN)), stacked(draw(1, home, TEST) + draw(2, away, TEST))


def balanced() -> Any:
    """Other pictures for the encoder, of all four combinations, which are the labels."""
    home, away = homes()
    return stacked(draw(3, home, PAIRS) + draw(4, away, PAIRS), by_group=True)


def pretrained() -> Any:
    """A small encoder that tells birds and places apart, as one trained on photographs would.

    Trained from nothing on other pictures in which all four combinations are equally frequent, to
    name the combination. A small network trained on Waterbirds-100 alone sees only the place.
    """
    import torch

    from core.mitigate.guidance import Guidance, guide
    from core.mitigate.training import Recipe, corrected
    from core.models.model import Model
    from core.types import Preprocess

    torch.manual_seed(0)
    preprocess = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.5,) * 3, (0.25,) * 3)
    model = Model("small", network(), preprocess)
    both = balanced()
    recipe = Recipe(epochs=PRETRAINING, rate=3e-3, frozen_norms=False)
    return corrected(model, guide(model, both, Guidance(weight=0.0), recipe).state)


def network() -> Any:
    """Four convolutions with batch norm, a global mean and a linear head of four outputs."""
    from torch import nn

    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 12, 2), (12, 24, 2), (24, 32, 2), (32, 32, 1)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))


def unguided(encoder: Any, train: Any) -> Any:
    """The encoder with a new head, fitted on Waterbirds-100: the model that takes the bait."""
    from core.mitigate.guidance import Guidance, guide
    from core.mitigate.training import Recipe, corrected, with_head
    from core.models.linear import Head

    zeros = np.zeros((2, 32), np.float32)
    names = ["landbird", "waterbird"]
    model = with_head(encoder, Head(zeros, zeros[:, 0], names, names, "fit"))
    recipe = Recipe(epochs=BASE_EPOCHS, rate=1e-2, parts="head")
    return corrected(model, guide(model, train, Guidance(weight=0.0), recipe).state)
