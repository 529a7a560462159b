"""Controls of gaps for audits of earlier versions, which stored none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.candidates.above_control import CORRECTED, with_corrected
from core.candidates.key import CandidateKey, keys_in
from core.candidates.search import CONTROL
from core.statistics.gap_control import gap_control
from core.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

    from core.audits.audit import Audit
    from core.audits.audited import AuditedClass

MOST = 40
"""Classes that are computed where they are asked for, a few seconds of work; of more, what was not
stored stays empty."""


def controlled(audit: Audit) -> pd.DataFrame:
    """Every candidate with what random directions open (:data:`above_control.COLUMNS`).

    Parts are compared with directions that follow the logit, not the margin, as closely. Images a
    side are those of the gap that was stored, which may be of an earlier rule.
    """
    table = audit.candidates
    if CORRECTED in table or len(audit.classes) > MOST:
        return table if CORRECTED in table else with_corrected(table)
    found = table.assign(**dict.fromkeys(CONTROL, np.nan))
    owner = found["class_idx"].to_numpy()
    for facts in audit.classes:
        rows = np.flatnonzero(owner == facts.class_idx)
        keys = keys_in(found.iloc[rows], facts.label)
        sides = found["gap_k"].iloc[rows].fillna(0).to_numpy(np.int64)
        found.loc[found.index[rows], CONTROL] = _of_class(audit, facts, keys, sides)
    return with_corrected(found)


def _of_class(
    audit: Audit, facts: AuditedClass, keys: Sequence[CandidateKey], sides: IntArray
) -> FloatArray:
    """CONTROL (m, 2) of candidates of a class; NaN of those whose alpha is not stored.

    Parameters
    ----------
    sides : (m,) images a side of their stored gaps.
    """
    arrays = audit.class_arrays(facts.class_idx)
    nothing = np.full(len(arrays.image_ids), np.nan)
    stored = [arrays.alpha_of(key) for key in keys]
    alpha = np.stack([nothing if one is None else one for one in stored], axis=1)
    rows = audit.rows_of(arrays.image_ids)
    components = np.asarray(arrays.alpha[:, : arrays.components], np.float64)
    logit = components.sum(axis=1) + np.asarray(arrays.residual, np.float64)
    correct, held = audit.images["fair"].to_numpy(bool)[rows], audit.held_out[rows]
    found = np.full((len(keys), 2), np.nan)
    known = np.isfinite(alpha)
    whole = known.all(axis=0)
    for kind in (whole, known.any(axis=0) & ~whole):  # of some kinds some images have no alpha
        for k in np.unique(sides[kind]):
            group = kind & (sides == k)
            use = held & known[:, kind].all(axis=1)
            given = (correct[use], alpha[use][:, group], logit[use], components[use])
            found[group] = np.column_stack(gap_control(*given, k=min(int(k), int(use.sum()) // 2)))
    return found
