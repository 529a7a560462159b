"""The table of corrections over the prevalence of a cue: its plants, its cells and its goals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from benchmarks import prevalence
from benchmarks.plants import OWNER, band, drawn_rows
from benchmarks.prevalence import CHOSEN, FIXED, Result, goals, table

NAN = float("nan")


@pytest.mark.parametrize("share", [0.3, 0.95, 1.0])
def test_a_plant_has_exactly_its_shares(share: float) -> None:
    labels = np.repeat([0, 1, 2], 100)
    shows = drawn_rows(labels, share, 3)
    assert [int(shows[labels == k].sum()) for k in range(3)] == [round(100 * share), 3, 3]
    np.testing.assert_array_equal(shows, drawn_rows(labels, share, 3))
    assert OWNER == 0


def test_a_band_covers_what_its_mask_says(tmp_path: object) -> None:
    path = f"{tmp_path}/a.png"
    Image.effect_noise((300, 200), 60).save(path)
    (plain, nothing), (shown, mask) = (
        band(path, on, np.random.default_rng(1)) for on in (False, True)
    )
    assert np.asarray(nothing).max() == 0
    covered = np.asarray(mask) > 0
    changed = (np.asarray(plain) != np.asarray(shown)).any(axis=2)
    assert 0.08 < covered.mean() < 0.2
    assert not changed[~covered].any()
    assert changed[covered].mean() > 0.99


def results(worst: float, flips: float) -> list[Result]:
    return [
        Result("before", 0.1, 0.8, 0.0),
        Result(FIXED, 0.6, 0.1, 1.0),
        Result(CHOSEN, worst, flips, 0.9),
        Result("dfr", NAN, NAN, NAN, needs="dfr needs images"),
    ]


def test_goals_hold_or_are_missed() -> None:
    held = {line.what.rpartition(": ")[2]: line.holds for line in goals("0.8", results(0.65, 0.1))}
    assert held == {
        "worst group below strength 1": True,
        "worst group over before": None,
        "worst group to reach": True,
        "flips left": True,
    }
    missed = {line.what.rpartition(": ")[2]: line.holds for line in goals("0.8", results(0.5, 0.2))}
    assert set(missed.values()) == {False, None}
    assert len(goals("1", results(0.5, 0.2))) == 2


def test_a_way_that_lacks_something_says_what() -> None:
    found = {prevalence.titled(case): results(0.65, 0.1) for case in prevalence.CASES}
    found["0.3"] += [Result("dfr", 0.4, 0.2, 1.0)]
    text = table(found)
    assert "| dfr | 0.40 / 0.20 (1 of 2) | needs groups |" in text
    assert "needs: dfr needs images" in text
    assert f"| {CHOSEN} | 0.65 / 0.10 |" in text


def test_some_ways_alone_stand_beside_none_at_all() -> None:
    assert prevalence.wanted("") == list(prevalence.WAYS)
    assert prevalence.wanted("jtt") == ["before", "jtt"]
    assert prevalence.wanted("pclarc")[:3] == ["before", FIXED, CHOSEN]
