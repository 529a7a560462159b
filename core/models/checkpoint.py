"""Checkpoint tensors, fitted to an architecture."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.folded_weights import folded
from core.models.head_layers import HeadLayers, head_in
from core.models.linear import CORRECTION, Correction
from core.models.normalisation import THREE, usable
from core.models.prefixes import Names, rename
from core.models.tensor_values import COUNTER, check_values, equal
from core.models.trace import resize_head
from core.models.weights import CORRECTED, Facts, some

NORMALIZER = re.compile(
    r"(?:^|\.)(?:normali[sz]er?\.(?:.*[._])?|(?P<plain>(?:(?:pixel|image|img|input)_)?))"
    r"(?P<part>mean|std)$"
)
"""Entries of a normalisation layer in front of the network: as robustness libraries call it, or a
pair of a plain ``mean`` and ``std``."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601), as Pillow has them."""

NO_NAMES = (
    "The checkpoint's names are not the model's: its tensors were taken in their order, in which "
    "all shapes agree."
)


@dataclass(frozen=True)
class CheckpointFit:
    """What a checkpoint gave to a network."""

    loaded: tuple[str, ...]
    """Names in the network that received their tensor."""
    missing: tuple[str, ...]
    """Names in the network without a tensor."""
    unexpected: tuple[str, ...]
    """Names in the file that the network does not have."""
    wrong_shape: tuple[str, ...]
    """Names in the network whose tensor has another shape."""
    prefix: str
    """What was stripped from most of the file's names."""
    head_loaded: bool
    """False where the file has no head: it must be fitted."""
    n_outputs: int
    """K, rows of the head."""
    head: str
    """Name of the head in the network, which may have been given another one."""
    mean: tuple[float, ...] | None = None
    """Per channel, from the file's own normalisation layer; replaces the architecture's."""
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


def take_correction(
    state: dict[str, Tensor], source: str, own: Collection[str] = ()
) -> Correction | None:
    """Take the correction block out of a checkpoint's tensors; None where it has none.

    Parameters
    ----------
    state : tensors by name, also under a wrapper's prefix; those of the correction are removed.
    source : how errors call the file.
    own : names of the network, which are no correction.

    Raises
    ------
    CheckpointError
        If a part of it is missing, differs between two copies, is not finite, or the parts do
        not fit together.
    """
    parts: dict[str, Tensor] = {}
    for name in [name for name in state if CORRECTED.search(name)]:
        if any(f".{name}".endswith(f".{known}") for known in own):
            continue
        tensor, part = state.pop(name), name.rpartition(".")[2]
        check_values({name: tensor}, {name: torch.zeros(())}, source)
        if part in parts and not equal(parts[part], tensor):
            raise CheckpointError(
                f"{source} has several corrections that differ in {name}: leave one of them."
            )
        parts[part] = tensor
    return _correction(parts, source) if parts else None


def _correction(parts: Mapping[str, Tensor], source: str) -> Correction:
    found = [parts[name] for name in CORRECTION if name in parts]
    shapes = [tuple(tensor.shape) for tensor in found]
    fitting = [len(shape) for shape in shapes] == [2, 1, 2]
    if not fitting or not shapes[0][0] == shapes[1][0] == shapes[2][1]:
        raise CheckpointError(
            f"{source} has an incomplete correction ({shapes}): it needs correction.read (M, D), "
            "correction.offset (M,) and correction.write (K, M); export the model again"
        )
    return Correction(*(torch.empty(tensor.shape).copy_(tensor).numpy() for tensor in found))


def check_correction(
    correction: Correction | None, facts: Facts | None, head: Tensor, source: str
) -> None:
    """Refuse a correction that does not belong to a head, or a header that tells another one.

    Parameters
    ----------
    head : (K, D, ...) weight that the file gave.

    Raises
    ------
    CheckpointError
        If the shapes differ, or if the header names another number of rows or of outputs.
    """
    rows = 0 if correction is None else len(correction.read)
    (k, d), said = head.shape[:2], facts and facts.correction
    if facts is not None and len(facts.outputs) != k:
        raise CheckpointError(
            f"{source} names {len(facts.outputs)} outputs in its header, but its head has {k}: "
            "export the corrected model again."
        )
    if said is not None and said != rows:
        raise CheckpointError(
            f"{source} belongs to a correction of {said} rows by its header, but has {rows} of "
            "them: its correction was lost when the file was saved again. Export the corrected "
            "model again."
        )
    if correction is not None and (correction.read.shape[1], len(correction.write)) != (d, k):
        raise CheckpointError(
            f"{source} has a correction of {correction.read.shape[1]} features and "
            f"{len(correction.write)} outputs for a head of {d} and {k}: export the corrected "
            "model again."
        )


