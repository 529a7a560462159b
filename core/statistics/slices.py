"""A group of a class whose images are wrong more often than the rest: found here, judged there.

A mixture over features and errors finds the group on one half of the images (after Eyuboglu et al.,
Domino, ICLR 2022, section 3; there with class probabilities as well, and judged on the images it
was found on); its error rate is that of the other half, placed by features alone. Where nothing is
behind the errors, the other half says so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.config import CONFIDENCE
from core.types import BoolArray, FloatArray

GROUPS, AXES = 4, 16
"""Components of the mixture, and principal axes that it lies in."""

WEIGHT = 3.0
"""What an error counts beside an axis of unit variance; chosen by this project."""

LEAST = 20
"""Images in either half, and"""
WRONG = 4
"""errors in the half that groups are found in; fewer: nothing is looked for."""


FEWEST = 8
"""Images on either side of a statement, in the half that groups are found in."""


class Slice(NamedTuple):
    """The group of a class that errs most."""

    inside: BoolArray
    """(n,) of all images, both halves."""
    judged: BoolArray
    """(n,) the half that the figures are of."""
    rate: float
    rest: float
    """Error rates of the group and of the rest of the class, in [0, 1], on that half."""
    low: float
    high: float
    """Of their difference (Newcombe), corrected for ``tests``."""


def worst_slice(
    features: FloatArray, wrong: BoolArray, *, tests: int = 1, seed: int = 0
) -> Slice | None:
    """The group that errs most; None where images or errors are too few.

    Parameters
    ----------
    features : (n, D) of the images of a class that figures may be measured on; wrong : (n,).
    tests : classes that are looked at.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    judged = _halves(wrong, seed)
    if judged is None:
        return None
    axes = min(AXES, int((~judged).sum()) - 1, features.shape[1])
    fit = PCA(axes, whiten=True, random_state=seed).fit(features[~judged])
    places = fit.transform(features)
    errors = WEIGHT * wrong[~judged, None].astype(np.float64)
    mixture = GaussianMixture(GROUPS, covariance_type="diag", reg_covar=0.1, random_state=seed)
    mixture.fit(np.concatenate([places[~judged], errors], axis=1))
    group = _nearest(mixture.means_[:, :axes], mixture.covariances_[:, :axes], places)
    rates = [_rate(wrong, (group == g) & ~judged) for g in range(GROUPS)]
    inside = group == int(np.nanargmax(rates))
    return _judged(inside, judged, wrong, tests)


def worst_combination(
    holds: BoolArray, wrong: BoolArray, *, tests: int = 1, seed: int = 0, pairs: bool = True
) -> tuple[Slice, tuple[int, ...]] | None:
    """What one statement, or two at once, hold of and that errs most beyond chance.

    Parameters
    ----------
    holds : (n, m), which of m statements hold of an image; wrong : (n,).
    tests : classes that are looked at.
    pairs : whether two statements at once are a group, too.

    Returns
    -------
    The group and the columns of its statements; None where any of it is too little.
    """
    judged = _halves(wrong, seed)
    if judged is None or not holds.shape[1]:
        return None
    beyond = _beyond_chance(holds[~judged].astype(np.float64), wrong[~judged])
    if np.isneginf(beyond if pairs else np.diagonal(beyond)).all():
        return None
    alone = np.diagonal(beyond).max()
    first, second = divmod(int(np.triu(beyond).argmax()), len(beyond))
    if not pairs or beyond[first, second] <= alone:  # one statement says as much as two
        first = second = int(np.diagonal(beyond).argmax())
    found = _judged(holds[:, first] & holds[:, second], judged, wrong, tests)
    return None if found is None else (found, tuple(sorted({first, second})))


def _beyond_chance(holds: FloatArray, wrong: BoolArray) -> FloatArray:
    """(m, m) by how many standard errors each pair errs more than the rest; alone on the diagonal.

    Of the difference of two proportions, pooled; -inf where a side has too few images.
    """
    n, errors = holds.T @ holds, (holds * wrong[:, None]).T @ holds
    others, share = len(wrong) - n, wrong.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = errors / n - (wrong.sum() - errors) / others
        found = apart / np.sqrt(share * (1 - share) * (1 / n + 1 / others))
    known = (n >= FEWEST) & (others >= FEWEST) & np.isfinite(found)
    return np.where(known, found, -np.inf)


def _halves(wrong: BoolArray, seed: int) -> BoolArray | None:
    """(n,) the half that judges; None where images or errors are too few."""
    judged = np.random.default_rng(seed).permutation(len(wrong)) % 2 == 1
    enough = min(judged.sum(), (~judged).sum()) >= LEAST and wrong[~judged].sum() >= WRONG
    return judged if enough else None


def _nearest(means: FloatArray, variances: FloatArray, places: FloatArray) -> np.ndarray:
    """(n,) the component whose density at a place is highest."""
    away = ((places[:, None] - means) ** 2 / variances + np.log(variances)).sum(axis=2)
    return np.asarray(away.argmin(axis=1))


def _rate(wrong: BoolArray, rows: BoolArray) -> float:
    return float(wrong[rows].mean()) if rows.any() else float("nan")


def _judged(inside: BoolArray, judged: BoolArray, wrong: BoolArray, tests: int) -> Slice | None:
    """The figures of the other half; None where one side has no image there."""
    from statsmodels.stats.proportion import confint_proportions_2indep

    mine, others = inside & judged, ~inside & judged
    if not mine.any() or not others.any():
        return None
    low, high = confint_proportions_2indep(
        *(wrong[mine].sum(), mine.sum(), wrong[others].sum(), others.sum()),
        method="newcomb",
        alpha=(1 - CONFIDENCE) / tests,
    )
    return Slice(inside, judged, _rate(wrong, mine), _rate(wrong, others), float(low), float(high))
