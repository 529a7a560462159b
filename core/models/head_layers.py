"""A classifier of several layers, or under a name of its own, rebuilt from its tensors.

People put a dropout in front of the last layer, a layer before it, or a layer of their own beside
an encoder. A state dict says what has weights, and in which order; what lies between is assumed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.tensor_values import COUNTER

LINEAR = {"weight", "bias"}
NORM = {*LINEAR, "running_mean", "running_var", COUNTER}


@dataclass(frozen=True)
class Layer:
    """One module of a head by what the file has of it."""

    name: str
    """Name in the file, without the last part of its tensors' names."""
    tensors: dict[str, Tensor]
    """By the last part of their names."""

    @property
    def linear(self) -> bool:
        """Whether it is a linear layer; else it is a norm."""
        return self.tensors["weight"].ndim == 2

    @property
    def width(self) -> int:
        """Entries that go in."""
        return int(self.tensors["weight"].shape[-1])

    def module(self) -> nn.Module:
        """An untrained module of its kind and size."""
        weight, biased = self.tensors["weight"], "bias" in self.tensors
        if self.linear:
            return nn.Linear(weight.shape[1], weight.shape[0], bias=biased)
        return (
            nn.BatchNorm1d(len(weight))
            if "running_mean" in self.tensors
            else (nn.LayerNorm(len(weight)))
        )


@dataclass(frozen=True)
class HeadLayers:
    """A head that a file brings along, in the order of its layers."""

    layers: tuple[Layer, ...]

    @property
    def names(self) -> list[str]:
        """Of all its tensors, in the file."""
        return [f"{layer.name}.{part}" for layer in self.layers for part in layer.tensors]

    @property
    def single(self) -> bool:
        """Whether it is one linear layer."""
        return len(self.layers) == 1

    def build(self) -> tuple[nn.Module, dict[str, Tensor], str]:
        """Its untrained module, its tensors by their names in it, and the last layer's name.

        Numbered so that what is saved of it is read as the same again.
        """
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        tensors: dict[str, Tensor] = {}
        for layer, activated in _with_activations(self.layers):
            if activated:
                parts[str(len(parts))] = nn.ReLU()
            place = str(len(parts))
            parts[place] = layer.module()
            tensors |= {f"{place}.{part}": tensor for part, tensor in layer.tensors.items()}
        return nn.Sequential(parts), tensors, next(reversed(parts))

    @property
    def assumed(self) -> str:
        """What was assumed of it, in a sentence; empty where nothing was."""
        between = sum(activated for _, activated in _with_activations(self.layers))
        if not between:
            return ""
        names = ", ".join(layer.name for layer in self.layers)
        return (
            f"The checkpoint's head has several layers ({names}), and the file does not say what "
            "lies between them: a ReLU was assumed after every linear layer but the last."
        )


def _with_activations(layers: tuple[Layer, ...]) -> Iterator[tuple[Layer, bool]]:
    """Every layer, and whether a ReLU goes before it: once after each linear layer, in a gap."""
    pending = False
    for before, layer in zip((None, *layers), layers, strict=False):
        activated = before is not None and pending and _gap(before, layer)
        pending = layer.linear or (pending and not activated)
        yield layer, activated


def _gap(before: Layer, layer: Layer) -> bool:
    """Whether something without weights lies between two layers.

    Of a numbered sequence a missing number says so; of others something before a linear layer.
    """
    (one, _, first), (other, _, second) = (x.name.rpartition(".") for x in (before, layer))
    if one == other and first.isdecimal() and second.isdecimal():
        return int(second) > int(first) + 1
    return layer.linear


def head_in(
    unexpected: Mapping[str, Tensor], width: int, source: str, *, head: str, prefix: str
) -> HeadLayers | None:
    """The head among the tensors that a network has no name for; None where there is none.

    It begins with a linear layer, or with a norm, of ``width`` entries, and every further layer
    takes what the one before gives.

    Parameters
    ----------
    unexpected : by the file's names, in its order.
    width : D, entries that the encoder gives.
    head : name of the network's own head; layers under it go before others.
    prefix : what stands in front of the encoder's names; layers under it go before others, too.

    Raises
    ------
    CheckpointError
        If several heads could be meant, or there is a linear layer of that width that belongs to
        no chain of layers: its classifier would be lost.
    """
    chains = list(_chains(list(_layers(unexpected)), width))
    chosen = _preferred(chains, lambda name: f".{head}." in f".{name}.")
    chosen = _preferred(chosen, lambda name: name.startswith(prefix))
    if len(chosen) > 1:
        names = ", ".join(chain[0].name for chain in chosen)
        raise CheckpointError(
            f"{source} has several classifiers for {width} features ({names}): leave the one to "
            "audit in the file."
        )
    return HeadLayers(chosen[0]) if chosen else None


def _preferred(
    chains: list[tuple[Layer, ...]], wanted: Callable[[str], bool]
) -> list[tuple[Layer, ...]]:
    """Those whose first layer's name is wanted; all of them where none is."""
    return [chain for chain in chains if wanted(chain[0].name)] or chains


def _layers(unexpected: Mapping[str, Tensor]) -> Iterator[Layer]:
    """Modules that are linear layers or norms by the names and shapes of their tensors."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, tensor in unexpected.items():
        module, _, part = name.rpartition(".")
        grouped.setdefault(module, {})[part] = tensor
    for module, tensors in grouped.items():
        weight = tensors.get("weight")
        if module and weight is not None and weight.ndim in (1, 2) and set(tensors) <= NORM:
            yield Layer(module, tensors)


def _chains(layers: list[Layer], width: int) -> Iterator[tuple[Layer, ...]]:
    """Runs of layers that take ``width`` entries and end in a linear one, as long as they fit."""
    place = 0
    while place < len(layers):
        chain: list[Layer] = []
        size = width
        while place + len(chain) < len(layers):
            layer = layers[place + len(chain)]
            if layer.width != size or (chain and not _kin(chain[0], layer)):
                break
            chain.append(layer)
            size = len(layer.tensors["weight"])
        while chain and not chain[-1].linear:
            chain.pop()
        if chain:
            yield tuple(chain)
        place += max(len(chain), 1)


def _kin(first: Layer, layer: Layer) -> bool:
    """Whether two layers may belong to one head: their names differ in the last part alone."""
    return first.name.rpartition(".")[0] == layer.name.rpartition(".")[0]
