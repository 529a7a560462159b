"""Controls of gaps for audits of earlier versions, which stored none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.candidates.above_control import CORRECTED, with_corrected
from core.candidates.key import CandidateKey
from core.candidates.search import CONTROL
from core.statistics.gap_control import gap_control
from core.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from core.audits.audit import Audit
    from core.audits.audited import AuditedClass

MOST = 60
"""Classes that are computed where they are asked for, a few seconds of work; of more, what was not
stored stays empty."""


def controlled(audit: Audit) -> pd.DataFrame:
    """Every candidate with what random directions open (:data:`above_control.COLUMNS`).

    Parts are compared with directions that follow the logit, not the margin, as closely.
    """
    table = audit.candidates
    if CORRECTED in table or len(audit.classes) > MOST:
        return table if CORRECTED in table else with_corrected(table)
    found = table.assign(**dict.fromkeys(CONTROL, np.nan))
    for facts in audit.classes:
        for kind in found.loc[found["class_idx"] == facts.class_idx, "kind"].unique():
            rows = (found["class_idx"] == facts.class_idx) & (found["kind"] == kind)
            numbers = found.loc[rows, "component"].tolist()
            found.loc[rows, CONTROL] = _of_kind(audit, facts, str(kind), numbers)
    return with_corrected(found)


def _of_kind(audit: Audit, facts: AuditedClass, kind: str, numbers: list[int]) -> FloatArray:
    """CONTROL (m, 2) of candidates of a kind; NaN of those whose alpha is not stored."""
    arrays = audit.class_arrays(facts.class_idx)
    stored = {
        place: alpha
        for place, number in enumerate(numbers)
        if (alpha := arrays.alpha_of(CandidateKey(facts.label, kind, number))) is not None
    }
    found = np.full((len(numbers), 2), np.nan)
    if not stored:
        return found
    alpha = np.stack([*stored.values()], axis=1)
    rows = audit.images.index.get_indexer(arrays.image_ids)
    held = audit.held_out[rows] & np.isfinite(alpha).all(axis=1)
    components = np.asarray(arrays.alpha[held, : arrays.components], np.float64)
    logit = components.sum(axis=1) + np.asarray(arrays.residual, np.float64)[held]
    correct = audit.images["fair"].to_numpy(bool)[rows]
    found[[*stored]] = np.column_stack(gap_control(correct[held], alpha[held], logit, components))
    return found
