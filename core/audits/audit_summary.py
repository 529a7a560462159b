"""What an audit found of all its images: ``summary.json`` as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.audits.audited import AuditedClass
from core.storage.json_values import JsonValue


@dataclass(frozen=True)
class Unreadable(JsonValue):
    """An image that could not be read."""

    path: str
    reason: str


@dataclass(frozen=True)
class SplitFacts(JsonValue):
    """What is known of a split."""

    images: int
    """Readable ones."""
    accuracy: float | None


@dataclass(frozen=True)
class HeadFacts(JsonValue):
    """The head that is explained."""

    mode: str
    """``keep`` or ``fit``."""
    outputs: int = 0
    """Number of classes that it tells apart."""


@dataclass(frozen=True)
class Summary(JsonValue):
    """What lists and headlines need, without loading anything else."""

    images: int
    readable: int
    unreadable: tuple[Unreadable, ...]
    splits: Mapping[str, SplitFacts]
    """By name, ``train`` and others."""
    classes: tuple[AuditedClass, ...]
    """By label."""
    accuracy: float | None
    """Over the images held out; None where there are none."""
    held_out: str
    """Which images those are, in words."""
    head: HeadFacts
    attributes: tuple[str, ...]
    masks: tuple[str, ...]
    """Those of ``object_mask``, ``cue_mask`` and ``x_min`` that the data has."""
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of paths with identical bytes."""
    in_two_splits: tuple[tuple[str, ...], ...]
    """Those of them that stand in several splits."""
    repeated: tuple[tuple[str, ...], ...]
    """Rows for the very same path that were dropped, as (path, detail)."""
    planted: Mapping[str, Any]
    """For rendered data: the planted truth by label."""
    table: str = ""
    """Changes with everything of the image table that is not in its frame."""
    notes: tuple[str, ...] = field(kw_only=True)
    """Warnings that a user should read."""
