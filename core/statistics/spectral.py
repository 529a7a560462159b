"""Spectral clustering of rows: neighbours, Laplacian, eigengap, groups, and how far apart they are.

The graph, its normalised Laplacian and the eigengap are those of spectral relevance analysis
(Lapuschkin et al. 2019, after Ng, Jordan & Weiss 2001 and von Luxburg 2007). Plain arrays in, plain
arrays out; scipy and scikit-learn are imported where they run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NEIGHBOURS = 10
"""Of every row in the graph, where there are as many."""

EMBEDDED = 32
"""Leading eigenvectors that are kept."""

MOST = 8
"""Groups at most, unless the graph falls into more pieces by itself."""

DENSE = 400
"""Rows up to which all eigenvectors are computed: the sparse solver may miss repeated ones."""

FIRST_GAP = 0.5
"""Share of the largest eigengap that an earlier one has to reach to be preferred."""

BLOCK = 1024
"""Rows whose distances to all are in memory at a time."""

FEWEST = 8
"""Rows below which nothing is cut in two."""

ZERO = 1e-8
"""Eigenvalues up to this one count as zero."""

STARTS = 5
"""Of k-means, the best of which is taken."""


@dataclass(frozen=True)
class Grouped:
    """Rows in groups, and what they were grouped by."""

    labels: IntArray
    """(n,) group of each row, 0 the largest."""
    eigenvalues: FloatArray
    """(q,) of the normalised Laplacian, ascending, in [0, 2]; as many zeros as pieces."""
    vectors: FloatArray
    """(n, q) eigenvectors, rows not yet of unit length."""

    @property
    def number(self) -> int:
        """Groups."""
        return int(self.labels.max(initial=-1)) + 1


def neighbour_graph(rows: FloatArray, k: int = NEIGHBOURS) -> csr_array:
    """Symmetric affinity (n, n) of the k nearest neighbours: 1 where mutual, else 1/2.

    A row is never its own neighbour, however many others equal it; of fewer than k + 1 rows all
    others are neighbours, so that no row is isolated where there are two.
    """
    from scipy.sparse import csr_array

    n, k = len(rows), min(k, len(rows) - 1)
    if k < 1:
        return csr_array((n, n))
    near = nearest(rows, k).ravel()
    one_way = csr_array((np.ones(n * k), (np.repeat(np.arange(n), k), near)), shape=(n, n))
    return csr_array((one_way + one_way.T) / 2)


def nearest(rows: FloatArray, k: int) -> IntArray:
    """The k nearest other rows (n, k) of each, in no order; k < n."""
    rows = np.asarray(rows, np.float64)
    squares, found = np.square(rows).sum(axis=1), np.empty((len(rows), k), np.int64)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        far = squares - 2 * rows[part] @ rows.T  # and the row's own square, the same for all
        far[np.arange(len(far)), np.arange(start, start + len(far))] = np.inf
        found[part] = np.argpartition(far, k - 1, axis=1)[:, :k]
    return found


def laplacian_vectors(
    graph: csr_array, count: int = EMBEDDED, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """The smallest eigenvalues (q,) of I - D^-1/2 A D^-1/2 and their vectors (n, q); q < n.

    Those of largest value of the normalised affinity: by magnitude, ones near -1 would come along.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    n = graph.shape[0]
    q = max(min(count, n - 1), 1)
    roots = 1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-300))
    scaled = diags_array(roots) @ graph @ diags_array(roots)
    if n <= DENSE:
        values, vectors = _largest(scaled.toarray(), q)
    else:
        start = np.random.default_rng(seed).random(n)
        values, vectors = eigsh(scaled, k=q, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")
    return np.clip(1 - values[order], 0, 2), vectors[:, order]


def _largest(matrix: FloatArray, q: int) -> tuple[FloatArray, FloatArray]:
    """The q largest eigenvalues of a symmetric (n, n), ascending, and their vectors (n, q).

    Where nearly all are equal, as of a graph of neighbours of everything, LAPACK may give up on a
    part of them; then all are computed.
    """
    from scipy.linalg import LinAlgError, eigh

    n = len(matrix)
    try:
        values, vectors = eigh(matrix, subset_by_index=[n - q, n - 1])
    except LinAlgError:
        values, vectors = eigh(matrix, driver="evd")
    return values[-q:], vectors[:, -q:]


def eigengap(eigenvalues: FloatArray, most: int = MOST) -> int:
    """How many groups there are: the number of pieces that the graph falls into by itself.

    That is the number of zero eigenvalues (von Luxburg 2007, proposition 4); of a graph in one
    piece the place of the first relatively large gap between eigenvalues.
    """
    pieces = int((eigenvalues <= ZERO).sum())
    gaps = np.diff(eigenvalues)[:most]
    if pieces > 1 or not len(gaps):
        return max(pieces, 1)
    return int(np.flatnonzero(gaps >= FIRST_GAP * gaps.max())[0]) + 1


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Rows (n, k) of length one; those of length zero stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: FloatArray = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return found


def grouped(
    rows: FloatArray, groups: int | None = None, *, k: int = NEIGHBOURS, seed: int = 0
) -> Grouped:
    """Group rows (n, q); the same rows and seed give the same groups.

    Parameters
    ----------
    groups : how many; by default :func:`eigengap` says. Never more than there are rows.
    """
    from sklearn.cluster import KMeans

    n = len(rows)
    if n < 2 or (rows == rows[0]).all():
        return Grouped(np.zeros(n, np.int64), np.zeros(min(n, 1)), np.ones((n, min(n, 1))))
    values, vectors = laplacian_vectors(neighbour_graph(rows, k), seed=seed)
    number = min(groups or eigengap(values), n)
    if number < 2:
        return Grouped(np.zeros(n, np.int64), values, vectors)
    seen = unit_rows(vectors[:, :number])
    fit = KMeans(number, n_init=STARTS, random_state=seed)
    return Grouped(by_size(fit.fit_predict(seen)), values, vectors)


def by_size(labels: IntArray) -> IntArray:
    """The same groups numbered by falling size, of equal ones by their first row."""
    names, first, place, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    number = np.empty(len(names), np.int64)
    number[order] = np.arange(len(names))
    found: IntArray = number[place]
    return found


def fisher_score(rows: FloatArray, labels: IntArray) -> float:
    """Spread between groups over that within them, tr S_b / tr S_w; NaN of a single group.

    The trace form of Fisher's criterion by which Anders et al. 2022 order classes: large where the
    groups are tight and far from each other. Rotations change nothing.

    Parameters
    ----------
    rows : (n, q); labels : (n,).
    """
    names = np.unique(labels)
    if len(names) < 2:
        return float("nan")
    within = sum(
        float(np.square(rows[labels == name] - rows[labels == name].mean(axis=0)).sum())
        for name in names
    )
    total = float(np.square(rows - rows.mean(axis=0)).sum())
    return (total - within) / within if within > 1e-12 * total else float("inf")


@dataclass(frozen=True)
class Apart:
    """How far two groups stand apart, beside clouds that have none."""

    score: float
    """:func:`fisher_score` of two groups; NaN where there are not two."""
    control: float
    """Its mean over clouds without groups, of as many rows and the same spread along every axis."""
    p: float
    """That one more such cloud reaches the score, its log scores taken as normal; NaN without."""
    share: float
    """Of the smaller group, in (0, 0.5]."""

    @property
    def times(self) -> float:
        """Score over control."""
        return self.score / self.control if self.control > 0 else float("nan")


NOTHING = Apart(*[float("nan")] * 4)

CLOUDS = 49
"""Without groups, that a score is compared with."""

SAMPLE = 300
"""Rows that scores are compared on, at most, so that large classes are not apart by their size."""

AXES = 20
"""Principal axes along which a cloud varies; the rest is noise to two groups."""


def apart(rows: FloatArray, *, seed: int = 0, clouds: int = CLOUDS) -> Apart:
    """Cut rows in two and ask whether a cloud without groups is cut as deeply.

    Any rows can be cut in two, and shuffled labels would make every cut look deep. So the whole
    way, cut included, is gone with clouds that are uniform along the rows' principal axes and vary
    as much along each: of all distributions with one peak, uniform ones are cut deepest (the
    reference of the gap statistic; Tibshirani, Walther & Hastie 2001, theorem 1).

    Parameters
    ----------
    rows : (n, q).
    """
    rng = np.random.default_rng(seed)
    if len(rows) > SAMPLE:
        rows = rows[np.sort(rng.choice(len(rows), SAMPLE, replace=False))]
    seen = principal(rows)
    if len(seen) < FEWEST or not seen.any():
        return NOTHING
    cut = cut_in_two(seen)
    score, half = fisher_score(seen, cut), np.sqrt(3 * seen.var(axis=0))
    drawn = (rng.uniform(-half, half, seen.shape) for _ in range(clouds))
    null = np.array([fisher_score(cloud, cut_in_two(cloud)) for cloud in drawn])
    smaller = float(min(cut.mean(), 1 - cut.mean()))
    return Apart(score, float(np.mean(null)), _predicted(score, null), smaller)


def _predicted(score: float, null: FloatArray) -> float:
    """Chance that one more draw reaches a score: the prediction interval of normal logarithms."""
    from scipy.stats import t

    logs = np.log(null)
    spread = float(logs.std(ddof=1)) * np.sqrt(1 + 1 / len(null))
    with np.errstate(divide="ignore"):
        return float(t.sf((np.log(score) - logs.mean()) / max(spread, 1e-12), len(null) - 1))


def cut_in_two(rows: FloatArray) -> IntArray:
    """Two spectral groups (n,), 0 or 1: :func:`grouped` with the best of all cuts for k-means.

    Unit rows of two eigenvectors lie on a circle; along their longest axis the best two means are
    those of one of n - 1 cuts.
    """
    _, vectors = laplacian_vectors(neighbour_graph(rows), 2)
    line = principal(unit_rows(vectors), 1)[:, 0]
    order = np.argsort(line, kind="stable")
    left, n = np.cumsum(line[order])[:-1], np.arange(1, len(line))
    between = left**2 / n + left**2 / (len(line) - n)  # the line is centred
    found = np.zeros(len(line), np.int64)
    found[order[: int(between.argmax()) + 1]] = 1
    return found


def principal(rows: FloatArray, axes: int = AXES) -> FloatArray:
    """Coordinates (n, a) along the leading principal axes, a <= axes."""
    centred = np.asarray(rows, np.float64) - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    found: FloatArray = (left * values)[:, :axes]
    return found


def nearest_group(
    rows: FloatArray, labels: IntArray, others: FloatArray, *, k: int = NEIGHBOURS
) -> IntArray:
    """Group (m,) of further rows: that of most of their k nearest grouped ones."""
    from sklearn.neighbors import KNeighborsClassifier

    if not len(others) or not len(rows):
        return np.full(len(others), -1, np.int64)
    fit = KNeighborsClassifier(min(k, len(rows)), algorithm="brute").fit(rows, labels)
    found: IntArray = np.asarray(fit.predict(others), np.int64)
    return found


def nearest_mean(
    rows: FloatArray, values: FloatArray, others: FloatArray, *, k: int = NEIGHBOURS
) -> FloatArray:
    """Mean of the values (n, c) of the k nearest rows, (m, c), for further rows."""
    from sklearn.neighbors import KNeighborsRegressor

    if not len(others) or not len(rows):
        return np.zeros((len(others), values.shape[1]))
    fit = KNeighborsRegressor(min(k, len(rows)), algorithm="brute").fit(rows, values)
    found: FloatArray = fit.predict(others)
    return found


def block_means(size: int, most: int) -> FloatArray:
    """Matrix (s, size) that averages neighbouring places into at most so many, s <= most."""
    if size <= most:
        return np.eye(size)
    edges = np.linspace(0, size, most + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    places = np.arange(size)
    covered = np.clip(np.minimum(ends, places + 1) - np.maximum(starts, places), 0, 1)
    found: FloatArray = covered / covered.sum(axis=1, keepdims=True)
    return found


def shares_of(rows: FloatArray, least: float = 1e-6) -> tuple[FloatArray, BoolArray]:
    """Rows over the sum of their sizes, (n, q), and which have any mass, (n,).

    A row whose sum is below ``least`` of the median one says nothing about where; its shares are 0.
    """
    mass = np.abs(rows).sum(axis=1, dtype=np.float64)
    middle = float(np.median(mass[mass > 0])) if (mass > 0).any() else 0.0
    there = mass > least * middle
    found = np.divide(rows, mass[:, None], out=np.zeros(rows.shape), where=there[:, None])
    return found, there
