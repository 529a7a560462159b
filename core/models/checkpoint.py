"""Checkpoint tensors, fitted to an architecture."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.linear import CORRECTION, Correction
from core.models.trace import resize_head
from core.models.weights import CORRECTED, THREE, Facts, some, usable

PREFIXES = (
    "module.",
    "model.",
    "_orig_mod.",
    "attacker.",
    "backbone.",
    "encoder.",
    "net.",
)
"""What wrappers put in front of a name, in any combination (``module.attacker.model.``)."""

PREFIX_DEPTH = 4
"""Most wrappers around one network."""

NORMALIZER = re.compile(r"(?:^|\.)normali[sz]er?\.(?:.*[._])?(?P<part>mean|std)$")
"""Entries of the normalisation layer that robustness libraries put in front of the network."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights. Those of 8 bits need scales that a state dict does not name."""

COUNTER = "num_batches_tracked"
"""Last part of names that training counts with and no forward pass reads."""


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
    mean: tuple[float, ...] | None = None
    """Per channel, from the file's own normalisation layer; replaces the architecture's."""
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Names:
    """The file's tensors under the network's names."""

    prefix: str
    found: dict[str, Tensor]
    unexpected: tuple[str, ...]
    others: tuple[str, ...]
    """Names of the network under another prefix whose tensors differ from those found."""


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
        _check_values({name: tensor}, {name: torch.zeros(())}, source)
        if part in parts and not _equal(parts[part], tensor):
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
) -> CheckpointFit:
    """Load named tensors into a network, in place, after repairing their names.

    The prefix is the one that matches most names and shapes. A head with another number of rows
    replaces the network's; a file without a head leaves the network's untrained.

    Parameters
    ----------
    head : name of the network's head module.
    num_outputs : rows the head must have; None takes the file's, else the network's.
    source : how errors call the file.

    Raises
    ------
    CheckpointError
        If a tensor of the encoder is missing or has another shape, if a tensor is no plain array
        of finite numbers, or if the file's head has other than ``num_outputs`` rows.
    """
    weights, normalizer = _split_normalizer(state, network, source)
    names = _rename(weights, network)
    head_loaded = _adapt_head(names.found, network, head, num_outputs, source)
    own = network.state_dict()
    unbiased = head_loaded and _zero_missing_bias(names.found, own, head)
    wrong = [name for name, tensor in names.found.items() if own[name].shape != tensor.shape]
    missing = [name for name in own if name not in names.found]
    _check_encoder(missing, wrong, names, head, source)
    _check_values(names.found, own, source)
    network.load_state_dict(names.found, strict=False)
    return CheckpointFit(
        loaded=tuple(names.found),
        missing=tuple(missing),
        unexpected=names.unexpected,
        wrong_shape=tuple(wrong),
        prefix=names.prefix,
        head_loaded=head_loaded,
        n_outputs=int(own[f"{head}.weight"].shape[0]),
        mean=normalizer.get("mean"),
        std=normalizer.get("std"),
        notes=tuple(_notes(names, normalizer, head_loaded, unbiased)),
    )


def _split_normalizer(
    state: Mapping[str, Tensor], network: nn.Module, source: str
) -> tuple[dict[str, Tensor], dict[str, tuple[float, ...]]]:
    """Weights, and the mean and std of a normalisation layer the network itself lacks."""
    own = set(network.state_dict())
    weights: dict[str, Tensor] = {}
    normalizer: dict[str, tuple[float, ...]] = {}
    for name, tensor in state.items():
        match = NORMALIZER.search(name)
        if match is None or any(name.endswith(known) for known in own):
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


def _channels(name: str, tensor: Tensor, part: str, source: str) -> tuple[float, ...]:
    _check_values({name: tensor}, {name: torch.zeros(())}, source)
    values = tuple(float(value) for value in tensor.flatten()[:4])
    if not usable(part, values):
        raise CheckpointError(
            f"{source} normalises images with {name} = {list(values)}, which must be "
            f"{THREE[part]}: correct it, or remove the normalisation layer from the file."
        )
    return values


