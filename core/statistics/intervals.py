"""Intervals and separations on plain arrays: no model, no file, no page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from core.config import CONFIDENCE, GAP_SIDE, GAP_SIDE_WANTED
from core.types import BoolArray, FloatArray, IntArray


def side_size(n: int) -> int:
    """Images on either side of an accuracy gap over ``n`` images.

    A third of them, but at least 10 and at most 100 (the published size of large classes), and
    never more than half, so that the sides cannot overlap.
    """
    return min(GAP_SIDE, n // 2, max(GAP_SIDE_WANTED, n // 3))


def critical(tests: float = 1) -> float:
    """Normal quantile of a two-sided 95 % interval, corrected for ``tests`` (Bonferroni)."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * max(tests, 1)))


def wilson(
    successes: FloatArray | IntArray, n: FloatArray | IntArray | float, *, z: float
) -> tuple[FloatArray, FloatArray]:
    """Wilson score interval of a proportion.

    Source: Wilson 1927. ``successes``: any shape, counts in [0, n]; returns lower and upper bounds
    in [0, 1] of the same shape. Every candidate of every class asks for it, for which the one of
    statsmodels (the same to 1e-15) takes 11 times as long, and a second of imports.
    """
    p = np.asarray(successes, dtype=np.float64) / n
    middle = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def share(hits: float, n: int, tests: int = 1) -> tuple[float, float]:
    """Wilson interval of a share, corrected for ``tests`` comparisons (Bonferroni)."""
    if not n:
        return float("nan"), float("nan")
    low, high = wilson(np.array(hits, np.float64), n, z=critical(tests))
    return float(low), float(high)


def clopper_pearson(
    successes: FloatArray | IntArray | float, n: IntArray | int, tests: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Exact interval of a proportion (Clopper & Pearson 1934); 0 and 1 have bounds of their own.

    At the level of every interval here, 95 %, corrected for ``tests`` comparisons (Bonferroni); the
    published plots use 99.5 %.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=(1 - CONFIDENCE) / tests, method="beta")
    return low, high


def mean_interval(values: FloatArray, low: FloatArray, high: FloatArray) -> tuple[float, float]:
    """Interval of the unweighted mean of independent figures from their own, as one comparison.

    Source: Zou & Donner 2008. ``values``, ``low``, ``high``: (m,), m at least 1.
    """
    values, mean = np.asarray(values, np.float64), float(np.mean(values))
    down = float(np.linalg.norm(values - low)) / len(values)
    up = float(np.linalg.norm(high - values)) / len(values)
    return mean - down, mean + up


@dataclass(frozen=True)
class Gaps:
    """Accuracy gaps of several rankings of the same images; every array has shape (m,)."""

    high: FloatArray
    """Accuracy on the k highest images, in [0, 1]."""
    low: FloatArray
    """Accuracy on the k lowest images, in [0, 1]."""
    gap: FloatArray
    """100 (high - low), percentage points; positive: better where the value is high."""
    gap_low: FloatArray
    gap_high: FloatArray
    """Newcombe interval of the gap, percentage points, corrected for ``tests`` comparisons."""
    k: int
    """Images per side; 0 where there were fewer than two images (every array is then NaN)."""


def accuracy_gaps(
    correct: BoolArray, values: FloatArray, *, k: int | None = None, tests: int = 1
) -> Gaps:
    """Accuracy of the images highest in a value minus that of the lowest, for several values.

    gap = 100 (accuracy of the top k - accuracy of the bottom k) (Moayeri et al. 2023, section 3),
    with Newcombe's hybrid score interval (Newcombe 1998, method 10) at level
    1 - (1 - 0.95) / tests (Bonferroni). Of images that are equal
    at the edge of a side as many count as fit into it, with their mean accuracy.

    Parameters
    ----------
    correct : (n,) whether each image was predicted correctly.
    values : (n, m) one ranking value per image and candidate.
    k : images per side; default :func:`side_size`.
    tests : number of candidates looked at, for the correction.

    Raises
    ------
    ValueError
        If 2 k > n, so that the sides would overlap.
    """
    n, m = values.shape
    k = side_size(n) if k is None else k
    if 2 * k > n:
        raise ValueError(f"k = {k} images per side need {2 * k} images, there are {n}")
    if k == 0:
        nothing = np.full(m, np.nan)
        return Gaps(nothing, nothing, nothing, nothing, nothing, 0)
    hits = np.asarray(correct, dtype=np.float64)[:, None]
    top, bottom = _hits_of_first(values, hits, k), _hits_of_first(-values, hits, k)
    gap_low, gap_high = newcombe(top, bottom, k, z=critical(tests))
    high, low = top / k, bottom / k
    return Gaps(high, low, 100 * (high - low), 100 * gap_low, 100 * gap_high, k)


def _hits_of_first(values: FloatArray, hits: FloatArray, k: int) -> FloatArray:
    """Hits (m,) among the k highest of every column: the mean over all ways to break ties."""
    edge = -np.partition(-values, k - 1, axis=0)[k - 1]
    above, equal = values > edge, values == edge
    left = k - above.sum(axis=0)
    found: FloatArray = (hits * above).sum(axis=0) + left * (hits * equal).sum(axis=0) / np.maximum(
        equal.sum(axis=0), 1
    )
    return found


