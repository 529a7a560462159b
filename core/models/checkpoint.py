"""Checkpoint files: read without running code, fitted to an architecture."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import CheckpointError
from core.models.linear import CORRECTION, Correction
from core.models.trace import resize_head

NESTS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "ema",
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
    "weights",
    "params",
)
"""Entries that training scripts keep the weights under, in order of preference."""

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

NORMALIZER = re.compile(r"(?:^|\.)normali[sz]er?\.(?:.*[._])?(?P<part>mean|std|[^.]+)$")
"""Entries of the normalisation layer that robustness libraries put in front of the network."""

SHOWN = 5
"""Names shown per list of an error."""

FACTS = "spurioscope"
"""Entry of a ``.safetensors`` header that holds what a corrected model is, as JSON."""


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


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU.

    Reads ``.safetensors``, and the pickles of torch (``.pth``, ``.pt``, ``.ckpt``, ``.bin``) in a
    mode that builds tensors and plain containers only: no code in a file is ever run.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds no tensors, or holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file: give the path of a checkpoint.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    state = _unwrap(content)
    if not state:
        raise CheckpointError(
            f"{path} holds no tensors by name: save the model's state dict, "
            "torch.save(model.state_dict(), path)."
        )
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


DAMAGED = (
    *(RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError),
    *(AttributeError, struct.error),
)
"""What torch is known to raise for files that are no checkpoint."""


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """Tell a pickle that names code from one that is broken."""
    message = str(error)
    if not re.search(r"[Uu]nsupported|not an allowed|GLOBAL|[Cc]an only", message):
        return _damaged(path, error)
    named = re.search(r"GLOBAL ([\w.]+)|(?:class|function|global) ([\w.]+\.[\w.]+)", message)
    what = next((group for group in named.groups() if group), "") if named else ""
    return CheckpointError(
        f"{path} holds Python objects{f' ({what})' if what else ''}, which is code that would run "
        "on loading: it was refused and nothing was run. Where you trust the file, save its "
        "state dict alone, as .safetensors or with torch.save(model.state_dict(), path)."
    )


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[:1]
    return CheckpointError(
        f"{path} cannot be read ({type(error).__name__}: {''.join(reason)[:160]}): it is cut off "
        "or no checkpoint. Download or save it again."
    )


def _unwrap(content: Any, depth: int = 4) -> dict[str, Tensor]:
    """The innermost named tensors, through the nesting of common training scripts."""
    if not isinstance(content, Mapping) or depth == 0:
        return {}
    inner = [content[name] for name in NESTS if isinstance(content.get(name), Mapping)]
    for nested in inner:
        state = _unwrap(nested, depth - 1)
        if state:
            return state
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def read_facts(path: Path) -> dict[str, Any]:
    """What a corrected model says of itself: ``outputs`` (raw labels), ``mean``, ``std``, ….

    Empty for every other file.
    """
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(FACTS, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return found if isinstance(found, dict) else {}


def take_correction(state: dict[str, Tensor], source: str) -> Correction | None:
    """Take the correction block out of a checkpoint's tensors; None where it has none.

    Raises
    ------
    CheckpointError
        If a part of it is missing or the parts do not fit together.
    """
    parts = {name: state.pop(f"correction.{name}", None) for name in CORRECTION}
    if all(part is None for part in parts.values()):
        return None
    arrays = [part.float().numpy() for part in parts.values() if part is not None]
    shapes = [array.shape for array in arrays]
    fitting = [len(shape) for shape in shapes] == [2, 1, 2]
    if not fitting or not shapes[0][0] == shapes[1][0] == shapes[2][1]:
        raise CheckpointError(
            f"{source} has an incomplete correction ({shapes}): it needs correction.read (M, D), "
            "correction.offset (M,) and correction.write (K, M); export the model again"
        )
    return Correction(*arrays)


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
        If a tensor of the encoder is missing or has another shape, or if the file's head has
        other than ``num_outputs`` rows.
    """
    weights, normalizer = _split_normalizer(state, network)
    names = _rename(weights, network)
    head_loaded = _adapt_head(names.found, network, head, num_outputs, source)
    own = network.state_dict()
    wrong = [name for name, tensor in names.found.items() if own[name].shape != tensor.shape]
    missing = [name for name in own if name not in names.found]
    _check_encoder(missing, wrong, names, head, source)
    network.load_state_dict(names.found, strict=False)
    mean, std = normalizer.get("mean"), normalizer.get("std")
    complete = mean is not None and std is not None
    return CheckpointFit(
        loaded=tuple(names.found),
        missing=tuple(missing),
        unexpected=names.unexpected,
        wrong_shape=tuple(wrong),
        prefix=names.prefix,
        head_loaded=head_loaded,
        n_outputs=int(network.state_dict()[f"{head}.weight"].shape[0]),
        mean=mean if complete else None,
        std=std if complete else None,
        notes=_notes(names, mean if complete else None, std, head_loaded),
    )


def _split_normalizer(
    state: Mapping[str, Tensor], network: nn.Module
) -> tuple[dict[str, Tensor], dict[str, tuple[float, ...]]]:
    """Weights, and the mean and std of a normalisation layer the network itself lacks."""
    own = set(network.state_dict())
    weights: dict[str, Tensor] = {}
    normalizer: dict[str, tuple[float, ...]] = {}
    for name, tensor in state.items():
        match = NORMALIZER.search(name)
        if match is None or any(name.endswith(known) for known in own):
            weights[name] = tensor
        elif tensor.numel() == 3 and match["part"] in ("mean", "std"):
            normalizer.setdefault(match["part"], tuple(float(v) for v in tensor.flatten()))
    return weights, normalizer


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
    used = {prefix + name for prefix in prefixes for name in own}
    return _Names(best, found, tuple(name for name in weights if name not in used))


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
    if wanted is not None and theirs.shape[0] != wanted:
        raise CheckpointError(
            f"{source} has a head of {theirs.shape[0]} outputs, not {wanted}: leave the number of "
            "outputs out, or remove the head from the file."
        )
    if theirs.shape[0] != own.shape[0] and theirs.shape[1:] == own.shape[1:]:
        resize_head(network, head, theirs.shape[0])
    _zero_missing_bias(found, network, head)
    return True


def _zero_missing_bias(found: dict[str, Tensor], network: nn.Module, head: str) -> None:
    bias = network.state_dict().get(f"{head}.bias")
    if bias is not None and f"{head}.bias" not in found:
        found[f"{head}.bias"] = torch.zeros_like(bias)


def _check_encoder(
    missing: list[str], wrong: list[str], names: _Names, head: str, source: str
) -> None:
    """Refuse a file that leaves the encoder incomplete; counters of batches may be missing."""
    lacking = [
        name
        for name in missing
        if not name.startswith(f"{head}.") and not name.endswith("num_batches_tracked")
    ]
    if lacking or wrong:
        raise CheckpointError(
            f"{source} belongs to another architecture. Missing: {_some(lacking)}. Of another "
            f"shape: {_some(wrong)}. Unexpected: {_some(names.unexpected)}. Name the architecture "
            "that the checkpoint was trained with."
        )


def _some(names: list[str] | tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _notes(
    names: _Names,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    head_loaded: bool,
) -> tuple[str, ...]:
    notes = []
    if mean is not None:
        notes.append(f"Images are normalised with the checkpoint's own mean {mean} and std {std}.")
    if names.unexpected:
        notes.append(f"The checkpoint has tensors the model lacks: {_some(names.unexpected)}.")
    if not head_loaded:
        notes.append("The checkpoint has no head: fit one first.")
    return tuple(notes)