def fit_checkpoint(
    state: Mapping[str, Tensor],
    network: nn.Module,
    *,
    head: str,
    num_outputs: int | None = None,
    source: str = "The checkpoint",
    unused: Callable[[list[str], list[str]], Collection[str]] = lambda missing, wrong: (),
    versions: Mapping[str, Any] = MappingProxyType({}),
) -> CheckpointFit:
    """Load named tensors into a network, in place, after repairing their names.

    The prefix is the one that matches most names and shapes. A head with another number of rows,
    of several layers, or under a name of its own replaces the network's; a head of one row becomes
    one of two; a file without a head leaves the network's untrained. A first layer for grey images
    is spread over three channels.

    Parameters
    ----------
    head : name of the network's head module.
    num_outputs : rows the head must have; None takes the file's, else the network's.
    source : how errors call the file.
    unused : which of the network's tensors that are missing or of another shape no forward pass
        reads, such as those of auxiliary heads; they are left as they are.
    versions : what torch keeps beside a state dict, by the file's names of modules.

    Raises
    ------
    CheckpointError
        If a tensor of the encoder is missing or has another shape, if a tensor is no plain array
        of finite numbers, or if the file's head has other than ``num_outputs`` rows.
    """
    whole, notes = folded(state, network.state_dict(), source)
    weights, normalizer = _split_normalizer(whole, network, source)
    names = rename(weights, network.state_dict(), head)
    notes += [NO_NAMES] if names.by_order else []
    head, built = _with_own_head(names, network, head, source)
    notes += filter(None, [built])
    head_loaded, said = _adapt_head(names.found, network, head, num_outputs, source)
    notes += said
    notes += _three_channels(names.found, network.state_dict(), source)
    own = network.state_dict()
    unbiased = head_loaded and _zero_missing_bias(names.found, own, head)
    wrong = [name for name, tensor in names.found.items() if own[name].shape != tensor.shape]
    missing = [name for name in own if name not in names.found]
    if (wrong or missing) and (idle := unused(missing, wrong)):
        wrong, missing = ([n for n in part if n not in idle] for part in (wrong, missing))
        names = _without(names, idle)
        _silence(network, idle)
        own = {name: tensor for name, tensor in own.items() if name not in idle}
    _check_encoder(missing, wrong, names, head, source)
    check_values(names.found, own, source)
    _load(network, _versioned(names, versions, network), source)
    return CheckpointFit(
        loaded=tuple(names.found),
        missing=tuple(missing),
        unexpected=tuple(names.unexpected),
        wrong_shape=tuple(wrong),
        prefix=names.prefix,
        head_loaded=head_loaded,
        n_outputs=int(own[f"{head}.weight"].shape[0]),
        head=head,
        mean=normalizer.get("mean"),
        std=normalizer.get("std"),
        notes=(*notes, *_notes(names, normalizer, head_loaded, unbiased)),
    )


def _load(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    try:
        network.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{source} is of another version of the architecture, which refuses it: save the "
            "state dict with the present one."
        ) from error


