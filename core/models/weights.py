"""Named tensors of a checkpoint file, read without running code, and what its header says."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.models.archive import check_archive, check_holes, damaged

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

FACTS = "spurioscope"
"""Entry of a ``.safetensors`` header that holds what a corrected model is, as JSON."""

CORRECTED = re.compile(r"(?:^|\.)correction\.(?P<part>read|offset|write)$")
"""Names of a correction's tensors, also under a wrapper's prefix."""

EXPANSION = 8
"""Most bytes of all tensors, counted by name, per byte of the file. Tied weights and copies for
training are stored once and counted several times; an expanded tensor has one value and any size.
"""

SHOWN = 5
"""Names shown per list of an error."""

LIMITS = {"mean": (-1000.0, 1000.0), "std": (1e-4, 1000.0)}
"""What images of values in [0, 1] are normalised with: numbers beyond these are no statistics of
pixels, whose steps are 1/255 (some networks want the values 0 to 255), and end in infinity or 0."""

THREE = {part: f"three numbers from {low:g} to {high:g}" for part, (low, high) in LIMITS.items()}

UNREADABLE = (
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, ArithmeticError, MemoryError, ImportError, struct.error),
)
"""What torch and safetensors are known to raise for files that are no checkpoint."""


@dataclass(frozen=True)
class Facts:
    """What the header of a corrected model says of it."""

    model: str
    """Architecture it was exported from, empty where it is not said."""
    outputs: tuple[str, ...]
    """(K,) raw labels."""
    mean: tuple[float, ...]
    """Per channel."""
    std: tuple[float, ...]
    correction: int | None
    """M, rows of the correction that belongs to the file; None where the header, older than this
    entry, does not say."""


@dataclass(frozen=True)
class Contents:
    """What was read from a checkpoint file."""

    tensors: dict[str, Tensor]
    """By name, on the CPU, as stored."""
    facts: Facts | None = None
    """None for every file but a corrected model."""
    notes: tuple[str, ...] = ()
    """What else the file holds."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU; raises like :func:`read_contents`."""
    return read_contents(path).tensors


def read_contents(path: Path) -> Contents:
    """Tensors of a checkpoint by name and what its header says.

    Reads safetensors, and the pickles of torch (``.pth``, ``.pt``, ``.ckpt``, ``.bin``) in a mode
    that builds tensors and plain containers only: no code in a file is ever run. The content tells
    which, not the name.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, would unpack to more than it is, holds no tensors, or
        holds Python objects; if its header contradicts itself.
    """
    path = Path(path)
    if not _is_file(path):
        raise CheckpointError(f"{str(path)!r} is not a file: give the path of a checkpoint.")
    try:
        check_holes(path)
        contents = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    except UNREADABLE as error:
        raise damaged(path) from error
    if not contents.tensors:
        raise CheckpointError(
            f"{path} holds no tensors by name: save the model's state dict, "
            "torch.save(model.state_dict(), path)."
        )
    _check_expansion(path, contents.tensors)
    return contents


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _is_safetensors(path: Path) -> bool:
    """Eight bytes say how long the JSON is that follows; torch writes no brace there."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Contents:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(FACTS)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise damaged(path) from error
    return Contents(tensors, None if header is None else _facts(path, header))


def _read_pickle(path: Path) -> Contents:
    check_archive(path)
    try:
        with path.open("rb") as file:  # of a path torch would judge the ending
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    tensors, notes = _unwrap(path, content)
    return Contents(tensors, notes=notes)


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    """Tell a pickle that names code from one that is broken."""
    message = str(error)
    if not re.search(r"[Uu]nsupported|not an allowed|GLOBAL|[Cc]an only", message):
        return damaged(path)
    named = re.search(r"GLOBAL ([\w.]+)|(?:class|function|global) ([\w.]+\.[\w.]+)", message)
    what = next((group for group in named.groups() if group), "") if named else ""
    return CheckpointError(
        f"{path} holds Python objects{f' ({what})' if what else ''}, which is code that would run "
        "on loading: it was refused and nothing was run. Where you trust the file, save its "
        "state dict alone, as .safetensors or with torch.save(model.state_dict(), path)."
    )


def _unwrap(path: Path, content: Any, depth: int = 4) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The innermost named tensors, through the nesting of common training scripts, and notes."""
    if not isinstance(content, Mapping) or depth == 0:
        return {}, ()
    for nest in NESTS:
        tensors, notes = _unwrap(path, content.get(nest), depth - 1)
        if tensors:
            beside = _corrections(content)
            unread = [
                str(name)
                for name, value in content.items()
                if name != nest and name not in beside and _has_tensors(value)
            ]
            return tensors | beside, (*notes, *_unread("", unread))
    return _named(path, content)


