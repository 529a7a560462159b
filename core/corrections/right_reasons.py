"""RR-ClArC by double backward: penalise what the logits owe to a cue's direction at any layer.

Dreyer, Pahde et al., *From Hope to Safety: Unlearning Biases of Deep Models via Gradient
Penalization in Latent Space* (AAAI 2024). Minimises cross-entropy + weight * penalty(g, V) with g
the gradient of a target with respect to the layer's tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.corrections.guidance import batch_of, moving
from core.corrections.layers import LAST, Layer, find_layer, seen
from core.corrections.training import Recipe, Scores, Trained, accuracies, train
from core.errors import InputError
from core.trials.examples import Examples
from core.types import BoolArray, FloatArray, IntArray, Reporter, silent

if TYPE_CHECKING:
    from core.models.model import Model

TARGETS = ("all_logits_random", "all_logits", "max_logit", "target_logit", "logprobs")
FORMS = ("l2", "l1", "cosine")


@dataclass(frozen=True)
class Penalty:
    """What is penalised.

    Raises
    ------
    InputError
        If a value makes no sense.
    """

    weight: float = 1.0
    """Lambda. The squared form depends on the scale of the gradients: published values span 5e-4
    to 1e8."""
    layer: str = LAST
    form: Literal["l2", "l1", "cosine"] = "l2"
    target: Literal["all_logits_random", "all_logits", "max_logit", "target_logit", "logprobs"] = (
        "all_logits_random"
    )
    """Published default: the sum of all logits with random signs, an unbiased estimate of the
    penalty summed over classes; the plain sum lets classes cancel."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InputError(f"weight {self.weight}: must be 0 or more")
        if self.form not in FORMS:
            raise InputError(f"form {self.form!r}: choose {', '.join(FORMS)}")
        if self.target not in TARGETS:
            raise InputError(f"target {self.target!r}: choose {', '.join(TARGETS)}")


def right_reasons(
    model: Model,
    examples: Examples,
    directions: FloatArray,
    penalty: Penalty | None = None,
    recipe: Recipe | None = None,
    *,
    held: Examples | None = None,
    report: Reporter = silent,
) -> Trained:
    """Train a copy of the model while its logits turn blind to the directions.

    Parameters
    ----------
    directions : (M, C) one concept activation vector per cue in the channels of the layer
        (:func:`layer_vector`); scaled to unit length here.
    recipe : ``parts`` ``after`` moves what follows the layer (published: only later layers move,
        convolutions and norms are frozen), ``head`` the head, ``all`` everything.
    held : measured after every epoch.

    Returns
    -------
    Weights, and per epoch ``loss``, ``classification``, ``penalty`` (without its weight) and the
    ``accuracy`` (and ``worst_group``) of the held images.

    Raises
    ------
    InputError
        If the directions do not fit the layer, or a value is unknown.
    """
    penalty = penalty or Penalty()
    recipe = recipe or Recipe(optimiser="sgd", parts="after")
    layer = find_layer(model, penalty.layer)
    units = _units(directions, channels(model, layer))
    objective = _Objective(model, examples, units, penalty, layer, recipe.seed)
    return train(
        model,
        examples,
        objective,
        recipe,
        parameters=moving(model, recipe, layer),
        evaluate=None if held is None else lambda network: accuracies(network, model, held),
        stage="Unlearning the cue",
        report=report,
    )


def channels(model: Model, layer: Layer) -> int:
    """C of a layer's tensor."""
    pixels = torch.zeros(1, 3, *model.preprocess.input_size, device=model.device)
    with seen(model.network, layer, pixels) as (_, tensor):
        return int(layer.layout.to_maps(tensor).shape[1])


def _units(directions: FloatArray, width: int) -> Tensor:
    found = torch.tensor(np.atleast_2d(directions), dtype=torch.float32)
    if found.ndim != 2 or found.shape[1] != width:
        raise InputError(f"directions {tuple(found.shape)}: the layer has {width} channels")
    lengths = found.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise InputError("a direction is zero: the cue does not change this layer, choose another")
    units: Tensor = found / lengths
    return units


