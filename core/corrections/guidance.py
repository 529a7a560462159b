"""Model guidance: train a network so that its attributions lie on the object.

Rao, Böhle et al., *Studying How to Efficiently and Effectively Guide Models with Explanations*
(ICCV 2023). Minimises cross-entropy + weight * mean localisation loss of the annotated images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.corrections.input_gradients import ATTRIBUTIONS, TARGETS, Attribution, Target, attribution
from core.corrections.layers import LAST, Layer, find_layer, parameters_after
from core.corrections.localisation import LOSSES, attribution_iou, epg, guidance_loss, resized
from core.corrections.training import Recipe, Scores, Trained, accuracies, train, trainable_copy
from core.errors import InputError
from core.trials.examples import Examples, annotated
from core.types import IntArray, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

ENERGY_WEIGHT = 1.0
"""Default weight of Energy, whose loss lies in [0, 1] whatever the network and the resolution."""

BALANCED = 64
"""Images on which the weights of the other losses are found, at most."""

EVALUATED = 200
"""Images on which localisation is measured after an epoch, at most."""


@dataclass(frozen=True)
class Guidance:
    """What guides.

    Raises
    ------
    InputError
        If a value makes no sense.
    """

    loss: Literal["energy", "l1", "ppce", "rrr"] = "energy"
    weight: float | None = None
    """Of the localisation loss; None: see :func:`balanced_weight`."""
    attribution: Attribution = "ixg"
    layer: str = LAST
    """``last``, ``input`` or a module's name. Only at ``last`` does ``ixg`` hold all that decides
    in a network with biases; see :func:`guide`."""
    target: Target = "margin"
    """What is explained: ``margin``, or ``logit`` as published."""
    fraction: float = 1.0
    """Share of the images with masks whose masks are used, (0, 1]."""
    inverted: bool = False
    """Guide away from the masked region instead: give the cue's masks as objects."""

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise InputError(f"guidance loss {self.loss!r}: choose {', '.join(LOSSES)}")
        if self.attribution not in ATTRIBUTIONS:
            raise InputError(f"attribution {self.attribution!r}: choose {', '.join(ATTRIBUTIONS)}")
        if self.target not in TARGETS:
            raise InputError(f"target {self.target!r}: choose {', '.join(TARGETS)}")
        if self.weight is not None and self.weight < 0:
            raise InputError(f"weight {self.weight}: must be 0 or more")
        if not 0 < self.fraction <= 1:
            raise InputError(f"fraction {self.fraction}: must be above 0 and at most 1")


def guide(
    model: Model,
    examples: Examples,
    guidance: Guidance | None = None,
    recipe: Recipe | None = None,
    *,
    held: Examples | None = None,
    report: Reporter = silent,
) -> Trained:
    """Train a copy of the model with a localisation loss on its annotated images.

    Departures: one class per image (cross-entropy over the outputs for the published binary
    cross-entropy); each step draws its annotated images from all annotated ones, so that a small
    fraction guides every step, and the loss is their mean (published: the sum over those that
    happen to be in the batch).

    Where it fails: no attribution holds what a bias contributes. A unit that fires *unless* it sees
    land says "water" by its bias alone, with an empty map. At ``input`` and in the middle of a
    network with biases all attribution can therefore lie on the object while the background still
    decides; at ``last``, where a pooled map meets a linear head, the map of ``ixg`` sums to the
    logit less the head's bias. A background that only opens gates, here or there, is in no map
    either: judge by the worst group, not by EPG alone. PPCE is blind outside of the object and
    leaves the cue as it is.

    Parameters
    ----------
    examples : training images with ``objects``.
    held : measured after every epoch; default no measurement.

    Returns
    -------
    Weights, and per epoch ``loss``, ``classification``, ``localisation`` and, of the held images,
    ``accuracy``, ``worst_group``, ``epg``, ``iou`` and their parts.

    Raises
    ------
    InputError
        If no image has a mask, or a layer or a value is unknown.
    """
    guidance, recipe = guidance or Guidance(), recipe or Recipe()
    layer = find_layer(model, guidance.layer)
    if guidance.weight is None:
        guidance = replace(guidance, weight=balanced_weight(model, examples, guidance, recipe))
    objective = _Objective(model, examples, guidance, layer, _guided(examples, guidance, recipe))
    measured = None if held is None else HeldOutScores(model, held, guidance, layer)
    return train(
        model,
        examples,
        objective,
        recipe,
        parameters=moving(model, recipe, layer),
        evaluate=measured,
        stage="Guiding",
        report=report,
    )