def _silence(network: nn.Module, idle: Collection[str]) -> None:
    """Make tensors that nothing reads 0, in place, so that a network is the same every time."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in idle:
                tensor.zero_()


def _without(names: Names, idle: Collection[str]) -> Names:
    """Without tensors that no forward pass reads."""
    kept = {name: tensor for name, tensor in names.found.items() if name not in idle}
    return replace(names, found=kept)


def _versioned(
    names: Names, versions: Mapping[str, Any], network: nn.Module
) -> OrderedDict[str, Tensor]:
    """The tensors with the versions of their modules, by which some modules read them.

    Those of the file under its prefix; a file that says none, and modules that it does not name,
    are of the network's own version.
    """
    found = OrderedDict(names.found)
    own: dict[str, Any] = dict(getattr(network.state_dict(), "_metadata", {}))
    for name in own:
        said = versions.get(f"{names.prefix}{name}".rstrip("."))
        if isinstance(said, Mapping) and isinstance(said.get("version"), int):
            own[name] = dict(said)
    found._metadata = own  # type: ignore[attr-defined]
    return found


def _with_own_head(
    names: Names, network: nn.Module, head: str, source: str
) -> tuple[str, str | None]:
    """Put a head that the file names otherwise into the network; its name, and what to say."""
    if f"{head}.weight" in names.found:
        return head, None
    parts = head.split(".")
    for depth in range(len(parts), 0, -1):
        root = ".".join(parts[:depth])
        outside = [n for n in network.state_dict() if not n.startswith(f"{root}.")]
        if any(name not in names.found and COUNTER not in name for name in outside):
            continue  # the encoder itself lacks something
        width = _width(network.get_submodule(root))
        found = head_in(names.unexpected, width, source, head=root, prefix=names.prefix)
        if found is not None:
            return _replace_head(names, network, head, root, found), found.assumed
    _refuse_other_width(names, network, head, source)
    return head, None


def _width(root: nn.Module) -> int:
    """Entries that the first layer of a head takes."""
    first = next(part for part in root.modules() if isinstance(part, nn.Linear | nn.Conv2d))
    return first.in_features if isinstance(first, nn.Linear) else first.in_channels


def _replace_head(
    names: Names, network: nn.Module, head: str, root: str, layers: HeadLayers
) -> str:
    """Move the tensors of a head to its place in the network, in place; its name there."""
    for name in layers.names:
        names.unexpected.pop(name)
    for name in [name for name in names.found if name.startswith(f"{root}.")]:
        names.found.pop(name)
    if layers.single and root == head:
        shape = network.get_submodule(head).get_parameter("weight").shape[2:]
        tensors = dict(layers.layers[0].tensors)
        tensors["weight"] = tensors["weight"].reshape(*tensors["weight"].shape, *shape)
        names.found.update({f"{head}.{part}": tensor for part, tensor in tensors.items()})
        return head
    module, tensors, last = layers.build()
    parent, _, own = root.rpartition(".")
    setattr(network.get_submodule(parent), own, module.eval())
    names.found.update({f"{root}.{name}": tensor for name, tensor in tensors.items()})
    return f"{root}.{last}"


def _refuse_other_width(names: Names, network: nn.Module, head: str, source: str) -> None:
    """Raise CheckpointError where the file has a head, but not for these features."""
    lost = [n for n in names.unexpected if f".{head}." in f".{n}" and names.unexpected[n].ndim == 2]
    if lost:
        shape = tuple(names.unexpected[lost[0]].shape)
        raise CheckpointError(
            f"{source} has a head {lost[0]} of shape {shape}, which does not take the "
            f"{_width(network.get_submodule(head))} features of the encoder: save a model whose "
            "head is linear layers on these, or remove it from the file to fit a probe."
        )


def _three_channels(found: dict[str, Tensor], own: Mapping[str, Tensor], source: str) -> list[str]:
    """Spread the first layer of a network for grey images over three channels, in place.

    Its weights times the weights of luma: on an image it gives what the network gives on the grey
    levels of that image, which need no rounding here.
    """
    grey = [
        name
        for name, tensor in found.items()
        if tensor.ndim == 4
        and tensor.shape[1] == 1
        and own[name].shape == (len(tensor), 3, *tensor.shape[2:])
    ]
    for name in grey:
        check_values({name: found[name]}, own, source)
        found[name] = found[name] * torch.tensor(LUMA).view(1, 3, 1, 1)
    return [f"The checkpoint is for grey images: {name} sees the grey of pixels." for name in grey]


def _split_normalizer(
    state: Mapping[str, Tensor], network: nn.Module, source: str
) -> tuple[dict[str, Tensor], dict[str, tuple[float, ...]]]:
    """Weights, and the mean and std of a normalisation layer the network itself lacks."""
    own = set(network.state_dict())
    weights: dict[str, Tensor] = {}
    normalizer: dict[str, tuple[float, ...]] = {}
    for name, tensor in state.items():
        match = NORMALIZER.search(name)
        if match is None or any(name.endswith(known) for known in own) or _alone(match, state):
            weights[name] = tensor
            continue
        values = _channels(name, tensor, match["part"], source)
        if normalizer.setdefault(match["part"], values) != values:
            raise CheckpointError(
                f"{source} has several normalisation layers that differ in {name}: leave one."
            )
    if len(normalizer) == 1:
        raise CheckpointError(
            f"{source} has a normalisation layer with {' '.join(normalizer)} alone: save both its "
            "mean and its std, or neither."
        )
    return weights, normalizer


def _alone(match: re.Match[str], state: Mapping[str, Tensor]) -> bool:
    """Whether a plain mean or std is not one of a pair of three numbers each."""
    if match["plain"] is None:
        return False
    pair = [state.get(f"{match.string[: match.start('part')]}{part}") for part in ("mean", "std")]
    return any(part is None or part.numel() != 3 for part in pair)


def _channels(name: str, tensor: Tensor, part: str, source: str) -> tuple[float, ...]:
    check_values({name: tensor}, {name: torch.zeros(())}, source)
    values = tuple(float(value) for value in tensor.flatten()[:4])
    if not usable(part, values):
        raise CheckpointError(
            f"{source} normalises images with {name} = {list(values)}, which must be "
            f"{THREE[part]}: correct it, or remove the normalisation layer from the file."
        )
    return values


def _adapt_head(
    found: dict[str, Tensor], network: nn.Module, head: str, wanted: int | None, source: str
) -> tuple[bool, list[str]]:
    """Give the network's head the rows it must have; whether the file has it, and what to say."""
    own = network.state_dict()[f"{head}.weight"]
    theirs = found.get(f"{head}.weight")
    if theirs is None:
        found.pop(f"{head}.bias", None)
        resize_head(network, head, wanted or own.shape[0])  # the same one every time
        return False, []
    said = _two_rows(found, head, source) if theirs.ndim > 1 and len(theirs) == 1 else []
    theirs = found[f"{head}.weight"]
    rows = theirs.shape[0] if theirs.ndim else 1
    if rows == 0:
        raise CheckpointError(f"{source} has a head without outputs: save the trained head.")
    if wanted is not None and rows != wanted:
        raise CheckpointError(
            f"{source} has a head of {rows} outputs, not {wanted}: leave the number of "
            "outputs out, or remove the head from the file."
        )
    if rows != own.shape[0] and theirs.shape[1:] == own.shape[1:]:
        resize_head(network, head, rows)
    return True, said


