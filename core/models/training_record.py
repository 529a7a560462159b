"""What a training script wrote beside the weights: classes, and how images were prepared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from core.models.normalisation import usable
from core.storage.audit_manifest import Reading
from core.storage.class_list import ENTRIES, classes_of

RECORDS = (
    *("args", "opt", "config", "cfg", "hparams", "hyper_parameters", "hparams_dict"),
    *("preprocess", "preprocessing", "transform", "pretrained_cfg", "default_cfg", "meta"),
)
"""Entries that scripts keep what they were run with under."""

SIZES = ("input_size", "img_size", "image_size")
WORDS = {
    "interpolation": ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"),
    "crop_mode": ("center", "squash"),
    "colours": ("rgb", "bgr"),
    "windows": ("kept", "scaled"),
}
"""Settings that are a word, and the words that are known."""


def classes_beside_weights(content: Any) -> tuple[str, ...]:
    """Labels of the outputs that a checkpoint lists, by its entries or its records; () if none."""
    for record in _records(content):
        listed = (classes_of({name: record[name]}) for name in ENTRIES if name in record)
        if found := next(filter(None, listed), None):
            return found if len(set(found)) == len(found) else ()
    return ()


def training_of(content: Any) -> tuple[Reading | None, tuple[str, ...]]:
    """How images were prepared in training as far as a checkpoint says it, and that in words."""
    said: dict[str, Any] = {}
    for record in reversed(list(_records(content))):
        said |= dict(_settings(record))
    if not said:
        return None, ()
    words = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in said.items())
    return Reading(**said), (
        f"Images are prepared as the checkpoint's record of training: {words}.",
    )


def _shown(value: Any) -> str:
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


def _records(content: Any) -> Iterator[Mapping[Any, Any]]:
    """The checkpoint itself, and its records as mappings."""
    plain = _plain(content)
    if plain is None:
        return
    yield plain
    for name in RECORDS:
        if (record := _plain(plain.get(name))) is not None:
            yield record


def _plain(record: Any) -> Mapping[Any, Any] | None:
    """A mapping, or the entries of a plain record such as a Namespace."""
    if isinstance(record, Mapping):
        return record
    entries = getattr(record, "__dict__", None)
    return entries if isinstance(entries, dict) else None


def _settings(record: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for part in ("mean", "std"):
        values = _numbers(record.get(part))
        if len(values) == 3 and usable(part, values):
            yield part, values
    for name in SIZES:
        values = _numbers(record.get(name))
        values = values[-2:] * (3 - len(values[-2:])) if values else ()
        if values and all(v == int(v) and 8 <= v <= 4096 for v in values):
            yield "input_size", tuple(int(v) for v in values)
            break
    (crop,) = _numbers(record.get("crop_pct"))[:1] or (0.0,)
    if 0 < crop <= 1:
        yield "crop", float(crop)
    for name, known in WORDS.items():
        if record.get(name) in known:
            yield name, str(record[name])
    levels = _numbers(record.get("levels"))
    if len(levels) == 2 and levels[0] < levels[1]:
        yield "levels", levels


def _numbers(value: Any) -> tuple[float, ...]:
    """Finite numbers of a number or of a list of them; () of anything else."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    plain = all(type(part) in (int, float) and isfinite(part) for part in values)
    return tuple(float(part) for part in values) if plain else ()
