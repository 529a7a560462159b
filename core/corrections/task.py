"""What a method of the network works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.audits.audit import Audit
from core.corrections.acted_on import Findings
from core.corrections.evidence import Evidence
from core.trials.pasted_cues import Cues
from core.types import IntArray


@dataclass(frozen=True)
class Task:
    """One correction of a network: the model, the cues, and the images to learn from."""

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
    cues: Mapping[int, Cues] = field(default_factory=dict)
    """Cut-out cues by the output of their class, where the trained network is to be tried on the
    held-out part of the training images, for a choice between strengths (``Corrected.judged``)."""
