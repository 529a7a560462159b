"""Shares of images that were given the same source: a slow replica, identities, the extremes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import betabinom, t

from core.statistics.clustered import clustered_change, clustered_share
from core.statistics.estimates import Flips
from core.statistics.intervals import share
from core.types import FloatArray, IntArray


def drawn(rng: np.random.Generator, alike: float) -> tuple[FloatArray, IntArray]:
    sources = rng.integers(0, 12, 240)
    own = np.clip(0.4 + alike * rng.normal(size=12), 0.02, 0.98)
    return (rng.random(240) < own[sources]).astype(float), sources


def log_likelihood(caught: FloatArray, sizes: FloatArray, mean: float, alike: float) -> float:
    room = (1 - alike) / alike
    found = betabinom.logpmf(caught, sizes, mean * room, (1 - mean) * room)
    return float(found.sum())


def best(caught: FloatArray, sizes: FloatArray, mean: float) -> float:
    found = minimize_scalar(
        lambda x: -log_likelihood(caught, sizes, mean, 1 / (1 + np.exp(-x))),
        bounds=(-9, 4),
        method="bounded",
    )
    return -float(found.fun)


def test_ends_are_where_the_profile_falls_by_students_square(rng: np.random.Generator) -> None:
    hits, sources = drawn(rng, 0.25)
    caught, sizes = np.bincount(sources, hits), np.bincount(sources)
    value, low, high = clustered_share(hits, sources)
    assert value == hits.mean()
    top = max(best(caught, sizes, m) for m in np.linspace(value - 0.1, value + 0.1, 81))
    for end in (low, high):
        fall = 2 * (top - best(caught, sizes, end))
        assert fall == pytest.approx(t.isf(0.025, 11) ** 2, rel=0.02)


def test_order_and_names_do_not_matter(rng: np.random.Generator) -> None:
    hits, sources = drawn(rng, 0.2)
    found, order = clustered_share(hits, sources), rng.permutation(240)
    assert clustered_share(hits[order], 7 * sources[order] + 3) == pytest.approx(found)
    value, low, high = clustered_share(1 - hits, sources)
    assert (1 - value, 1 - high, 1 - low) == pytest.approx(found, abs=1e-9)


def test_alike_images_count_as_one(rng: np.random.Generator) -> None:
    sources = np.repeat(np.arange(20), 25)
    all_or_nothing = (sources < 6).astype(float)
    value, low, high = clustered_share(all_or_nothing, sources)
    ends = share(6, 20)
    assert (value, low, high) == pytest.approx((0.3, *ends), abs=0.06)
    mixed = rng.permutation(all_or_nothing)
    _, mixed_low, mixed_high = clustered_share(mixed, sources)
    assert (mixed_low, mixed_high) == pytest.approx(share(150, 500), abs=0.02)


@pytest.mark.parametrize("hit", [0.0, 1.0])
def test_no_hit_is_not_certain(hit: float) -> None:
    value, low, high = clustered_share(np.full(300, hit), np.arange(300) % 20)
    assert value == hit
    assert 0.005 < high - low < 0.2
    _, wider_low, wider_high = clustered_share(np.full(300, hit), np.arange(300) % 20, 10)
    assert wider_high - wider_low > high - low


def test_one_source_says_nothing_of_others() -> None:
    hits = np.repeat([1.0, 0.0], [30, 70])
    assert clustered_share(hits, np.zeros(100)) == pytest.approx((0.3, *share(30, 100)))
    assert np.isnan(Flips().of(np.zeros((0, 2)))).all()


def test_a_change_is_paired(rng: np.random.Generator) -> None:
    before, sources = drawn(rng, 0.3)
    same = clustered_change(before, before, sources)
    assert same[0] == 0
    assert same[1] <= 0 <= same[2]
    assert same[2] - same[1] < 0.08
    other = rng.permutation(before)
    value, low, high = clustered_change(before, other, sources)
    assert value == pytest.approx(0, abs=1e-12)
    assert high - low > 3 * (same[2] - same[1])
    fewer = before * (rng.random(240) < 0.2)
    assert clustered_change(before, fewer, sources)[2] < 0
    assert clustered_change(fewer, before, sources)[1] > 0


def test_resamples_draw_sources(rng: np.random.Generator) -> None:
    hits, sources = drawn(rng, 0.3)
    values = np.column_stack([hits, sources])

    def draws(n: int) -> FloatArray:
        assert n == 12
        return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), 400).astype(float)

    found = Flips().resampled(values, draws)
    low, high = np.quantile(found, [0.025, 0.975])
    assert (low, high) == pytest.approx(clustered_share(hits, sources)[1:], abs=0.05)
    single = np.column_stack([hits, np.zeros(240)])
    plain = Flips().resampled(single, lambda n: rng.multinomial(n, np.full(n, 1 / n), 50) * 1.0)
    assert plain.std() == pytest.approx(np.sqrt(hits.var() / 240), rel=0.4)