def balanced_weight(
    model: Model, examples: Examples, guidance: Guidance, recipe: Recipe | None = None
) -> float:
    """Weight at which a loss pulls, before the first step, as hard as Energy at ``ENERGY_WEIGHT``.

    The ratio of the lengths of both gradients with respect to what the recipe moves, on some of the
    annotated images. No fixed number would do: RRR* is a sum over pixels, and the slope of PPCE
    is that of a logarithm near 0, so that weights differ by orders of magnitude between losses (as
    in the published sweeps), layers and resolutions.

    Raises
    ------
    InputError
        If no image has a mask, or no image has positive attribution, so that nothing pulls.
    """
    if guidance.loss == "energy":
        return ENERGY_WEIGHT
    recipe, layer = recipe or Recipe(), find_layer(model, guidance.layer)
    rows = annotated(
        examples.with_objects("guidance"), examples.labels, guidance.fraction, seed=recipe.seed
    )
    rows = rows[np.linspace(0, len(rows) - 1, min(BALANCED, len(rows))).astype(np.int64)]
    network = trainable_copy(model, moving(model, recipe, layer))
    energy = _pull(network, model, examples, rows, replace(guidance, loss="energy"), layer)
    own = _pull(network, model, examples, rows, guidance, layer)
    if not energy or not own:
        raise InputError(
            f"no gradient of the localisation at the layer {guidance.layer}, so that no weight can "
            "be found: give a weight, or choose another layer or more parts to train"
        )
    return ENERGY_WEIGHT * energy / own