def newcombe(
    first: FloatArray, second: FloatArray, n: IntArray | int, *, z: float
) -> tuple[FloatArray, FloatArray]:
    """Hybrid score interval of the difference of two independent proportions, in [-1, 1].

    Source: Newcombe 1998, method 10. ``first``, ``second``: any shape, counts in [0, n].
    """
    p, q = np.asarray(first, np.float64) / n, np.asarray(second, np.float64) / n
    (p_low, p_high), (q_low, q_high) = wilson(first, n, z=z), wilson(second, n, z=z)
    down = np.sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    up = np.sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return p - q - down, p - q + up


def mean_share(hits: Sequence[int], n: Sequence[int]) -> tuple[float, float, float]:
    """Mean of the shares of independent groups (balanced accuracy), with its 95 % interval.

    Zou & Donner 2008 (MOVER) on Wilson's intervals.

    Parameters
    ----------
    hits, n : per group, counts.
    """
    counts = np.asarray(n)
    share = np.asarray(hits) / counts
    low, high = wilson(np.asarray(hits, np.float64), counts, z=critical())
    mean, groups = float(share.mean()), len(counts)
    below, above = (float(np.sqrt(((share - end) ** 2).sum())) / groups for end in (low, high))
    return mean, mean - below, mean + above


def auroc(values: FloatArray, positive: BoolArray) -> float:
    """Probability that a positive image has the higher value; ties count half.

    In [0, 1], 0.5 is chance; NaN when either group is empty or a value is not finite. Source: Mann
    & Whitney 1947.
    """
    if np.all(positive) or not np.any(positive) or not np.isfinite(values).all():
        return float("nan")
    given, others = np.asarray(values), np.asarray(positive, bool)
    above, below = given[others], np.sort(given[~others])
    lower = sum(int(np.searchsorted(below, above, side).sum()) for side in ("left", "right"))
    return lower / (2 * len(above) * len(below))


def correlation(x: FloatArray, y: FloatArray) -> FloatArray:
    """Pearson correlation (m, q) of the columns of x (n, m) and y (n, q); 0 for constant ones."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.linalg.norm(x, axis=0)[:, None] * np.linalg.norm(y, axis=0)[None]
    found: FloatArray = np.divide(x.T @ y, scale, out=np.zeros_like(scale), where=scale > 0)
    return found


def log_softmax(logits: FloatArray) -> FloatArray:
    """Logarithm of the softmax over the last axis, in float64."""
    from scipy.special import log_softmax as softmax_logarithm

    found: FloatArray = softmax_logarithm(np.asarray(logits, np.float64), axis=-1)
    return found


def class_probability(logits: FloatArray, output: int) -> FloatArray:
    """Softmax probability (n,) of one output, by logits (n, K)."""
    found: FloatArray = np.exp(log_softmax(logits)[:, output])
    return found


def interval_p(value: float, low: float, high: float) -> float:
    """Two-sided p-value of zero from a 95 % interval: below 0.05 just where it excludes zero.

    The end nearer to zero is taken to lie a normal quantile of standard errors away.
    """
    away = value - low if value > 0 else high - value
    return 2 * NormalDist().cdf(-critical() * abs(value) / away) if value else 1.0


def paired_change(
    before: BoolArray, after: BoolArray, *, tests: int = 1
) -> tuple[float, float, float]:
    """Change of a proportion on the same images, share after minus share before, and its interval.

    Square-and-add of Wilson intervals with the correlation of the pairs (Newcombe 1998 II, method
    10). In [-1, 1]; NaN without images.

    Parameters
    ----------
    before, after : (n,) the same images.
    """
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    n = len(before)
    if not n:
        return float("nan"), float("nan"), float("nan")
    both, neither = float((before & after).sum()), float((~before & ~after).sum())
    lost, won = float((before & ~after).sum()), float((~before & after).sum())
    at = [(hits / n, *share(hits, n, tests)) for hits in (both + lost, both + won)]
    product = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    above = both * neither - lost * won
    above = max(above - n / 2, 0.0) if above > 0 else above
    phi = above / np.sqrt(product) if product > 0 else 0.0
    return paired_difference(at[0], at[1], float(phi))


def paired_difference(
    before: tuple[float, float, float], after: tuple[float, float, float], correlation: float
) -> tuple[float, float, float]:
    """After minus before with its interval, of two estimates that are correlated.

    Square-and-add of the distances to the limits, less what they share (Zou & Donner 2008).
    """
    (old, old_low, old_high), (new, new_low, new_high) = before, after
    down, up = (
        float(np.sqrt(np.maximum(a**2 - 2 * correlation * a * b + b**2, 0)))
        for a, b in ((new - new_low, old_high - old), (new_high - new, old - old_low))
    )
    change = new - old
    return float(change), float(change - down), float(change + up)


def combined(*parts: tuple[float, float, float], signs: Sequence[float]) -> tuple[float, ...]:
    """A signed sum of independent estimates with the interval of the sum, (value, low, high).

    Square-and-add of the distances to the limits (Zou & Donner 2008).
    """
    value = sum(s * p[0] for s, p in zip(signs, parts, strict=True))
    ends = [
        (s * p[0] - min(s * p[1], s * p[2]), max(s * p[1], s * p[2]) - s * p[0])
        for s, p in zip(signs, parts, strict=True)
    ]
    down, up = (float(np.linalg.norm([e[i] for e in ends])) for i in (0, 1))
    return float(value), float(value - down), float(value + up)
