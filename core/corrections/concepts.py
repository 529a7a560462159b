"""Concept activation vectors: the direction in feature space that a cue adds.

Pahde, Dreyer et al. (RR-ClArC, section on CAVs, and "Navigating Neural Space" for pattern CAVs).
A classifier's weight vector separates the cue from the rest; the pattern is what the cue adds.
Only the second may be taken away without taking other things with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.corrections.evidence import HIDDEN, SHOWN, Evidence
from core.errors import InputError
from core.statistics.intervals import auroc
from core.types import BoolArray, FloatArray

KINDS = ("shift", "signal", "fisher", "svm", "ridge", "lasso", "logistic")
"""``shift`` needs pairs, the rest images that show and hide the cue."""

GRID = tuple(10.0**power for power in range(-5, 5))
"""Penalties tried by 5-fold cross-validation, as published."""


@dataclass(frozen=True)
class Concept:
    """A cue as a direction in feature space."""

    vector: FloatArray
    """(D,) unit vector v; v . phi is larger where the cue is shown."""
    hidden: float
    """z_clean: mean of v . phi over the images that hide the cue."""
    shown: float
    """z_art: the same over those that show it."""
    length: float
    """How far the cue moves the features: norm of the mean difference behind ``shift`` and
    ``signal``; shown - hidden for the others."""
    separability: float
    """AUROC of v . phi, shown against hidden, in [0, 1]; higher is better."""


def fit_concept(
    features: FloatArray, shown: BoolArray, kind: str = "signal", *, center: bool = True
) -> Concept:
    """A concept vector from images that show and images that hide a cue.

    ``signal`` regresses features on the label: cov(a, t) / var(t), which is the difference of
    means. ``fisher`` is that difference whitened by the shrunk within-group covariance
    (Ledoit & Wolf 2004). The others are scikit-learn's fits with balanced weights, penalty by
    5-fold cross-validation, without intercept. Published fits run on uncentred features, so that
    they depend on the origin; ``center=False`` does that.

    Parameters
    ----------
    features : (n, D); shown : (n,) whether the image shows the cue.

    Raises
    ------
    InputError
        If the kind is unknown, one side is empty, or the fit is zero.
    """
    shown = np.asarray(shown, bool)
    if kind not in KINDS or kind == "shift":
        raise InputError(f"concept vector {kind!r}: choose {', '.join(KINDS[1:])}")
    if shown.all() or not shown.any():
        raise InputError("a concept needs images that show the cue and images that hide it")
    a = np.asarray(features, np.float64)
    if kind == "signal":
        vector = a[shown].mean(axis=0) - a[~shown].mean(axis=0)
    elif kind == "fisher":
        vector = _fisher(a, shown)
    else:
        vector = _fitted(a - a.mean(axis=0) if center else a, shown, kind)
    length = float(np.linalg.norm(vector)) if kind == "signal" else 0.0
    return concept_along(vector, a, shown, length=length)


def concept_along(
    vector: FloatArray, features: FloatArray, shown: BoolArray, *, length: float = 0.0
) -> Concept:
    """A given direction as a concept: its levels and separability on some images.

    Parameters
    ----------
    length : how far the cue moves features along it; 0: the difference of the levels.

    Raises
    ------
    InputError
        If the direction is zero, as after a fit with too strong a penalty.
    """
    norm = float(np.linalg.norm(vector))
    if not norm > 0:
        raise InputError("the concept vector is zero: the cue moves no feature")
    unit = np.asarray(vector, np.float64) / norm
    values = np.asarray(features, np.float64) @ unit
    high, low = float(values[shown].mean()), float(values[~shown].mean())
    return Concept(unit, low, high, float(length) or high - low, auroc(values, shown))


def concept_of(evidence: Evidence, cue: int, kind: str = "auto") -> Concept:
    """The concept of one of the cues, from images of its class.

    ``shift`` is the mean difference of the same images with and without the cue. ``auto`` is
    ``shift`` where there are pairs of the cue and ``signal`` elsewhere.

    Raises
    ------
    InputError
        If images or pairs are missing; see :func:`fit_concept`.
    """
    pairs = evidence.pairs.of(cue) if evidence.pairs else None
    paired = pairs is not None and len(pairs.rows) > 0
    rows = np.concatenate([evidence.rows(cue, state) for state in (SHOWN, HIDDEN)])
    shown = evidence.present[rows, cue] == SHOWN
    features = evidence.features[rows]
    if kind == "shift" and not paired:
        raise InputError("a shift needs images with and without the cue; choose signal")
    if paired and kind in ("auto", "shift"):
        assert pairs is not None
        if shown.all() or not shown.any():
            features = np.concatenate([pairs.shown, pairs.hidden])
            shown = np.arange(len(features)) < len(pairs.rows)
        shift = np.mean(pairs.shown.astype(np.float64) - pairs.hidden, axis=0)
        return concept_along(shift, features, shown, length=float(np.linalg.norm(shift)))
    return fit_concept(features, shown, "signal" if kind == "auto" else kind)


def alignment(differences: FloatArray, vector: FloatArray) -> tuple[float, float]:
    """Mean cosine of a concept vector with true differences (P, D), and its standard error.

    Differences are features of the same image with minus without the cue; 1 is best. The released
    code appends every batch twice, which makes the error too small by the root of 2.
    """
    norms = np.linalg.norm(differences, axis=1) * np.linalg.norm(vector)
    cosines = (differences @ vector)[norms > 0] / norms[norms > 0]
    if len(cosines) < 2:
        return float("nan"), float("nan")
    return float(cosines.mean()), float(cosines.std(ddof=1) / np.sqrt(len(cosines)))


def _fisher(a: FloatArray, shown: BoolArray) -> FloatArray:
    """(shrunk within-group covariance)^-1 (difference of means), by the smaller of n and D."""
    from scipy.linalg import solve
    from sklearn.covariance import ledoit_wolf_shrinkage

    means = np.where(shown[:, None], a[shown].mean(axis=0), a[~shown].mean(axis=0))
    centred, difference = a - means, a[shown].mean(axis=0) - a[~shown].mean(axis=0)
    n, d = centred.shape
    share = min(max(float(ledoit_wolf_shrinkage(centred, assume_centered=True)), 1e-6), 1.0)
    ridge = share * float(np.einsum("ij,ij->", centred, centred)) / n / d
    if not ridge > 0:
        return np.asarray(difference)
    if n >= d:
        within = (1 - share) * centred.T @ centred / n + ridge * np.eye(d)
        found: FloatArray = solve(within, difference, assume_a="pos")
        return found
    inner = centred @ centred.T * ((1 - share) / n) + ridge * np.eye(n)
    part = solve(inner, centred @ difference, assume_a="pos")
    return np.asarray((difference - centred.T @ part * ((1 - share) / n)) / ridge)


def _fitted(a: FloatArray, shown: BoolArray, kind: str) -> FloatArray:
    """Weight vector (D,) of a linear fit, by cross-validated penalty."""
    from sklearn.linear_model import Lasso, LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import LinearSVC

    fits: dict[str, tuple[Callable[..., Any], str]] = {
        "svm": (LinearSVC, "C"),
        "logistic": (LogisticRegression, "C"),
        "ridge": (Ridge, "alpha"),
        "lasso": (Lasso, "alpha"),
    }
    make, penalty = fits[kind]
    few = int(min(shown.sum(), (~shown).sum()))
    weights = np.where(shown, 1 / shown.sum(), 1 / (~shown).sum())
    if few < 2:
        raise InputError(f"{kind} needs two images on either side, there is {few}")
    search = GridSearchCV(make(fit_intercept=False), {penalty: GRID}, cv=_folds(shown, few))
    target = np.where(shown, 1, -1)
    _quietly(lambda: search.fit(a, target, sample_weight=weights / weights.max()))
    found: FloatArray = np.ravel(search.best_estimator_.coef_)
    return found


def _folds(shown: BoolArray, few: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified, so that a regression too sees both sides in every fold."""
    from sklearn.model_selection import StratifiedKFold

    folder = StratifiedKFold(min(5, few), shuffle=True, random_state=0)
    return list(folder.split(shown, shown))


def _quietly(call: Callable[[], Any]) -> None:
    """Run a search whose weakest penalties do not converge; they are not the ones chosen."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        call()