class _Objective:
    def __init__(
        self,
        model: Model,
        examples: Examples,
        units: Tensor,
        penalty: Penalty,
        layer: Layer,
        seed: int,
    ) -> None:
        self.model, self.examples, self.layer, self.penalty = model, examples, layer, penalty
        self.units = units.to(model.device)
        self.signs = torch.Generator().manual_seed(seed)

    def __call__(self, network: nn.Module, rows: IntArray) -> tuple[Tensor, Scores]:
        images, labels = batch_of(self.model, self.examples, rows)
        with seen(network, self.layer, images) as (logits, tensor):
            target = scalar_target(logits, labels, self.penalty.target, self.signs)
            (slope,) = torch.autograd.grad(target, tensor, create_graph=True)
            slopes = self.layer.layout.to_maps(slope)
        owed = gradient_penalty(slopes, self.units, self.penalty.form)
        classification = F.cross_entropy(logits, labels)
        parts = {"classification": float(classification.detach()), "penalty": float(owed.detach())}
        return classification + self.penalty.weight * owed, parts


def scalar_target(
    logits: Tensor, labels: Tensor, target: str, signs: torch.Generator | None = None
) -> Tensor:
    """The number whose gradient is penalised, summed over images.

    Parameters
    ----------
    logits : (n, K) with graph.
    labels : (n,), read by ``target_logit``.
    signs : of ``all_logits_random``, +1 or -1 per image and class.
    """
    if target == "max_logit":
        return logits.amax(1).sum()
    if target == "target_logit":
        return logits.gather(1, labels[:, None]).sum()
    if target == "logprobs":
        return (logits.softmax(1) + 1e-5).log().mean(1).sum()
    if target == "all_logits":
        return logits.sum()
    drawn = torch.randint(0, 2, logits.shape, generator=signs) * 2 - 1
    return (logits * drawn.to(logits)).sum()


def gradient_penalty(slopes: Tensor, units: Tensor, form: str = "l2") -> Tensor:
    """Mean over images and positions of what the gradient has along the directions, a scalar.

    ``l2``: sum over directions of (g . v)^2, the published main form; ``l1``: of abs(g . v);
    ``cosine``: of abs(cos(g, v)), free of scale, 0 where g is 0.

    Parameters
    ----------
    slopes : (n, C, h, w) gradient of the target with respect to the layer's maps.
    units : (M, C) unit vectors.
    """
    along = torch.einsum("nchw,mc->nmhw", slopes, units)
    if form == "l2":
        return along.square().sum(1).mean()
    if form == "cosine":
        along = along / slopes.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return along.abs().sum(1).mean()


def layer_vector(
    model: Model, examples: Examples, shown: BoolArray, layer: str = LAST, size: int = 32
) -> FloatArray:
    """Signal concept activation vector at a layer, (C,) float32 of unit length.

    Difference of the mean maps (over images and positions) of images that show the cue and those
    that do not; for a binary concept this is the pattern regression of Pahde et al. (2022).
    Departure: maps are averaged over positions (published: the maximum).

    Parameters
    ----------
    shown : (N,) whether the image shows the cue.

    Raises
    ------
    InputError
        If one side is empty, or both have the same mean.
    """
    if not shown.any() or shown.all():
        raise InputError("a concept vector needs images with and without the cue: one side is none")
    found = find_layer(model, layer)
    sums = torch.zeros(2, channels(model, found), dtype=torch.float64)
    for start in range(0, len(examples), size):
        rows = np.arange(start, min(start + size, len(examples)))
        images, _ = batch_of(model, examples, rows)
        with seen(model.network, found, images) as (_, tensor):
            pooled = found.layout.to_maps(tensor).detach().double().mean((2, 3)).cpu()
        for side in (0, 1):
            sums[side] += pooled[torch.from_numpy(shown[rows] == bool(side))].sum(0)
    difference = (sums[1] / shown.sum() - sums[0] / (~shown).sum()).float().numpy()
    length = float(np.linalg.norm(difference))
    if length == 0:
        raise InputError(f"the cue does not change the layer {layer!r}: choose another")
    unit: FloatArray = difference / length
    return unit
