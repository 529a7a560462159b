"""A correction of the head: one call, ``(head, evidence, strength) -> head``, for every method."""

from __future__ import annotations

from typing import Any

from core.corrections.evidence import Evidence
from core.corrections.methods import METHODS
from core.corrections.softmax import SUBSAMPLE, rebalanced, sample_rows
from core.errors import InputError
from core.models.linear import Head

BIAS = ("refit", "kept")
KEPT_FIRST = BIAS[::-1]
"""Values of the option ``bias``, which is served here."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Strengths of a method that goes from no change to all that was published."""


def mitigate(name: str, head: Head, evidence: Evidence, strength: float, **options: Any) -> Head:
    """The corrected head; outputs, names and mode are kept.

    Raises
    ------
    InputError
        If the method, an option or a value is unknown, the strength is out of range, no cue is
        given, the method trains the network, or it needs pairs and there are none.
    """
    chosen = METHODS.chosen(name)
    if chosen.fit is None:
        raise InputError(f"{name} trains the network: it has no head to make from features")
    if not evidence.cues:
        raise InputError(f"{name} needs a cue: tag a candidate as spurious first")
    if chosen.needs_pairs and evidence.pairs is None:
        raise InputError(f"{name} needs images with and without the cue: give cue masks")
    low, high = chosen.strengths[0], chosen.strengths[-1]
    if not low <= strength <= high:
        raise InputError(f"strength {strength:g} of {name}: must be from {low:g} to {high:g}")
    for option, value in options.items():
        if value not in chosen.options.get(option, ()):
            raise InputError(f"{name} has no option {option}={value}; it has {chosen.choices}")
    balance = chosen.options.get("bias", ("kept",))[0]
    balance = options.pop("bias", balance)
    found = chosen.fit(head, evidence, strength, **options)
    if balance == "kept" or not strength or options.get("fit") == "refit":
        return found
    rows = sample_rows(evidence.labels, SUBSAMPLE, evidence.seed)
    return rebalanced(found, head, evidence.features[rows], evidence.labels[rows])
