"""When a class is called harmed: never where its candidate does what its controls do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.report.harm import SPARED, Choice, Done, done

DONORS, TARGETS = 16, 32


def table(
    by_donor: np.ndarray, lost: float = 0.02, spared: float = 0.01, own: int = 60
) -> pd.DataFrame:
    """One candidate as the trial keeps it."""
    by_donor = np.asarray(by_donor, np.float64)
    mean = float(by_donor.mean())
    row = {
        **{"class_idx": 0, "kind": "pca", "component": 3, "put_in": 0.1 + mean, "control": 0.1},
        **{"lean": mean, "error": float(by_donor.std(ddof=1)) / len(by_donor) ** 0.5 + 0.01},
        **{"donors": len(by_donor), "targets": TARGETS, "by_donor": by_donor.tolist()},
        **{"taken_away": lost, "taken_away_control": spared, "own": own, "obstacle": ""},
    }
    return pd.DataFrame([row])


def tried(by_donor: np.ndarray, choice: Choice | None = None, **more: float) -> Done:
    (found,) = done(table(by_donor, **more), "van", choice or Choice(1, 42))  # type: ignore[arg-type]
    return found


def test_a_cue_that_turns_images_harms() -> None:
    found = tried(np.linspace(0.1, 0.9, DONORS))
    assert found.harms
    assert found.turns == pytest.approx(100 * found.lean[1])
    assert 0 < found.lean[1] < 0.5 < found.lean[2]


def test_nothing_harms_that_turns_as_many_as_its_control() -> None:
    found = tried(np.tile([0.3, -0.3], DONORS // 2))
    assert not found.harms
    assert found.turns == found.takes == 0


def test_the_more_could_be_chosen_the_more_it_takes() -> None:
    rng = np.random.default_rng(0)
    by_donor = rng.normal(0.2, 0.2, DONORS)
    lows = [tried(by_donor, Choice(1, among)).lean[1] for among in (1, 10, 100, 1000)]
    assert lows == sorted(lows, reverse=True)
    assert lows[0] > 0 > lows[-1]
    both = Choice(1, 10) + Choice(3, 30)
    assert (both.error, both.level) == pytest.approx((0.005, 0.995))
    assert Choice(2, 2).error == pytest.approx(0.05)


def test_what_is_lost_counts_beyond_what_any_region_takes() -> None:
    still = np.zeros(DONORS)
    assert tried(still, lost=0.6, spared=0.02, own=100).takes > 100 * SPARED
    assert not tried(still, lost=0.1, spared=0.03, own=5000).harms
    assert not tried(still, lost=0.6, spared=0.02, own=8).harms


def test_few_donors_are_judged_by_student() -> None:
    assert not tried(np.array([0.9, 0.2, 0.5, 0.4])).harms
    assert tried(np.array([0.80, 0.81, 0.79, 0.80])).harms


def test_what_was_not_put_in_is_no_harm() -> None:
    rows = table(np.ones(DONORS)).assign(obstacle="no maps are kept", taken_away=np.nan, own=np.nan)
    (found,) = done(rows, "van", Choice(1, 1))
    assert not found.harms
    assert found.obstacle
    assert np.isnan(found.lean).all()


def test_null_candidates_are_rarely_called_harmful() -> None:
    """The largest of 64 that do nothing, chosen by the very figure."""
    rng, called = np.random.default_rng(5), 0
    for _ in range(100):
        leans = rng.choice([0.0, 0.0, 0.1, -0.1, 0.8, -0.8], (64, DONORS))
        best = leans[leans.mean(axis=1).argmax()]
        called += tried(best, Choice(1, 64)).harms
    assert called <= 10
