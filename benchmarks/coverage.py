"""How often intervals hold the truth: simulated draws, with the method that was shown before.

``python -m benchmarks coverage`` draws 1,000 times, which tells coverages apart to +-.014;
``python -m benchmarks.coverage 200`` is the quick form. An interval of 95 % has to hold the truth
in 93 % of the draws. Where it does so in more than 97 % it is exact, corrected or a bound, and its
line says which.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.measure import Line
from core.types import FloatArray

Ends = tuple[float, float]
Drawn = tuple[float, Ends, Ends]
Draw = Callable[[np.random.Generator], Drawn]
"""The truth, the interval by the method of before, and by that of now."""

DRAWS = 1000
LEAST, MOST = 0.93, 0.97
RESAMPLES = 300
"""Of methods that resampled, fewer than they had."""
NONE = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Case:
    """An interval in a world whose truth is known."""

    what: str
    draw: Draw
    wider: str = ""
    """Why it may hold in more than 97 %."""

    def held(self, draws: int, seed: int = 0) -> tuple[float, float]:
        """Share of the draws in which the interval held, before and now; NaN where none was."""
        rng = np.random.default_rng([seed, *self.what.encode()])
        found = []
        for _ in range(draws):
            truth, *bounds = self.draw(rng)
            found.append([_holds(truth, *ends) for ends in bounds])
        before, now = np.mean(found, axis=0)
        return float(before), float(now)

    def line(self, draws: int) -> Line:
        """As a line of the report."""
        before, now = self.held(draws)
        said = f"{self.what}; before {before:.3f}" if before == before else self.what
        chance = 2 * np.sqrt(0.05 * 0.95 / draws)
        upper = "<= 0.97" if not self.wider else self.wider
        good = now >= LEAST and (bool(self.wider) or now <= MOST + chance)
        return Line(said, now, f">= 0.93, {upper}", holds=good if draws >= DRAWS else None)


def _holds(truth: float, low: float, high: float) -> float:
    return float("nan") if low != low else float(low - 1e-9 <= truth <= high + 1e-9)


def run() -> list[Line]:
    """Every case."""
    return [case.line(DRAWS) for case in cases()]


def cases() -> Iterator[Case]:
    """Every interval that a page shows, in the worlds that are hardest for it."""
    from benchmarks.model_differences import differences

    yield from _flips()
    yield from _tables()
    yield from _precision()
    yield from _calibration()
    yield from differences()
    yield from _gaps()
    yield from _groups()
    yield from _robustness()


# Flip rates: targets that are given one of a few sources


def _flips() -> Iterator[Case]:
    few = "few sources: rather too wide"
    for sources, images, share, effect, wider in (
        *((20, 500, share, 1, "sources may differ: rather too wide") for share in (0.1, 0.5)),
        *((20, 500, share, effect, "") for share in (0.1, 0.5) for effect in (4, 12)),
        (20, 500, 0.02, 6, "hardly a hit"),
        (8, 200, 0.3, 1, few),
        (8, 200, 0.3, 12, few),
    ):
        yield Case(
            f"flip rate {share}, {images} targets, {sources} sources, design effect {effect}",
            _flip(sources, images, share, effect),
            wider,
        )
    for effect in (1, 12):
        yield Case(f"flip rate .6 to .2, design effect {effect}", _flip_change(effect))
        yield Case(f"flip rates .5 and .3 of two models, design effect {effect}", _two(effect))


def _own(level: FloatArray, images: int, share: float, effect: float) -> FloatArray:
    """The share of every source, beta distributed by its level in (0, 1), for a design effect."""
    from scipy.stats import beta

    alike = (effect - 1) / (images / len(level) - 1)
    if alike <= 0:
        return np.full(len(level), share)
    room = (1 - alike) / alike
    found: FloatArray = beta.ppf(level, share * room, (1 - share) * room)
    return found


def _flip(sources: int, images: int, share: float, effect: float) -> Draw:
    from core.statistics import intervals
    from core.statistics.clustered import clustered_share

    def draw(rng: np.random.Generator) -> Drawn:
        given = rng.integers(0, sources, images)
        own = _own(rng.random(sources), images, share, effect)
        hits = (rng.random(images) < own[given]) * 1.0
        before = intervals.share(float(hits.sum()), images)
        return share, before, clustered_share(hits, given)[1:]

    return draw


def _flip_change(effect: float) -> Draw:
    from core.statistics.clustered import clustered_change
    from core.statistics.intervals import paired_change

    def draw(rng: np.random.Generator) -> Drawn:
        given, level, sources = rng.integers(0, 20, 500), rng.random(500), rng.random(20)
        own = [_own(sources, 500, share, effect)[given] for share in (0.6, 0.2)]
        old, new = ((level < shares) * 1.0 for shares in own)
        before = paired_change(old > 0, new > 0)[1:]
        return -0.4, before, clustered_change(old, new, given)[1:]

    return draw


def _two(effect: float) -> Draw:
    """Two models with sources of their own, on the same images."""
    from core.statistics.estimates import Flips
    from core.statistics.paired import Sampled, bootstrap_interval

    estimate = Flips()

    def draw(rng: np.random.Generator) -> Drawn:
        given, level = rng.integers(0, 20, 500), rng.random(500)
        own = [_own(rng.random(20), 500, share, effect)[given] for share in (0.5, 0.3)]
        hits = [(level < shares) * 1.0 for shares in own]
        value = float(hits[1].mean() - hits[0].mean())
        images = rng.multinomial(500, np.full(500, 1 / 500), RESAMPLES)
        sources = rng.multinomial(20, np.full(20, 1 / 20), 2000)
        before = bootstrap_interval(Sampled(value, images @ (hits[1] - hits[0]) / 500))
        both = [
            estimate.resampled(np.column_stack([each, given]), lambda _: sources * 1.0)
            for each in hits
        ]
        return -0.2, before, bootstrap_interval(Sampled(value, both[1] - both[0]))

    return draw


# Put in: every donor into every target


def _tables() -> Iterator[Case]:
    for donors, spread in ((16, 1.0), (16, 0.3), (4, 1.0)):
        yield Case(
            f"put in, {donors} donors x 200 targets, both differ by {spread} logits",
            _table(donors, spread),
        )


def _table(donors: int, spread: float) -> Draw:
    from scipy.special import expit

    from core.statistics import intervals
    from core.statistics.two_way import two_way

    level = np.random.default_rng(0).normal(0, np.sqrt(2) * spread, 200_000)
    truth = float(expit(level).mean())

    def draw(rng: np.random.Generator) -> Drawn:
        rows, columns = rng.normal(0, spread, donors), rng.normal(0, spread, 200)
        cells = rng.random((donors, 200)) < expit(rows[:, None] + columns)
        before = intervals.share(float(cells.sum()), cells.size)
        return truth, before, two_way(cells).interval()

    return draw


# Average precision


def _precision() -> Iterator[Case]:
    guarded = "guarded against an image that was not drawn"
    for first, second, apart, kind in (
        *((10, 10, apart, "plain") for apart in (0.0, 1.0, 2.0, 4.0)),
        *((20, 20, 1.0, kind) for kind in ("plain", "wide", "mixed")),
        *((10, 50, apart, "plain") for apart in (0.0, 1.0)),
        *((50, 75, 1.0, "plain"), (50, 75, 2.0, "mixed"), (50, 10, 4.0, "mixed")),
    ):
        yield Case(
            f"average precision, {first} + {second} images {apart:g} apart, {kind}",
            _average(first, second, apart, kind),
            guarded,
        )
    yield Case("change of average precision, 20 + 20 images, 1 to 2 apart", _moved(), guarded)


def _scores(
    rng: np.random.Generator, first: int, second: int, apart: float, kind: str
) -> FloatArray:
    """Scores of both groups; some of the second look like the first (mixed), or it varies more."""
    positive, negative = rng.normal(apart, 1, first), rng.normal(0, 1, second)
    if kind == "wide":
        negative *= 2
    if kind == "mixed":
        negative += apart * (rng.random(second) < 0.3)
    return np.concatenate([positive, negative])


@cache
def true_precision(first: int, second: int, apart: float, kind: str) -> float:
    """Average precision of as many images as there might be, in the same ratio."""
    from sklearn.metrics import average_precision_score

    times = 400_000 // (first + second)
    scores = _scores(np.random.default_rng(0), times * first, times * second, apart, kind)
    return float(average_precision_score(np.arange(len(scores)) < times * first, scores))


def _average(first: int, second: int, apart: float, kind: str) -> Draw:
    from core.statistics.bootstrap import bootstrapped
    from core.statistics.separation import precision_parts, weighted_precision

    truth = true_precision(first, second, apart, kind)
    positive = np.arange(first + second) < first

    def draw(rng: np.random.Generator) -> Drawn:
        scores = _scores(rng, first, second, apart, kind)
        before = bootstrapped(
            lambda weights: weighted_precision(scores, positive, weights),
            (first, second),
            count=RESAMPLES,
        )
        return truth, before, precision_parts(scores, positive)[1:3]

    return draw


def _moved() -> Draw:
    from core.statistics.bootstrap import bootstrapped
    from core.statistics.estimates import Precision

    truth = true_precision(20, 20, 2, "plain") - true_precision(20, 20, 1, "plain")
    positive, estimate = np.arange(40) < 20, Precision()

    def draw(rng: np.random.Generator) -> Drawn:
        shared = _scores(rng, 20, 20, 0, "plain")
        old, new = (
            np.column_stack(
                [(shared + rng.normal(0, 1, 40)) / np.sqrt(2) + up * positive, positive]
            )
            for up in (1, 2)
        )
        before = bootstrapped(
            lambda weights: estimate.under(new, weights) - estimate.under(old, weights),
            (20, 20),
            count=RESAMPLES,
        )
        return truth, before, estimate.change(old, new)[1:]

    return draw


# Calibration


def _calibration() -> Iterator[Case]:
    for images in (60, 300, 2000):
        for off in (0.0, 0.03, 0.15):
            wider = "a bound" if off else "exact from one side"
            yield Case(f"calibration error {off:g}, {images} images", _error(images, off), wider)


def _error(images: int, off: float) -> Draw:
    from core.statistics.calibration import BINS, bin_sums, calibration_error, calibration_interval
    from core.statistics.paired import Sampled, bootstrap_interval

    def draw(rng: np.random.Generator) -> Drawn:
        sure = 0.25 + 0.75 * rng.beta(2, 0.8, images)
        right = rng.random(images) < sure - off  # every bin is off by the same
        weights = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)
        sums = bin_sums(sure, right, weights.astype(np.float64))
        assert sums.shape[1] == BINS
        sampled = Sampled(calibration_error(sure, right), np.abs(sums).sum(axis=1) / images)
        low, high = bootstrap_interval(sampled)
        return off, (max(low, 0.0), high), calibration_interval(sure, right)[1:3]

    return draw


# Gaps, and the largest of several


def _gaps() -> Iterator[Case]:
    for k in (10, 25, 100):
        yield Case(
            f"one gap of 20 points, {k} images a side", _gap(k), "" if k > 10 else "few images"
        )
    yield Case("mean gap of 5 classes, 25 images a side", _mean_gap(5))
    for classes in (3, 10):
        for apart in (False, True):
            yield Case(
                f"largest gap of {classes} classes, "
                f"{'that differ' if apart else 'all alike'}, 25 images a side",
                _largest(classes, apart=apart),
                "corrected for choosing",
            )


def _gap(k: int) -> Draw:
    from core.statistics.intervals import critical, newcombe

    def draw(rng: np.random.Generator) -> Drawn:
        high, low = rng.binomial(k, 0.9), rng.binomial(k, 0.7)
        bounds = newcombe(np.array(high), np.array(low), k, z=critical())
        return 0.2, NONE, (float(bounds[0]), float(bounds[1]))

    return draw


def _mean_gap(classes: int) -> Draw:
    from core.statistics.intervals import critical, mean_interval, newcombe

    high, low, k = np.full(classes, 0.9), np.linspace(0.9, 0.5, classes), np.full(classes, 25)

    def draw(rng: np.random.Generator) -> Drawn:
        first, second = rng.binomial(k, high), rng.binomial(k, low)
        ends = newcombe(first, second, k, z=critical())
        return float((high - low).mean()), NONE, mean_interval((first - second) / k, *ends)

    return draw


def _largest(classes: int, *, apart: bool) -> Draw:
    from core.statistics.extremes import largest_gap
    from core.statistics.paired import Sampled, bootstrap_interval

    high = np.full(classes, 0.85)
    low = np.linspace(0.85, 0.45, classes) if apart else high
    k = np.full(classes, 25)

    def draw(rng: np.random.Generator) -> Drawn:
        first, second = rng.binomial(k, high), rng.binomial(k, low)
        again = [rng.binomial(k, hits / k, (RESAMPLES, classes)) for hits in (first, second)]
        samples = ((again[0] - again[1]) / k).max(axis=1)
        before = bootstrap_interval(Sampled(float(((first - second) / k).max()), samples))
        return float((high - low).max()), before, largest_gap(first, second, k)

    return draw


# The worst group


def _groups() -> Iterator[Case]:
    for groups, images, accuracy in ((6, 25, 0.9), (6, 25, 0.98), (20, 10, 0.9), (20, 50, 0.6)):
        yield Case(
            f"worst of {groups} groups of {images} images, all right in {100 * accuracy:.0f} %",
            _worst(np.full(groups, accuracy), images),
            "exact, and corrected for choosing",
        )
    yield Case(
        "worst of 6 groups of 25 images, right in 50 to 95 %",
        _worst(np.linspace(0.5, 0.95, 6), 25),
        "exact, and corrected for choosing",
    )


def _worst(accuracy: np.ndarray, images: int) -> Draw:
    from core.statistics import intervals
    from core.statistics.extremes import lowest_share

    n = np.full(len(accuracy), images)

    def draw(rng: np.random.Generator) -> Drawn:
        hits = rng.binomial(n, accuracy)
        before = intervals.share(float(hits.min()), images, len(accuracy))
        return float(accuracy.min()), before, lowest_share(hits, n)

    return draw


# Effective robustness


def _robustness() -> Iterator[Case]:
    for models in (3, 5, 8):
        yield Case(f"line through {models} models", _line(models))
    for models in (5, 8):
        for inside in (False, True):
            yield Case(
                f"effective robustness of {'a model of the line' if inside else 'another model'} "
                f"of {models}",
                _rho(models, inside=inside),
                "a model of the line counts twice: rather too wide" if inside else "",
            )


SLOPE, INTERCEPT, AWAY, IMAGES = 0.9, -0.6, 0.15, 1000


def _models(rng: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray]:
    """True and observed accuracies (2, count) each, about a line on logit axes."""
    from scipy.special import expit

    across = rng.normal(1.2, 0.5, count)
    up = SLOPE * across + INTERCEPT + rng.normal(0, AWAY, count)
    true = expit([across, up])
    return true, rng.binomial(IMAGES, true) / IMAGES


def _expected(x: float) -> float:
    from scipy.special import expit, logit

    return float(expit(SLOPE * logit(x) + INTERCEPT))


def _line(models: int) -> Draw:
    from scipy.special import expit

    from core.statistics.robustness import fit_line, logit

    def draw(rng: np.random.Generator) -> Drawn:
        (x, _), (seen_x, seen_y) = _models(rng, models)
        at, n = float(np.median(x)) * 0.97, np.full(models, IMAGES)
        line = fit_line(seen_x, seen_y, n, n)
        assert line is not None
        axes = np.column_stack([logit(seen_x, n), logit(seen_y, n)])
        picks = rng.integers(0, models, (RESAMPLES, models))
        picks = picks[np.ptp(axes[picks, 0], axis=1) > 1e-9]
        moved = axes[picks] - axes[picks].mean(axis=1, keepdims=True)
        slopes = (moved[..., 0] * moved[..., 1]).sum(axis=1) / np.square(moved[..., 0]).sum(axis=1)
        middle = axes[picks].mean(axis=1)
        found = expit(slopes * (logit(at, 1e9) - middle[:, 0]) + middle[:, 1])
        low, high = np.quantile(found, [0.025, 0.975])
        bounds = line.bounds(at, 1e9)
        return _expected(at), (low, high), (float(bounds[0]), float(bounds[1]))

    return draw


def _rho(models: int, *, inside: bool) -> Draw:
    from core.statistics.robustness import fit_line, robustness_interval

    def draw(rng: np.random.Generator) -> Drawn:
        true, seen = _models(rng, models + 1)
        n, place = np.full(models, IMAGES), 0 if inside else models
        line = fit_line(seen[0, :models], seen[1, :models], n, n)
        assert line is not None
        x, y = (float(axis[place]) for axis in seen)
        bounds = robustness_interval(line, x, y, IMAGES, IMAGES)[1:]
        return 100 * (true[1, place] - _expected(float(true[0, place]))), NONE, bounds

    return draw


if __name__ == "__main__":
    for some in cases():
        print(some.line(int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS).row(), flush=True)
