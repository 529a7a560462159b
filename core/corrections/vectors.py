"""How good the concept vectors of the tagged cues are, on images that they were not fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.corrections.concepts import alignment, concept_of
from core.corrections.evidence import HIDDEN, SHOWN, Evidence
from core.errors import InputError
from core.statistics.intervals import auroc

QUICK = ("shift", "signal", "fisher")
"""Kinds that need no search for a penalty."""

Row = Mapping[str, str | float]


def concept_rows(
    evidence: Evidence, keys: Sequence[str], kinds: Sequence[str] = QUICK
) -> list[Row]:
    """One row per cue and kind of concept vector, fitted on one part and judged on the other.

    Parameters
    ----------
    keys : names of the cues of the evidence.

    Returns
    -------
    ``cue``; ``kind``; ``separability``: AUROC of v . phi, images that show the cue against those
    that hide it, higher is better; ``alignment``: mean cosine with the differences of the same
    images with and without the cue, 1 is best, and its ``alignment_error``; ``note``: why there is
    none. NaN where it cannot be told.
    """
    fit, held = next(evidence.folds(4))
    return [_row(fit, held, m, key, kind) for m, key in enumerate(keys) for kind in kinds]


def _row(fit: Evidence, held: Evidence, m: int, key: str, kind: str) -> Row:
    nothing = float("nan")
    row: dict[str, str | float] = {"cue": key, "kind": kind, "separability": nothing}
    row |= {"alignment": nothing, "alignment_error": nothing, "note": ""}
    try:
        vector = concept_of(fit, m, kind).vector
    except InputError as error:
        return {**row, "note": str(error)}
    sides = [held.rows(m, state) for state in (SHOWN, HIDDEN)]
    values = np.concatenate([held.features[rows] @ vector for rows in sides])
    row["separability"] = auroc(values, np.arange(len(values)) < len(sides[0]))
    if held.pairs is not None:
        pairs = held.pairs.of(m)
        moved = pairs.shown.astype(np.float64) - pairs.hidden
        row["alignment"], row["alignment_error"] = alignment(moved, vector)
    return row