def _check_values(found: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that cannot be copied into the network as they are."""
    for name, tensor in found.items():
        if problem := _problem(tensor, own[name], name):
            raise CheckpointError(
                f"{source} holds {name} {problem}: save it as a plain float32 tensor of finite "
                "numbers."
            )


def _problem(theirs: Tensor, mine: Tensor, name: str) -> str:
    """What keeps a tensor from being copied; empty where nothing does."""
    if theirs.is_meta:
        return "without values (a meta tensor)"
    if theirs.layout is not torch.strided or theirs.is_quantized:
        return "as a sparse or quantised tensor"
    if theirs.is_complex() and not mine.is_complex():
        return "as complex numbers"
    if mine.is_floating_point() and theirs.dtype not in FLOATS:
        return f"as {str(theirs.dtype).removeprefix('torch.')}"
    if not mine.is_floating_point() and theirs.is_floating_point() and not name.endswith(COUNTER):
        return "as fractions where the network has whole numbers"
    if mine.is_floating_point() and mine.isfinite().all() and not theirs.float().isfinite().all():
        return "with NaN or infinity among its values"
    return ""


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are copies of each other; without plain values only a tensor itself."""
    if a is b or a.shape != b.shape:
        return a is b
    plain = [not _problem(tensor, torch.zeros((), dtype=tensor.dtype), "") for tensor in (a, b)]
    return all(plain) and torch.equal(a.double(), b.double())


def _rename(weights: Mapping[str, Tensor], network: nn.Module) -> _Names:
    own = network.state_dict()
    prefixes = sorted(_prefixes(weights), key=len)
    best = max(prefixes, key=lambda prefix: _matches(prefix, weights, own))
    order = [best, *(prefix for prefix in prefixes if prefix != best)]
    found: dict[str, Tensor] = {}
    for name, mine in own.items():
        keys = [prefix + name for prefix in order if prefix + name in weights]
        if keys and (keys[0] == best + name or weights[keys[0]].shape == mine.shape):
            found[name] = weights[keys[0]]
    known = {prefix + name: name for prefix in prefixes for name in own}
    others = [
        theirs
        for theirs, name in known.items()
        if theirs in weights and not (name in found and _equal(found[name], weights[theirs]))
    ]
    unexpected = [name for name in weights if name not in known]
    return _Names(best, found, tuple(unexpected), tuple(others))


def _prefixes(weights: Mapping[str, Tensor]) -> set[str]:
    """Every combination of known prefixes that some name starts with; the empty one included."""
    found, fresh = {""}, {""}
    for _ in range(PREFIX_DEPTH):
        longer = {prefix + more for prefix in fresh for more in PREFIXES}
        fresh = {prefix for prefix in longer if any(name.startswith(prefix) for name in weights)}
        found |= fresh
    return found


def _matches(prefix: str, weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    """Names and shapes that agree once the prefix is stripped."""
    return sum(
        prefix + name in weights and weights[prefix + name].shape == mine.shape
        for name, mine in own.items()
    )


def _adapt_head(
    found: dict[str, Tensor], network: nn.Module, head: str, wanted: int | None, source: str
) -> bool:
    """Give the network's head the rows it must have; whether the file has the head's weight."""
    own = network.state_dict()[f"{head}.weight"]
    theirs = found.get(f"{head}.weight")
    if theirs is None:
        found.pop(f"{head}.bias", None)
        if wanted is not None and wanted != own.shape[0]:
            resize_head(network, head, wanted)
        return False
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
    return True


def _zero_missing_bias(found: dict[str, Tensor], own: Mapping[str, Tensor], head: str) -> bool:
    """Make a bias that the file lacks 0; whether it did."""
    name = f"{head}.bias"
    if name not in own or name in found:
        return False
    found[name] = torch.zeros_like(own[name])
    return True


def _check_encoder(
    missing: list[str], wrong: list[str], names: _Names, head: str, source: str
) -> None:
    """Refuse a file that leaves the encoder incomplete; counters of batches may be missing."""
    lacking = [
        name for name in missing if not name.startswith(f"{head}.") and not name.endswith(COUNTER)
    ]
    if lacking or wrong:
        raise CheckpointError(
            f"{source} belongs to another architecture. Missing: {some(lacking)}. Of another "
            f"shape: {some(wrong)}. Unexpected: {some(names.unexpected)}. Name the architecture "
            "that the checkpoint was trained with."
        )


def _notes(
    names: _Names,
    normalizer: Mapping[str, tuple[float, ...]],
    head_loaded: bool,
    unbiased: bool,
) -> Iterator[str]:
    if normalizer:
        own = f"own mean {normalizer['mean']} and std {normalizer['std']}"
        yield f"Images are normalised with the checkpoint's {own}."
    if names.unexpected:
        yield f"The checkpoint has tensors the model lacks: {some(names.unexpected)}."
    if names.others:
        yield f"The checkpoint has other copies that differ, not read: {some(names.others)}."
    if not head_loaded:
        yield "The checkpoint has no head: fit one first."
    if unbiased:
        yield "The checkpoint's head has no bias: it is taken to be 0."
