"""What to tag next: the candidates that matter most, untagged ones first."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

PER_CLASS = 8
"""Candidates of every class and kind in the queue; the pages show all of them."""

COLUMNS = ["class_idx", "kind", "component", "gap", "variance_share"]


def tagging_queue(
    candidates: pd.DataFrame,
    tagged: Collection[tuple[int, str, int]],
    *,
    kinds: Collection[str],
    per_class: int = PER_CLASS,
) -> pd.DataFrame:
    """The candidates to tag, in the order to tag them.

    Of every class and kind the first ``per_class`` in page order; then the untagged before the
    tagged, gaps that are certain before the others, larger gaps (either sign) before smaller
    ones, and larger shares of variance before smaller ones.

    Parameters
    ----------
    candidates : :attr:`core.audit.Audit.candidates`.
    tagged : (class_idx, kind, component) that this annotator has tagged.

    Returns
    -------
    COLUMNS and ``tagged``, RangeIndex.
    """
    shown = candidates[candidates["kind"].isin(kinds) & (candidates["order"] < per_class)]
    keys = list(zip(shown["class_idx"], shown["kind"], shown["component"], strict=True))
    gap = shown["gap"].fillna(0).abs()
    certain = (shown["gap_low"] > 0) | (shown["gap_high"] < 0)
    found = shown[COLUMNS].assign(tagged=[key in tagged for key in keys])
    order = np.lexsort(
        [shown["component"], -shown["variance_share"], -gap, ~certain, found["tagged"]]
    )
    return found.iloc[order].reset_index(drop=True)
