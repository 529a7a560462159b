"""The form of what an audit stores: entries of JSON documents, columns of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Shape: TypeAlias = "type | tuple[type, ...] | list[Shape] | Mapping[str, Shape]"
"""A type or several, a list of one shape, or an object with the shape of every entry it needs."""

NUMBER = (int, float)
OPTIONAL_NUMBER = (int, float, type(None))

CLASS: Shape = {
    "class_idx": int,
    "label": str,
    "name": str,
    "logit_mean": OPTIONAL_NUMBER,
    "n_images": int,
    "n_fitted": int,
    "n_components": int,
    "total_variance": OPTIONAL_NUMBER,
    "bound": OPTIONAL_NUMBER,
}
"""``class.json`` of an audited class."""


IMAGES = ["image_id", "path", "label", "split", "digest", "width", "height", "readable", "reason"]
"""Columns of ``images.parquet`` beside the data's own."""

PREDICTED = ["prediction", "confidence", "loss", "correct", "fair"]
"""Columns of ``predictions.parquet``."""


def mismatch(value: Any, shape: Shape, name: str = "") -> str:
    """How a document differs from a shape, in words; empty where it does not."""
    if isinstance(shape, Mapping):
        return _entries(value, shape, name)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{name or 'it'} is no list"
        return next(filter(None, (mismatch(v, shape[0], f"{name}[]") for v in value)), "")
    wanted = shape if isinstance(shape, tuple) else (shape,)
    odd = isinstance(value, bool) and not {bool, object} & set(wanted)  # Python counts with them
    return "" if isinstance(value, wanted) and not odd else f"{name or 'it'} is of another kind"


def _entries(value: Any, shape: Mapping[str, Shape], name: str) -> str:
    if not isinstance(value, dict):
        return f"{name or 'it'} is no object"
    for key, part in shape.items():
        inside = f"{name}.{key}" if name else key
        found = mismatch(value[key], part, inside) if key in value else f"{inside} is missing"
        if found:
            return found
    return ""