def _pull(
    network: nn.Module,
    model: Model,
    examples: Examples,
    rows: IntArray,
    guidance: Guidance,
    layer: Layer,
) -> float:
    """Length of the gradient of the mean localisation loss."""
    loss = localisation_loss(network, model, examples, rows, guidance, layer)
    if not loss.requires_grad:
        return 0.0
    weights = [p for p in network.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(loss, weights, allow_unused=True)
    return float(sum(float(s.double().square().sum()) for s in slopes if s is not None) ** 0.5)


def localisation_loss(
    network: nn.Module,
    model: Model,
    examples: Examples,
    rows: IntArray,
    guidance: Guidance,
    layer: Layer,
) -> Tensor:
    """Mean localisation loss of some images, a scalar that can be differentiated."""
    images, labels = batch_of(model, examples, rows)
    maps, _ = attribution(
        network,
        images,
        labels,
        layer,
        guidance.attribution,
        target=guidance.target,
        create_graph=True,
    )
    masks = masks_of(examples, rows, guidance, images)
    return guidance_loss(maps, masks, guidance.loss).mean()


def moving(model: Model, recipe: Recipe, layer: Layer) -> list[str] | None:
    """Names of the parameters that a recipe moves, None for all of them."""
    if recipe.parts == "head":
        return [f"{model.trace.head}.weight", f"{model.trace.head}.bias"]
    return parameters_after(model, layer) if recipe.parts == "after" else None


def _guided(examples: Examples, guidance: Guidance, recipe: Recipe) -> Iterator[IntArray]:
    """Batches of annotated rows without end; none are asked for at weight 0."""
    if guidance.weight == 0:
        return iter(())
    rows, labels = examples.with_objects("guidance"), examples.labels
    return _cycle(annotated(rows, labels, guidance.fraction, seed=recipe.seed), recipe)


def _cycle(rows: IntArray, recipe: Recipe) -> Iterator[IntArray]:
    """Batches of annotated rows without end, each round in another order."""
    rng = np.random.default_rng([recipe.seed, 1])
    waiting = np.zeros(0, np.int64)
    while True:
        while len(waiting) < min(recipe.batch_size, len(rows)):
            waiting = np.concatenate([waiting, rng.permutation(rows)])
        size = min(recipe.batch_size, len(rows))
        yield waiting[:size]
        waiting = waiting[size:]


class _Objective:
    """Cross-entropy of the batch and the localisation loss of some annotated images."""

    def __init__(
        self,
        model: Model,
        examples: Examples,
        guidance: Guidance,
        layer: Layer,
        guided: Iterator[IntArray],
    ) -> None:
        self.model, self.examples, self.layer = model, examples, layer
        self.guidance, self.guided = guidance, guided

    def __call__(self, network: nn.Module, rows: IntArray) -> tuple[Tensor, Scores]:
        images, labels = batch_of(self.model, self.examples, rows)
        classification = F.cross_entropy(network(images), labels)
        if not self.guidance.weight:
            return classification, {"classification": float(classification.detach())}
        localisation = localisation_loss(
            network, self.model, self.examples, next(self.guided), self.guidance, self.layer
        )
        parts = {
            "classification": float(classification.detach()),
            "localisation": float(localisation.detach()),
        }
        return classification + self.guidance.weight * localisation, parts


def batch_of(model: Model, examples: Examples, rows: IntArray) -> tuple[Tensor, Tensor]:
    """Normalised images (n, 3, h, w) and labels (n,) on the model's device."""
    images = model.normalise(torch.from_numpy(examples.pixels[rows]))
    return images, torch.from_numpy(examples.labels[rows]).to(model.device)


def masks_of(examples: Examples, rows: IntArray, guidance: Guidance, images: Tensor) -> Tensor:
    """Where attribution is wanted, (n, h, w) float32."""
    assert examples.objects is not None  # with_objects has been asked
    masks = examples.objects[rows] != guidance.inverted
    return torch.from_numpy(masks).to(images)


class HeldOutScores:
    """Accuracy and localisation of held-out images."""

    def __init__(self, model: Model, held: Examples, guidance: Guidance, layer: Layer) -> None:
        self.model, self.held, self.guidance, self.layer = model, held, guidance, layer

    def __call__(self, network: nn.Module) -> Scores:
        """Scores by name; those of localisation only where objects are known."""
        scores = accuracies(network, self.model, self.held)
        if self.held.objects is None:
            return scores
        part = np.linspace(0, len(self.held) - 1, min(EVALUATED, len(self.held))).astype(np.int64)
        return {
            **scores,
            **localisation_scores(
                network, self.model, self.held.take(part), self.guidance, self.layer
            ),
        }


def localisation_scores(
    network: nn.Module,
    model: Model,
    examples: Examples,
    guidance: Guidance,
    layer: Layer,
    size: int = 32,
) -> Scores:
    """EPG and IoU on and off the object, of the true class; means over images with a mask.

    ``epg`` and ``iou`` are those of the object, ``epg_off`` and ``iou_off`` those of everything
    else, ``area`` is the share of the image that the object covers (chance for ``epg``) and
    ``defined`` the share of images with positive attribution; the others count 0.
    """
    rows = examples.with_objects("localisation")
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        images, labels = batch_of(model, examples, part)
        maps, _ = attribution(
            network, images, labels, layer, guidance.attribution, target=guidance.target
        )
        masks = masks_of(examples, part, guidance, images)
        for name, values in _localised(maps.detach(), masks).items():
            found.setdefault(name, []).append(values)
    return {name: float(torch.cat(parts).float().mean()) for name, parts in found.items()}


def _localised(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    maps = resized(maps, (masks.shape[1], masks.shape[2]))
    (on, defined), (off, _) = epg(maps, masks), epg(maps, 1 - masks)
    return {
        "epg": on,
        "epg_off": off,
        "iou": attribution_iou(maps, masks),
        "iou_off": attribution_iou(maps, 1 - masks),
        "area": masks.mean((1, 2)),
        "defined": defined,
    }
