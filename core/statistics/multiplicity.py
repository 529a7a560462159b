"""Many questions at once: corrected p-values, and the level of intervals that agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from core.config import CONFIDENCE
from core.types import FloatArray

Method = Literal["holm", "bonferroni", "fdr_bh"]
"""Holm 1979 and Bonferroni bound the chance of any false finding among all; Benjamini & Hochberg
1995 (``fdr_bh``) the expected share of false ones among the findings."""


def corrected(p: Sequence[float] | FloatArray, method: Method) -> FloatArray:
    """Adjusted p-values (m,), at most 1, in the order given; NaN entries are no tests, stay NaN.

    What is below 0.05 is found at 5 % of the error that the method is about.
    """
    given = np.asarray(p, np.float64)
    found = np.full(len(given), np.nan)
    there = np.flatnonzero(~np.isnan(given))
    if len(there):
        from statsmodels.stats.multitest import multipletests

        found[there] = multipletests(given[there], alpha=1 - CONFIDENCE, method=method)[1]
    return found


def corrected_level(
    p: Sequence[float] | FloatArray, method: Literal["bonferroni", "fdr_bh"]
) -> float:
    """Confidence level, below 1, whose intervals exclude zero just where :func:`corrected` finds.

    Bonferroni: 1 - 0.05 / m. Benjamini-Hochberg: 1 - 0.05 R / m with R findings, whose intervals
    miss the truth in 5 % of them on average (false coverage rate, Benjamini & Yekutieli 2005);
    without a finding R counts as 1.
    """
    adjusted = corrected(p, method)
    tests = max(int(np.isfinite(adjusted).sum()), 1)
    found = int((adjusted <= 1 - CONFIDENCE).sum()) if method == "fdr_bh" else 1
    return 1 - (1 - CONFIDENCE) * max(found, 1) / tests
