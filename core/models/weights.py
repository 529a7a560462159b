"""Named tensors of a checkpoint file, read without running code, and what its header says."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import CheckpointError
from core.models.archive import check_archive, check_holes, damaged
from core.models.normalisation import THREE, usable
from core.models.plain_records import plain_records
from core.models.training_record import RECORDS, classes_beside_weights, training_of
from core.storage.audit_manifest import Reading
from core.storage.class_list import ENTRIES

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

SAID = ("_metadata", *ENTRIES, *RECORDS)
"""Entries beside tensors that were read for what they say."""

CORRECTED = re.compile(r"(?:^|\.)correction\.(?P<part>read|offset|write)$")
"""Names of a correction's tensors, also under a wrapper's prefix."""

EXPANSION = 8
"""Most bytes of all tensors, counted by name, per byte of the file. Tied weights and copies for
training are stored once and counted several times; an expanded tensor has one value and any size.
"""

SHOWN = 5
"""Names shown per list of an error."""

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
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    """How the model wants its images; empty where the header is older than this entry."""


@dataclass(frozen=True)
class Contents:
    """What was read from a checkpoint file."""

    tensors: dict[str, Tensor]
    """By name, on the CPU, as stored."""
    facts: Facts | None = None
    """None for every file but a corrected model."""
    notes: tuple[str, ...] = ()
    """What else the file holds."""
    outputs: tuple[str, ...] = ()
    """What it says that its outputs mean; empty where it says nothing."""
    training: Reading | None = None
    """How it says that images were prepared in training."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """What torch keeps beside a state dict: the version of every module, by its name."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU; raises like :func:`read_contents`."""
    return read_contents(path).tensors


def read_contents(path: Path, *, weights: str = "") -> Contents:
    """Tensors of a checkpoint by name and what its header says.

    Reads safetensors, and the pickles of torch (``.pth``, ``.pt``, ``.ckpt``, ``.bin``) in a mode
    that builds tensors and plain containers only: no code in a file is ever run. The content tells
    which, not the name.

    Parameters
    ----------
    weights : the entry to read of a file that holds several sets of weights, or a word that its
        name, or the names of its tensors, have among others (``ema``).

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
        safe = _is_safetensors(path)
        contents = _read_safetensors(path) if safe else _read_pickle(path, weights)
    except UNREADABLE as error:
        raise damaged(path) from error
    if not contents.tensors:
        raise CheckpointError(
            f"{path} holds no tensors by name: save the model's state dict, "
            "torch.save(model.state_dict(), path)."
        )
    _check_expansion(path, contents.tensors)
    return _of_word(path, contents, weights) if weights else contents


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
    if header is None:
        return Contents(tensors)
    facts = _facts(path, header)
    training, said = training_of({"preprocess": facts.preprocess})
    return Contents(tensors, facts, notes=said, training=training)


def _read_pickle(path: Path, weights: str = "") -> Contents:
    check_archive(path)
    try:
        with path.open("rb") as file, plain_records():  # of a path torch would judge the ending
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    training, said = training_of(content)
    tensors, notes = _chosen(path, content, weights)
    return Contents(
        tensors,
        notes=(*notes, *said),
        outputs=classes_beside_weights(content),
        training=training,
        versions=getattr(tensors, "_metadata", {}),
    )


def _chosen(path: Path, content: Any, weights: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The entry asked for, else the one that training scripts keep weights under, else the most."""
    entries = dict(_entries(content))
    if weights and (asked := [name for name in entries if _bears(name, weights)]):
        tensors, notes = _named(path, entries[min(asked, key=len)])
        return tensors, (f"Read of the checkpoint: {min(asked, key=len)}.", *notes)
    tensors, notes = _unwrap(path, content)
    most = max(entries, key=lambda name: len(entries[name]), default="")
    if len(tensors) >= len(entries.get(most, ())) or len(tensors) > 1:
        return tensors, notes
    tensors, notes = _named(path, entries[most])
    return tensors, (f"Read of the checkpoint: {most}.", *notes)


def _entries(content: Any, place: str = "", depth: int = 6) -> Iterator[tuple[str, Any]]:
    """Every mapping inside that holds tensors by name; optimizers hold theirs by number."""
    if not isinstance(content, Mapping) or not depth:
        return
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Mapping):
            inside = f"{place}.{name}" if place else name
            if any(isinstance(entry, Tensor) for entry in value.values()):
                yield inside, value
            yield from _entries(value, inside, depth - 1)


def _bears(name: str, word: str) -> bool:
    """Whether a name is a word, or has it among its own."""
    return word == name or word.casefold() in re.split(r"[._]", name.casefold())


def _of_word(path: Path, contents: Contents, word: str) -> Contents:
    """With the tensors alone whose names have a word in front; all of the entry of that name."""
    if any(note.startswith("Read of the checkpoint:") for note in contents.notes):
        return contents
    kept = {
        name: tensor
        for name, tensor in contents.tensors.items()
        if any(_bears(part, word) for part in name.split(".")[:3])
    }
    if not kept:
        raise CheckpointError(
            f"{path} holds no weights called {word!r}: leave --weights out, or give the name of "
            "one of its entries."
        )
    return replace(contents, tensors=kept)


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
            return _with(tensors, beside), (*notes, *_unread("", unread))
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
        if isinstance(value, list | Mapping) and name not in ("correction", *SAID) and tensors
    ]
    plain = {name: Tensor.detach(value) for name, value in tensors.items()}
    plain = OrderedDict(plain)
    said = getattr(content, "_metadata", None) or content.get("_metadata")
    plain._metadata = said if isinstance(said, Mapping) else {}  # type: ignore[attr-defined]
    return _with(plain, beside), _unread(", for they are no tensors", others)


def _with(tensors: dict[str, Tensor], beside: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Further tensors, in place, so that what torch keeps beside their names stays."""
    tensors.update(beside)
    return tensors


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
    """What is there beside what was read; several sets of weights can be chosen from."""
    if not names:
        return ()
    choice = "; --weights chooses another" if any(_bears(name, "ema") for name in names) else ""
    return (f"Not read from the checkpoint{why}: {some(names)}{choice}.",)


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
    model, preprocess = found.get("model"), found.get("preprocess")
    return Facts(
        model if isinstance(model, str) else "",
        _labels(path, found.get("outputs")),
        mean,
        std,
        rows,
        preprocess if isinstance(preprocess, dict) else {},
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
