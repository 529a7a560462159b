"""Areas under the ROC curve of many rankings against many groups at once."""

from __future__ import annotations

import numpy as np

from core.types import BoolArray, FloatArray


def aurocs(values: FloatArray, inside: BoolArray) -> FloatArray:
    """Probability (m, q) that an image of a group has the higher value than one outside it.

    Ties count half (Mann & Whitney 1947); 0.5 is no difference, NaN where a side is empty.

    Parameters
    ----------
    values : (n, m) finite; inside : (n, q) whether each image is in each group.
    """
    import pandas as pd

    ranks = pd.DataFrame(values).rank().to_numpy(np.float64)
    n_in = inside.sum(axis=0, dtype=np.float64)
    above = ranks.T @ inside - n_in * (n_in + 1) / 2
    pairs = n_in * (len(inside) - n_in)
    found: FloatArray = np.divide(above, pairs, out=np.full(above.shape, np.nan), where=pairs > 0)
    return found


def column_aurocs(first: FloatArray, second: FloatArray) -> FloatArray:
    """Probability (m,) that a value of ``first`` (k, m) is above one of ``second`` (l, m).

    Column by column; ties count half, NaN where a side is empty.
    """
    from scipy.stats import rankdata

    k, others = len(first), len(second)
    if not k or not others:
        return np.full(first.shape[1], np.nan)
    ranks = rankdata(np.concatenate([first, second]), axis=0)[:k].sum(axis=0)
    found: FloatArray = (ranks - k * (k + 1) / 2) / (k * others)
    return found


def rank_correlation(a: FloatArray, b: FloatArray) -> float:
    """Spearman's correlation of two arrays of one shape, in [-1, 1]; NaN where one is constant."""
    import pandas as pd

    x, y = (pd.Series(np.ravel(each)).rank() for each in (a, b))
    return float(x.corr(y))
