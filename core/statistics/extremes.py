"""The lowest or the largest of several figures, which were looked at to choose it.

The lowest of several estimates is too low on average, the largest too large: groups of 25 images
that are all right in 90 % have a worst one of 82 % among six. The true extreme is held by the
extremes of the intervals of all of them: on the side that choosing pushes towards, those of one
figure do, since they hold the one that is truly extreme; on the other all have to hold at once.
"""

from __future__ import annotations

import numpy as np

from core.statistics.intervals import clopper_pearson, critical, newcombe
from core.types import FloatArray, IntArray


def lowest_share(hits: FloatArray | IntArray, n: IntArray) -> tuple[float, float]:
    """95 % interval of the lowest of several true shares, whichever it is; exact.

    Clopper-Pearson: of shares near 1 the upper ends of Wilson's intervals do not hold at once (54 %
    for six groups of five images).

    Parameters
    ----------
    hits, n : (m,) hits and images of each, m at least 1.
    """
    low, _ = clopper_pearson(hits, n)
    _, high = clopper_pearson(hits, n, tests=len(n))
    return float(np.min(low)), float(np.min(high))


def largest_gap(first: FloatArray, second: FloatArray, n: IntArray) -> tuple[float, float]:
    """95 % interval of the largest of several true gaps, whichever it is, in [-1, 1].

    Parameters
    ----------
    first, second : (m,) hits on either side; n : (m,) images a side, m at least 1.
    """
    low, _ = newcombe(first, second, n, z=critical(len(n)))
    _, high = newcombe(first, second, n, z=critical())
    return float(np.max(low)), float(np.max(high))
