"""Many questions at once, and means over rows and columns, against slow replicas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from core.statistics.multiplicity import Method, corrected, corrected_level
from core.statistics.two_way import two_way


def test_holm_equals_a_slow_replica(rng: np.random.Generator) -> None:
    p = rng.random(12) ** 3
    slow, largest = np.zeros(12), 0.0
    for step, i in enumerate(sorted(range(12), key=lambda i: p[i])):
        largest = max(largest, (12 - step) * p[i])
        slow[i] = min(largest, 1)
    assert corrected(p, "holm") == pytest.approx(slow, abs=1e-12)
    assert np.isnan(corrected([np.nan, np.nan], "holm")).all()
    gaps = np.array([0.01, np.nan, 0.03])
    assert corrected(gaps, "holm").tolist() == pytest.approx([0.02, np.nan, 0.03], nan_ok=True)


def test_benjamini_hochberg_equals_a_slow_replica(rng: np.random.Generator) -> None:
    p = rng.random(15) ** 3
    slow, least = np.zeros(15), 1.0
    for place, i in reversed(list(enumerate(np.argsort(p), start=1))):
        least = min(least, p[i] * 15 / place)
        slow[i] = least
    assert corrected(p, "fdr_bh") == pytest.approx(slow, abs=1e-12)
    assert corrected(p, "bonferroni") == pytest.approx(np.minimum(15 * p, 1), abs=1e-12)


@pytest.mark.parametrize("method", ["holm", "bonferroni", "fdr_bh"])
def test_corrections_leave_order_and_gaps(method: Method, rng: np.random.Generator) -> None:
    p = np.array([*rng.random(6) ** 2, np.nan])
    found = corrected(p, method)
    assert np.isnan(found[-1])
    assert (found[:-1] >= p[:-1]).all()
    assert found[:-1][np.argsort(p[:-1])].tolist() == sorted(found[:-1])
    assert corrected([0.03], method).tolist() == pytest.approx([0.03])
    assert len(corrected([], method)) == 0


def test_intervals_at_the_corrected_level_agree_with_the_p_values(
    rng: np.random.Generator,
) -> None:
    tables = [rng.normal(effect, 1, (6, 40)) for effect in (0, 0, 0.15, 0.3, 0.4, 1)]
    means = [two_way(table) for table in tables]
    for method in ("bonferroni", "fdr_bh"):
        adjusted = corrected([mean.p for mean in means], method)
        level = corrected_level([mean.p for mean in means], method)
        away = [low > 0 or high < 0 for low, high in (mean.interval(level) for mean in means)]
        assert away == (adjusted <= 0.05).tolist()
        assert 0 < sum(away) < 6
    assert corrected_level([0.9, 0.8, np.nan], "fdr_bh") == 0.975
    assert corrected_level([], "bonferroni") == 0.95


def test_two_way_equals_a_slow_replica(rng: np.random.Generator) -> None:
    cells = rng.normal(size=(5, 1)) + rng.normal(size=(1, 9)) + 0.3 * rng.normal(size=(5, 9))
    middle, parts = cells.mean(), []
    for groups in (list(cells), list(cells.T), [np.array([cell]) for cell in cells.ravel()]):
        n = len(groups)
        parts.append(sum((g.mean() - middle) ** 2 for g in groups) / (n - 1) / n)
    found = two_way(cells)
    assert found.error**2 == pytest.approx(max(parts[0] + parts[1] - parts[2], *parts[:2]))
    assert (found.value, found.freedom) == (pytest.approx(middle), 4)
    low, high = found.interval(0.9)
    assert high - middle == pytest.approx(t.ppf(0.95, 4) * found.error) == middle - low
    assert found.interval(1 - found.p)[found.value < 0] == pytest.approx(0, abs=1e-9)


def test_equal_cells_have_a_width() -> None:
    low, high = two_way(np.ones((4, 100))).interval()
    assert low < 1 < high
    assert high - low < 0.07
    assert two_way(np.zeros((4, 100))).p == 1


@pytest.mark.parametrize("shape", [(1, 9), (0, 9), (3, 0)])
def test_a_table_needs_rows_and_columns(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{shape[0]} x {shape[1]} cells: give two rows"):
        two_way(np.zeros(shape))


@pytest.mark.parametrize("donors", [4, 16])
@pytest.mark.parametrize("spreads", [(1, 0, 1), (0, 1, 1), (0, 0, 1), (0.5, 0.5, 1)])
def test_the_interval_covers_at_its_null(
    donors: int, spreads: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Turned by a region or by its control alike, 600 tables of 0 and 1; three standard errors
    of a coverage of 0.95 are 0.027."""
    covered = 0
    for _ in range(600):
        of_target = rng.normal(0, spreads[1], (1, 60))
        turned = [
            rng.normal(0, spreads[0], (donors, 1)) + of_target + rng.normal(0, 1, (donors, 60)) > 1
            for _ in range(2)
        ]
        low, high = two_way(turned[0].astype(float) - turned[1]).interval()
        covered += low <= 0 <= high
    assert covered / 600 >= 0.93
