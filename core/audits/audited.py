"""What an audit says of one of its classes, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import nan
from typing import Any


@dataclass(frozen=True)
class AuditedClass:
    """A class with an output and a training image, as ``summary.json`` and ``class.json`` have it.

    What only the summary says has its default where a class is read from its own folder.
    """

    class_idx: int
    """Its output."""
    label: str
    name: str
    """As it is displayed."""
    n_images: int
    n_fitted: int = 0
    """Images that the components were fitted on."""
    n_components: int = 0
    logit_mean: float = nan
    """Over the images that it was fitted on; NaN without any, as is the bound."""
    total_variance: float | None = None
    bound: float = nan
    """Of what the components that were not kept can add."""
    definition: str = ""
    n_held_out: int = 0
    """Images that accuracy and gaps are measured on."""
    accuracy: float | None = None
    top_gap: float | None = None
    """Largest accuracy gap of a candidate, percentage points; None where none was measured."""
    top_gap_low: float = nan
    top_gap_high: float = nan
    """Its interval."""
    top_kind: str = ""
    top_component: int = -1
    top_candidate: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Entries of another version."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> AuditedClass:
        """Read what :mod:`core.audits.analysis` wrote."""
        ours = {entry.name for entry in fields(cls)} - {"unknown"}
        other = {name: value for name, value in found.items() if name not in ours}
        known = {name: value for name, value in found.items() if name in ours}
        for name in ("logit_mean", "bound"):
            known[name] = nan if known.get(name) is None else known[name]
        return cls(**known, unknown=other)
