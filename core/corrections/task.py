"""What a method of the network is given and what it gives back: the seam between both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.audits.audit import Audit
from core.corrections.acted_on import Findings
from core.corrections.derived import Corrected
from core.corrections.evidence import Evidence
from core.types import IntArray, Reporter


@dataclass(frozen=True)
class Task:
    """What a method of the network works on."""

    parent: Audit
    findings: Findings
    evidence: Evidence
    """Stored features and pseudo-labels of the images that may be learnt from."""
    rows: IntArray
    """Their rows in ``parent.images``."""
    strength: float | None
    """None: the method's own."""
    options: Mapping[str, Any]
    seed: int = 0
    judged: bool = False
    """Whether to try the trained network on the held-out part of the training images, for a choice
    between strengths (``Corrected.facts["judged"]``)."""


Apply = Callable[[Task, Reporter], Corrected]
"""Trains; ``Corrected.facts`` holds the ``strength`` that was used."""


@dataclass(frozen=True)
class NetworkMethod:
    """A method that needs images and may change the encoder."""

    name: str
    title: str
    apply: Apply
    strengths: tuple[float, ...]
    """The first leaves the model as it is, the last is the strongest allowed."""
    published: float
    source: str
    remark: str
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    published_options: Mapping[str, Any] = field(default_factory=dict)
    tried: Callable[[Mapping[str, Any]], tuple[float, ...]] | None = None
    """Strengths that ``--strength sweep`` trains with, by the options; None: it has no sweep."""
    needs_pairs: bool = False
