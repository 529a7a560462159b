"""Effective robustness: what a model keeps beyond what its accuracy lets expect; plain arrays.

Taori et al. (NeurIPS 2020): accuracy under a shift is close to a line through the models on logit
axes; the distance from it is what an intervention adds. Here x may be the accuracy where the cues
are and y where they are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.config import CONFIDENCE
from core.statistics.intervals import combined, critical, share
from core.types import FloatArray, IntArray

FEWEST = 3
"""Models that a line needs: through two there always is one."""


def logit(share: FloatArray | float, n: FloatArray | float) -> FloatArray:
    """log(a / (1 - a)); 0 and 1, which have none, stand for half an image: 0.5 / n, 1 - 0.5 / n."""
    edge = 0.5 / np.maximum(np.asarray(n, np.float64), 1)
    held = np.clip(np.asarray(share, np.float64), edge, 1 - edge)
    from scipy.special import logit as log_odds

    found: FloatArray = log_odds(held)
    return found


def logit_error(share: FloatArray | float, n: FloatArray | float) -> FloatArray:
    """Standard error of :func:`logit`, 1 / sqrt(n a (1 - a)), of images that are drawn."""
    edge = 0.5 / np.maximum(np.asarray(n, np.float64), 1)
    held = np.clip(np.asarray(share, np.float64), edge, 1 - edge)
    return np.asarray(1 / np.sqrt(n * held * (1 - held)))


@dataclass(frozen=True)
class Line:
    """y = expit(slope logit(x) + intercept)."""

    slope: float
    intercept: float
    r2: float
    """Of the fit on logit axes, in [0, 1]."""
    n: int
    """Models it was fitted on."""
    error: float
    """Standard deviation of the models about it, logits, with n - 2 degrees of freedom."""
    middle: float
    """Mean of logit(x) over the models."""
    spread: float
    """Sum of squares of logit(x) about the middle."""

    def expected(self, x: FloatArray | float, n: FloatArray | float) -> FloatArray:
        """The accuracy y that the line gives for x; ``n`` images stand behind x."""
        from scipy.special import expit

        found: FloatArray = expit(self.slope * logit(x, n) + self.intercept)
        return found

    def bounds(
        self, x: FloatArray | float, n: FloatArray | float, *, drawn: bool = False
    ) -> tuple[FloatArray, FloatArray]:
        """Where the line passes at every x, at 95 % for each by itself.

        Student's interval of a regression's mean (n - 2 degrees of freedom): it holds for three
        models as for a hundred, where resampling the models falls short below a dozen.

        Parameters
        ----------
        drawn : whether x is itself an accuracy over n drawn images, whose own error is then added.
        """
        from scipy.special import expit
        from scipy.stats import t

        across = logit(x, n)
        error = self.error * np.sqrt(1 / self.n + np.square(across - self.middle) / self.spread)
        half = float(t.isf((1 - CONFIDENCE) / 2, self.n - 2)) * error
        if drawn:
            half = np.hypot(half, critical() * self.slope * logit_error(x, n))
        up = self.slope * across + self.intercept
        return expit(up - half), expit(up + half)


def fit_line(x: FloatArray, y: FloatArray, n_x: IntArray, n_y: IntArray) -> Line | None:
    """Least squares through the models on logit axes; None where there is no line.

    Parameters
    ----------
    x, y : (m,) accuracies of m models in [0, 1]; n_x, n_y : (m,) images behind them.

    There is no line through fewer than three models, nor where all have the same x.
    """
    across, up = logit(x, n_x), logit(y, n_y)
    if len(across) < FEWEST or np.ptp(across) < 1e-12:
        return None
    centred = across - across.mean()
    spread = float(centred @ centred)
    slope = float(centred @ up / spread)
    intercept = float(up.mean() - slope * across.mean())
    left = float(np.square(up - slope * across - intercept).sum())
    total = float(np.square(up - up.mean()).sum())
    r2, error = 1 - left / total if total > 0 else 1.0, np.sqrt(left / (len(across) - 2))
    return Line(slope, intercept, r2, len(across), float(error), float(across.mean()), spread)


def effective_robustness(
    line: Line, x: FloatArray | float, y: FloatArray | float, n_x: FloatArray | float
) -> FloatArray:
    """Rho = 100 (y - line(x)), percentage points; positive: better than the line lets expect."""
    found: FloatArray = 100 * (np.asarray(y, np.float64) - line.expected(x, n_x))
    return found


def robustness_interval(
    line: Line, x: float, y: float, n_x: int, n_y: int
) -> tuple[float, float, float]:
    """Rho of one model with its interval, percentage points.

    Square-and-add (Zou & Donner 2008) of Wilson's interval of y and of where the line passes at x,
    x being drawn as well. A model that the line was fitted on counts as if it had not been: its own
    deviation pulls the line along, which makes the interval rather too wide for it.
    """
    low, high = line.bounds(x, n_x, drawn=True)
    given = float(line.expected(x, n_x)), float(low), float(high)
    there = y, *share(round(y * n_y), n_y)
    rho, below, above = combined(there, given, signs=(1, -1))
    return 100 * rho, 100 * below, 100 * above
