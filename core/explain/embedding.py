"""Two dimensions for many: PCA and UMAP of features, and what sets a group of images apart.

Plain arrays in, plain arrays out; umap-learn is imported where it runs, because that takes long.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.statistics.intervals import critical
from core.statistics.ranks import aurocs
from core.types import BoolArray, FloatArray, IntArray, Progress, Reporter, silent

COMPONENTS = 50
"""Principal components that UMAP sees."""

NEIGHBOURS = 15
"""Neighbours in UMAP's graph: its authors' default (McInnes, Healy & Melville 2018)."""

FEWEST = 10
"""Points below which there is no UMAP: its graph would join everything with everything."""

SIDE = 3
"""Images that a group and the rest of its class need at least to be compared."""

EXACT = 500
"""Smaller side of the matrix up to which the decomposition is exact, not randomised."""


@dataclass(frozen=True)
class Plane:
    """Principal components, ready to be applied to any rows."""

    mean: FloatArray
    """(D,) of the rows they were fitted on."""
    axes: FloatArray
    """(k, D) orthonormal, by descending variance; k <= 50."""
    shares: FloatArray
    """(k,) share of the total variance along each axis, in [0, 1]; 0 where nothing varies."""

    def apply(self, values: FloatArray) -> FloatArray:
        """Coordinates (n, k) float32 of rows (n, D)."""
        found: FloatArray = ((values - self.mean) @ self.axes.T).astype(np.float32)
        return found


def principal_plane(values: FloatArray, *, count: int = COMPONENTS, seed: int = 0) -> Plane:
    """Fit up to ``count`` principal components; the same rows and seed give the same axes.

    Exact where the matrix is small, else randomised (Halko, Martinsson & Tropp 2011).

    Parameters
    ----------
    values : (n, D), overwritten: a copy of many features would double the memory.
    """
    from sklearn.decomposition import PCA

    n, width = values.shape
    count = min(count, n, width)
    solver = "full" if min(n, width) <= EXACT else "randomized"
    fitted = PCA(count, svd_solver=solver, random_state=seed, copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):  # rows that are all the same
        fitted.fit(values)
    shares = np.nan_to_num(fitted.explained_variance_ratio_)
    return Plane(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32), shares)


def neighbours(n: int) -> int:
    """How many neighbours UMAP takes among ``n`` points; 0: too few points for UMAP."""
    return 0 if n < FEWEST else min(NEIGHBOURS, n - 1)


class _Epochs:
    """A file for tqdm that reports the epochs of UMAP instead of drawing a bar."""

    def __init__(self, stage: str, report: Reporter) -> None:
        self.stage, self.report = stage, report

    def write(self, text: str) -> int:
        done, _, total = text.strip().partition("/")
        if done.isdecimal() and total.isdecimal():
            self.report(Progress(self.stage, int(done), int(total), "epochs"))
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def umap_plane(
    values: FloatArray, *, seed: int = 0, report: Reporter = silent
) -> FloatArray | None:
    """UMAP coordinates (n, 2) float32 of rows (n, k); None below ten rows.

    One thread and a fixed seed: the same rows give the same picture. Distances between far groups
    mean little in it, and neither do the axes. Source: McInnes, Healy & Melville 2018.
    """
    n = len(values)
    if not neighbours(n):
        return None
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # disconnected graphs of repeated images
        shown = {"file": _Epochs(f"UMAP of {n:,} images", report), "disable": False}
        shown |= {"bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.5, "ascii": True}
        reducer = UMAP(n_neighbors=neighbours(n), random_state=seed, n_jobs=1, tqdm_kwds=shown)
        found = np.asarray(reducer.fit_transform(np.asarray(values, np.float32)), np.float32)
    middle = np.nanmedian(found, axis=0) if np.isfinite(found).any() else np.zeros(2)
    return np.where(np.isfinite(found), found, middle).astype(np.float32)


def stratified_sample(strata: Iterable[object], size: int, *, seed: int = 0) -> IntArray:
    """Positions (s,) of a sample in which every stratum has its share, ascending; s <= size.

    Shares are rounded by largest remainders, at least one of every stratum where ``size`` allows.
    The same strata and seed give the same sample; everything where ``size`` suffices.
    """
    _, codes, counts = np.unique(
        np.asarray(list(strata), dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    n = len(codes)
    if n <= size:
        return np.arange(n, dtype=np.int64)
    quota = _quotas(counts, size)
    order = np.lexsort((np.random.default_rng(seed).random(n), codes))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.arange(n) - np.repeat(first, counts)
    return np.sort(order[place < np.repeat(quota, counts)]).astype(np.int64)


def _quotas(counts: IntArray, size: int) -> IntArray:
    """How many of ``size`` places every stratum gets; never more than it has."""
    least = np.ones(len(counts), np.int64) if len(counts) <= size else np.zeros_like(counts)
    rest = counts - least
    exact = rest * ((size - least.sum()) / max(int(rest.sum()), 1))
    quota = least + np.floor(exact).astype(np.int64)
    missing = size - int(quota.sum())
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    open_places = order[quota[order] < counts[order]][:missing]
    quota[open_places] += 1
    return np.asarray(quota, np.int64)


def contrast(alpha: FloatArray, inside: BoolArray) -> pd.DataFrame:
    """Which candidates set a group of images apart from the rest of its class, strongest first.

    AUROC: the probability that an image of the group has the higher alpha than one of the rest,
    ties counting half (Mann & Whitney 1947); 0.5 is no difference. The group was chosen by eye and
    every candidate looked at, so a small group will show large values by chance alone.

    Parameters
    ----------
    alpha : (n, m) every candidate on every image of the class that could have been chosen.
    inside : (n,) whether the image is in the group.

    Returns
    -------
    One row per candidate: ``row`` (column of alpha), ``auroc`` in [0, 1], ``direction`` ("shows
    more" or "shows less", of the group), ``inside_mean`` and ``outside_mean`` (logit units). Ties
    stay in the order of the columns. Empty where either side has fewer than three images.
    """
    columns = ["row", "auroc", "direction", "inside_mean", "outside_mean"]
    inside = np.asarray(inside, dtype=bool)
    n_in, n_out = int(inside.sum()), int((~inside).sum())
    if min(n_in, n_out) < SIDE or not alpha.shape[1]:
        return pd.DataFrame(columns=columns)
    found = aurocs(alpha, inside[:, None])[:, 0]
    table = pd.DataFrame(
        {
            "row": np.arange(alpha.shape[1]),
            "auroc": found,
            "direction": np.where(found >= 0.5, "shows more", "shows less"),
            "inside_mean": np.asarray(alpha[inside], np.float64).mean(axis=0),
            "outside_mean": np.asarray(alpha[~inside], np.float64).mean(axis=0),
        }
    )
    order = np.argsort(-np.round(np.abs(found - 0.5), 12), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def chance_reach(n_in: int, n_out: int, tests: int) -> float:
    """How far from 0.5 the largest AUROC of ``tests`` candidates gets for a group drawn by lot.

    Normal approximation of the rank sum, corrected for the number of candidates (Bonferroni). A
    yardstick, no test: a group that was lassoed because it looked apart is not drawn by lot.
    """
    spread = np.sqrt((n_in + n_out + 1) / (12 * n_in * n_out))
    return float(min(critical(tests) * spread, 0.5))
