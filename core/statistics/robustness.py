"""Effective robustness: what a model keeps beyond what its accuracy lets expect; plain arrays.

Taori et al. (NeurIPS 2020): accuracy under a shift is close to a line through the models on logit
axes; the distance from it is what an intervention adds. Here x may be the accuracy where the cues
are and y where they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.config import CONFIDENCE
from core.statistics.bootstrap import RESAMPLES_OF_ONE, percentiles
from core.types import FloatArray, IntArray

FEWEST = 3
"""Models that a line needs: through two there always is one."""

BAND_FROM = 5
"""Models that a band needs: fewer resamples leave too little to fit."""


def clopper_pearson(successes: IntArray | int, n: IntArray | int) -> tuple[FloatArray, FloatArray]:
    """Exact interval of a proportion (Clopper & Pearson 1934); 0 and 1 have bounds of their own.

    At the level of every interval here, 95 %; the published plots use 99.5 %.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=1 - CONFIDENCE, method="beta")
    return low, high


def logit(share: FloatArray | float, n: FloatArray | float) -> FloatArray:
    """log(a / (1 - a)); 0 and 1, which have none, stand for half an image: 0.5 / n, 1 - 0.5 / n."""
    edge = 0.5 / np.maximum(np.asarray(n, np.float64), 1)
    held = np.clip(np.asarray(share, np.float64), edge, 1 - edge)
    from scipy.special import logit as log_odds

    found: FloatArray = log_odds(held)
    return found


@dataclass(frozen=True)
class Line:
    """y = expit(slope logit(x) + intercept)."""

    slope: float
    intercept: float
    r2: float
    """Of the fit on logit axes, in [0, 1]."""
    n: int
    """Models it was fitted on."""
    band: FloatArray | None = None
    """(B, 2) slope and intercept of the resampled models; None with fewer than five."""

    def expected(self, x: FloatArray | float, n: FloatArray | float) -> FloatArray:
        """The accuracy y that the line gives for x; ``n`` images stand behind x."""
        from scipy.special import expit

        found: FloatArray = expit(self.slope * logit(x, n) + self.intercept)
        return found

    def bounds(self, x: FloatArray, n: float) -> tuple[FloatArray, FloatArray]:
        """95 % band of the line at every x; NaN where there is none."""
        if self.band is None:
            nothing = np.full(len(np.atleast_1d(x)), np.nan)
            return nothing, nothing
        from scipy.special import expit

        lines = expit(self.band[:, :1] * logit(x, n)[None] + self.band[:, 1:])
        return percentiles(lines)


def fit_line(
    x: FloatArray, y: FloatArray, n_x: IntArray, n_y: IntArray, *, seed: int = 0
) -> Line | None:
    """Least squares through the models on logit axes; None where there is no line.

    Parameters
    ----------
    x, y : (m,) accuracies of m models in [0, 1]; n_x, n_y : (m,) images behind them.
    seed : of the band's resamples.

    There is no line through fewer than three models, nor where all have the same x.
    """
    across, up = logit(x, n_x), logit(y, n_y)
    if len(across) < FEWEST or np.ptp(across) < 1e-12:
        return None
    slope, intercept = _least_squares(across, up)
    left = float(np.square(up - slope * across - intercept).sum())
    total = float(np.square(up - up.mean()).sum())
    r2 = 1 - left / total if total > 0 else 1.0
    band = _band(across, up, seed) if len(across) >= BAND_FROM else None
    return Line(slope, intercept, r2, len(across), band)


def _least_squares(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _band(x: FloatArray, y: FloatArray, seed: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    found: list[tuple[float, float]] = []
    while len(found) < RESAMPLES_OF_ONE:
        drawn = rng.integers(0, len(x), len(x))
        if np.ptp(x[drawn]) > 1e-12:
            found.append(_least_squares(x[drawn], y[drawn]))
    return np.array(found)


def effective_robustness(
    line: Line, x: FloatArray | float, y: FloatArray | float, n_x: FloatArray | float
) -> FloatArray:
    """Rho = 100 (y - line(x)), percentage points; positive: better than the line lets expect."""
    found: FloatArray = 100 * (np.asarray(y, np.float64) - line.expected(x, n_x))
    return found