def _two_rows(found: dict[str, Tensor], head: str, source: str) -> list[str]:
    """Make two logits of one, in place: -z/2 and z/2, whose softmax is the sigmoid of z."""
    for part in ("weight", "bias"):
        if (tensor := found.get(f"{head}.{part}")) is not None:
            check_values({f"{head}.{part}": tensor}, {f"{head}.{part}": torch.zeros(())}, source)
            found[f"{head}.{part}"] = torch.cat([-tensor, tensor]) / 2
    return [
        "The checkpoint has one logit: its sigmoid is taken to be the probability of the second of "
        "two classes."
    ]


def _zero_missing_bias(found: dict[str, Tensor], own: Mapping[str, Tensor], head: str) -> bool:
    """Make a bias that the file lacks 0; whether it did."""
    name = f"{head}.bias"
    if name not in own or name in found:
        return False
    found[name] = torch.zeros_like(own[name])
    return True


def _check_encoder(
    missing: list[str], wrong: list[str], names: Names, head: str, source: str
) -> None:
    """Refuse a file that leaves the encoder incomplete; counters of batches may be missing."""
    lacking = [
        name for name in missing if not name.startswith(f"{head}.") and not name.endswith(COUNTER)
    ]
    if lacking or wrong:
        raise CheckpointError(
            f"{source} belongs to another architecture. Missing: {some(lacking)}. Of another "
            f"shape: {some(wrong)}. Unexpected: {some(list(names.unexpected))}. Name the "
            "architecture that the checkpoint was trained with."
        )


def _notes(
    names: Names,
    normalizer: Mapping[str, tuple[float, ...]],
    head_loaded: bool,
    unbiased: bool,
) -> Iterator[str]:
    if normalizer:
        own = f"own mean {normalizer['mean']} and std {normalizer['std']}"
        yield f"Images are normalised with the checkpoint's {own}."
    if names.unexpected:
        yield f"The checkpoint has tensors the model lacks: {some(list(names.unexpected))}."
    if names.others:
        yield f"The checkpoint has other copies that differ, not read: {some(names.others)}."
    if not head_loaded:
        yield "The checkpoint has no head: fit one first."
    if unbiased:
        yield "The checkpoint's head has no bias: it is taken to be 0."
