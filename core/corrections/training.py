"""Training a copy of a network: one loop, whose loss the methods supply."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError
from core.models.model import Model
from core.models.trace import resize_head
from core.types import Progress, Reporter, silent

if TYPE_CHECKING:
    from core.models.linear import Head
    from core.trials.examples import Examples
    from core.types import FloatArray, IntArray

Scores = dict[str, float]
"""Losses and metrics by name."""

Objective = Callable[[nn.Module, "IntArray"], tuple[Tensor, Scores]]
"""``objective(network, rows) -> (loss to descend, its parts)``; rows index the examples."""

Evaluation = Callable[[nn.Module], Scores]


@dataclass(frozen=True)
class Recipe:
    """How to descend.

    Raises
    ------
    InputError
        If a value makes no sense.
    """

    epochs: int = 10
    batch_size: int = 32
    rate: float = 1e-4
    """Learning rate."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """``sgd`` has momentum 0.9."""
    clip: float = 100.0
    """Largest norm of the gradient (100 for RR-ClArC, Dreyer et al. 2024, released settings)."""
    parts: Literal["head", "after", "all"] = "all"
    """What moves: the head; what follows the method's layer; everything."""
    frozen_norms: bool = True
    """Batch norm keeps its statistics and dropout stays off, as in the audit."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.rate > 0 or not self.clip > 0:
            raise InputError(f"{self}: epochs, batch size, rate and clip must be above 0")
        for name, known in (("optimiser", ("adam", "sgd")), ("parts", ("head", "after", "all"))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r}: choose {', '.join(known)}")


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    state: dict[str, Tensor]
    """``network.state_dict()`` on the CPU in fp32; :func:`corrected` makes a model of it."""
    history: tuple[Scores, ...]
    """One entry per epoch: mean loss and its parts, then the metrics."""


def with_head(model: Model, head: Head) -> Model:
    """A copy of the model whose own linear layer is the given head.

    Raises
    ------
    InputError
        If the head carries a correction, which no linear layer holds.
    """
    if head.correction is not None:
        raise InputError(
            "the head carries a rectified correction, which training would undo: start from the "
            "audit that it was made from"
        )
    network = copy.deepcopy(model.network)
    resize_head(network, model.trace.head, len(head.bias))
    layer = network.get_submodule(model.trace.head)
    with torch.no_grad():
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        weight.copy_(torch.tensor(head.weight).view_as(weight))
        if isinstance(bias, Tensor):
            bias.copy_(torch.tensor(head.bias))
        elif np.any(head.bias):
            layer.bias = nn.Parameter(torch.tensor(head.bias))
    return Model(
        model.name, network, model.preprocess, outputs=head.outputs, output_names=head.names
    )


def train(
    model: Model,
    examples: Examples,
    objective: Objective,
    recipe: Recipe,
    *,
    parameters: Sequence[str] | None = None,
    evaluate: Evaluation | None = None,
    stage: str = "Training",
    report: Reporter = silent,
) -> Trained:
    """Descend an objective on a copy of the model's network; the model stays as it is.

    Parameters
    ----------
    parameters : names of what moves; default all.
    evaluate : metrics after every epoch, for the history and the report.
    stage : what the report calls it.

    Raises
    ------
    InputError
        If there is no image, or the loss is not finite.
    """
    if not len(examples):
        raise InputError("there is no image to train on")
    network = trainable_copy(model, parameters)
    optimiser = _optimiser(network, recipe)
    rng = np.random.default_rng(recipe.seed)
    torch.manual_seed(recipe.seed)
    steps, history = -(-len(examples) // recipe.batch_size), list[Scores]()
    total = steps * recipe.epochs
    for epoch in range(recipe.epochs):
        network.train(not recipe.frozen_norms)
        seen = _Mean()
        for step, rows in enumerate(_batches(rng.permutation(len(examples)), recipe.batch_size)):
            seen.add(_step(network, objective, rows, optimiser, recipe.clip), len(rows))
            report(Progress(stage, epoch * steps + step, total, "steps", seen.scores))
        network.eval()
        history.append({**seen.scores, **(evaluate(network) if evaluate else {})})
        report(Progress(stage, (epoch + 1) * steps, total, "steps", history[-1]))
    state = {name: t.detach().cpu().clone() for name, t in network.state_dict().items()}
    return Trained(state, tuple(history))


def trainable_copy(model: Model, parameters: Sequence[str] | None = None) -> nn.Module:
    """A copy of the network in fp32, in eval mode, of which the named parameters may move."""
    if model.precision != "fp32":
        raise InputError(f"{model.name} runs in {model.precision}: load it in fp32 to train it")
    network = copy.deepcopy(model.network).eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameters is None or name in parameters)
    return network


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    moving = [p for p in network.parameters() if p.requires_grad]
    if recipe.optimiser == "adam":
        return torch.optim.Adam(moving, lr=recipe.rate)
    return torch.optim.SGD(moving, lr=recipe.rate, momentum=0.9)


def _batches(order: IntArray, size: int) -> Iterator[IntArray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _step(
    network: nn.Module,
    objective: Objective,
    rows: IntArray,
    optimiser: torch.optim.Optimizer,
    clip: float,
) -> Scores:
    loss, parts = objective(network, rows)
    if not torch.isfinite(loss):
        raise InputError(f"the loss is {float(loss)}: lower the learning rate or the weight")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    moving = [p for p in network.parameters() if p.requires_grad]
    nn.utils.clip_grad_norm_(moving, clip)
    optimiser.step()
    return {"loss": float(loss.detach()), **parts}


class _Mean:
    """Running means of scores, weighted by images."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._n = 0

    def add(self, scores: Scores, n: int) -> None:
        self._n += n
        for name, value in scores.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * n

    @property
    def scores(self) -> Scores:
        return {name: total / self._n for name, total in self._sums.items()}


def logits_of(network: nn.Module, model: Model, pixels: FloatArray, size: int = 64) -> FloatArray:
    """Logits (N, K) float32 of uint8 images (N, h, w, 3), without gradient."""
    parts = [np.zeros((0, len(model.bias)), np.float32)]
    with torch.no_grad():
        for start in range(0, len(pixels), size):
            batch = model.normalise(torch.from_numpy(pixels[start : start + size]))
            parts.append(network(batch).float().cpu().numpy())
    return np.concatenate(parts)


def accuracies(network: nn.Module, model: Model, examples: Examples) -> Scores:
    """``accuracy`` in [0, 1], and ``worst_group`` where the examples have groups."""
    correct = logits_of(network, model, examples.pixels).argmax(axis=1) == examples.labels
    scores = {"accuracy": float(correct.mean())}
    if examples.groups is not None:
        groups = examples.groups
        scores["worst_group"] = min(float(correct[groups == g].mean()) for g in np.unique(groups))
    return scores