def _named(path: Path, content: Mapping[Any, Any]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors of one mapping; its other entries are told."""
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if odd := [name for name in tensors if not isinstance(name, str)]:
        raise CheckpointError(
            f"{path} names a tensor {odd[0]!r}, which is no text: save the model's state dict, "
            "torch.save(model.state_dict(), path)."
        )
    beside = _corrections(content)
    others = [
        str(name)
        for name, value in content.items()
        if isinstance(value, list | Mapping) and name != "correction" and tensors
    ]
    plain = {name: Tensor.detach(value) for name, value in tensors.items()}
    return plain | beside, _unread(", for they are no tensors", others)


def _corrections(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """A correction that was saved beside the weights, by its names or as an entry of its own."""
    nested = content.get("correction")
    named = (
        {f"correction.{key}": value for key, value in nested.items()}
        if (isinstance(nested, Mapping))
        else {}
    )
    return {
        name: Tensor.detach(value)
        for name, value in (*content.items(), *named.items())
        if isinstance(name, str) and CORRECTED.search(name) and isinstance(value, Tensor)
    }


def _has_tensors(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else (value,)
    return any(isinstance(entry, Tensor) for entry in inner)


def _unread(why: str, names: Sequence[str]) -> tuple[str, ...]:
    return (f"Not read from the checkpoint{why}: {some(names)}.",) if names else ()


def some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _check_expansion(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of no shape, and those that have more values than the file can hold."""
    if ragged := [name for name, tensor in tensors.items() if tensor.is_nested]:
        raise CheckpointError(
            f"{path} holds nested tensors ({some(ragged)}): save plain ones, "
            "{name: tensor.to_padded_tensor(0) for name, tensor in …}."
        )
    total = sum(
        tensor.numel() * tensor.element_size()
        for tensor in tensors.values()
        if tensor.layout is torch.strided and not tensor.is_meta
    )
    size = path.stat().st_size
    if total > EXPANSION * size:
        raise CheckpointError(
            f"{path} has {size:,} bytes and would unpack to {total:,}: its tensors repeat stored "
            "values. Save contiguous copies, {name: tensor.clone() for name, tensor in …}."
        )


def _facts(path: Path, header: str) -> Facts:
    try:
        found = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise _header(path, "it is no JSON") from error
    if not isinstance(found, dict):
        raise _header(path, "it is no list of entries by name")
    rows = found.get("correction")
    if rows is not None and (type(rows) is not int or rows < 0):
        raise _header(path, f"its correction must be a number of rows, not {_shown(rows)}")
    mean, std = (_channels(path, name, found.get(name)) for name in ("mean", "std"))
    model = found.get("model")
    return Facts(
        model if isinstance(model, str) else "",
        _labels(path, found.get("outputs")),
        mean,
        std,
        rows,
    )


def _header(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{path} has a damaged header: {problem}. Export the corrected model again."
    )


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _labels(path: Path, outputs: Any) -> tuple[str, ...]:
    texts = isinstance(outputs, list) and all(isinstance(label, str) for label in outputs)
    if not texts or not outputs or len(set(outputs)) < len(outputs):
        raise _header(path, f"its outputs must be different labels, not {_shown(outputs)}")
    return tuple(outputs)


def _channels(path: Path, name: str, values: Any) -> tuple[float, ...]:
    numeric = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not numeric or not usable(name, values):
        raise _header(path, f"its {name} must be {THREE[name]}, not {_shown(values)}")
    return tuple(float(value) for value in values)


def usable(part: str, values: Sequence[float]) -> bool:
    """Whether numbers can be the ``mean`` or the ``std`` that images are normalised with."""
    low, high = LIMITS[part]
    return len(values) == 3 and all(low <= value <= high for value in values)
