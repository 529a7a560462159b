"""A correction of another package: the cue no longer counts for its own class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.corrections.evidence import Evidence
from core.corrections.methods import Method, register
from core.corrections.rectified import without_directions
from core.models.linear import Head


def hushed(head: Head, evidence: Evidence, strength: float, *, level: str = "mean") -> Head:
    """Hold every cue's alpha at 0 or at its lowest, in the logit of its class alone."""
    directions = np.stack([cue.direction for cue in evidence.cues])
    levels = np.array([cue.offset for cue in evidence.cues])
    if level == "lowest":
        levels = (evidence.features @ directions.T).min(axis=0)
    everywhere = without_directions(head, directions, levels, strength)
    own = [cue.output for cue in evidence.cues]
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[own], bias[own] = everywhere.weight[own], everywhere.bias[own]
    return replace(head, weight=weight, bias=bias)


def add() -> None:
    register(
        Method(
            name="hushed-class",
            title="Hush the cue in its class",
            fit=hushed,
            strengths=(0.0, 0.5, 1.0),
            published=1.0,
            source="an example",
            remark="Other classes go on seeing the cue.",
            options={"level": ("mean", "lowest")},
        )
    )
