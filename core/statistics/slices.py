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

    judged = np.random.default_rng(seed).permutation(len(wrong)) % 2 == 1
    if min(judged.sum(), (~judged).sum()) < LEAST or wrong[~judged].sum() < WRONG:
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
