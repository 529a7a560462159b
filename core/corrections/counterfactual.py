"""Training on counterfactuals: images whose cue or background no longer goes with the class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from core.corrections.guidance import batch_of, moving
from core.corrections.layers import LAST, find_layer
from core.corrections.training import Recipe, Scores, Trained, accuracies, train
from core.data.preprocess import apply
from core.errors import InputError
from core.trials.compositing import OPERATIONS, changed_background, pasted_cues
from core.trials.examples import Examples
from core.types import IntArray, Preprocess, Reporter, silent

if TYPE_CHECKING:
    from core.corrections.audit_generator import AuditGenerator
    from core.models.model import Model

PASTE = "paste"
"""Cue regions of train images pasted on other classes' train images."""

CHANGES: dict[str, str] = {
    **OPERATIONS,
    PASTE: "the cue region of an image of another class is pasted on",
}


@dataclass(frozen=True)
class Augmentation:
    """Which counterfactuals are made.

    Raises
    ------
    InputError
        If a change is unknown, or the copies are fewer than one.
    """

    changes: Sequence[str] = ("swap",)
    """Some of ``CHANGES``: the first three need object masks, ``paste`` needs cue masks."""
    copies: int = 1
    """Counterfactuals per image and change."""
    originals: bool = True
    """Whether the images themselves stay among the training data."""
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [change for change in self.changes if change not in CHANGES]
        if unknown or not self.changes:
            raise InputError(
                f"counterfactual {', '.join(unknown) or 'none'}: choose {', '.join(CHANGES)}"
            )
        if self.copies < 1:
            raise InputError(f"copies {self.copies}: must be at least 1")


def default_changes(examples: Examples) -> tuple[str, ...]:
    """What the masks at hand allow: pasted cues where there are cue masks, else other backgrounds.

    Raises
    ------
    InputError
        If there is no mask of either kind.
    """
    if examples.cues is not None and examples.cues.any():
        return (PASTE,)
    examples.with_objects("counterfactual training")
    return ("swap",)


def counterfactuals(examples: Examples, augmentation: Augmentation) -> Examples:
    """Training data for a head or a whole model: the images, then their counterfactuals.

    Labels stay those of the object. Masks are kept where they still hold: object masks are;
    cue masks are dropped.

    Raises
    ------
    InputError
        If a change needs masks and no image has one.
    """
    rng = np.random.default_rng(augmentation.seed)
    parts = [examples] if augmentation.originals else []
    for change in augmentation.changes:
        for _ in range(augmentation.copies):
            parts.append(_changed(examples, change, rng))
    return joined(parts)


def _changed(examples: Examples, change: str, rng: np.random.Generator) -> Examples:
    if change == PASTE:
        examples.with_cues("pasting cues")
        assert examples.cues is not None  # with_cues has asked
        pixels, rows = pasted_cues(examples.pixels, examples.labels, examples.cues, rng)
        return Examples(pixels, examples.labels[rows])
    rows = examples.with_objects(f"the background change {change!r}")
    part = examples.take(rows)
    assert part.objects is not None  # with_objects has asked
    pixels = changed_background(part.pixels, part.labels, part.objects, change, rng)  # type: ignore[arg-type]
    return Examples(pixels, part.labels, part.objects)


def joined(parts: Sequence[Examples]) -> Examples:
    """Several sets of examples as one; object masks of those without are empty."""
    objects = None
    if any(part.objects is not None for part in parts):
        objects = np.concatenate(
            [
                np.zeros(part.pixels.shape[:3], bool) if part.objects is None else part.objects
                for part in parts
            ]
        )
    return Examples(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
        objects,
    )


def train_on_counterfactuals(
    model: Model,
    examples: Examples,
    augmentation: Augmentation | None = None,
    recipe: Recipe | None = None,
    *,
    held: Examples | None = None,
    report: Reporter = silent,
) -> Trained:
    """Fine-tune a copy of the model, or its head alone, on images and their counterfactuals.

    Parameters
    ----------
    augmentation : default what the masks allow, see :func:`default_changes`.
    recipe : ``parts="head"`` moves the head alone.
    held : measured after every epoch.

    Raises
    ------
    InputError
        If a change needs masks and no image has one.
    """
    recipe = recipe or Recipe()
    augmentation = augmentation or Augmentation(default_changes(examples), seed=recipe.seed)
    return train_on(
        model, counterfactuals(examples, augmentation), recipe, held=held, report=report
    )


def generated(
    found: AuditGenerator,
    n: int,
    preprocess: Preprocess,
    outputs: Sequence[str],
    *,
    seed: int = 0,
    taken: bool = True,
) -> Examples:
    """Images of an audit's generator as a model sees its own; the label is that of the shape.

    Parameters
    ----------
    outputs : raw label of every output of the model.
    taken : foregrounds and backgrounds are those of training images, not of the networks.
    """
    from PIL import Image

    from core.corrections.generator import generate

    made = generate(found.network, n, seed=seed, taken=taken)
    places = np.array([outputs.index(label) for label in found.facts.labels], np.int64)
    pixels = [apply(preprocess, Image.fromarray(image)) for image in made.pixels]
    return Examples(np.stack(pixels), places[made.labels[:, 0]])


def train_on(
    model: Model,
    examples: Examples,
    recipe: Recipe,
    *,
    held: Examples | None = None,
    report: Reporter = silent,
) -> Trained:
    """Fine-tune a copy of the model, or its head alone, on images whose labels hold.

    Parameters
    ----------
    held : measured after every epoch.
    """

    def objective(network: nn.Module, rows: IntArray) -> tuple[Tensor, Scores]:
        images, labels = batch_of(model, examples, rows)
        return F.cross_entropy(network(images), labels), {}

    return train(
        model,
        examples,
        objective,
        recipe,
        parameters=moving(model, recipe, find_layer(model, LAST)),
        evaluate=None if held is None else lambda network: accuracies(network, model, held),
        stage="Training on counterfactuals",
        report=report,
    )
