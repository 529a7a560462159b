"""What an audit says of one of its classes, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from core.storage.json_values import JsonValue, later


@dataclass(frozen=True)
class AuditedClass(JsonValue):
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
    definition: str = later("")
    n_held_out: int = later(0)
    """Images that accuracy and gaps are measured on."""
    accuracy: float | None = later(None)
    top_gap: float | None = later(None)
    """Largest accuracy gap of a candidate, percentage points; None where none was measured."""
    top_gap_low: float = later(nan)
    top_gap_high: float = later(nan)
    """Its interval."""
    top_gap_control: float = later(nan)
    """What random directions that follow the logit as closely open; NaN of earlier versions."""
    top_gap_above: bool = later(False)
    """Whether it is above that, after looking at every candidate of every class."""
    top_kind: str = later("")
    top_component: int = later(-1)
    top_candidate: str = later("")
