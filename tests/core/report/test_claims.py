"""Drawn audits: what does nothing is not called harm, and a planted cue is."""

from __future__ import annotations

import numpy as np

from benchmarks.claims import NOTHING, Audit, idle, table


def test_what_does_nothing_is_no_harm_and_a_planted_cue_is() -> None:
    found = table(range(1, 2))
    assert found.loc["largest gap", ("before", "mean")] > 0.5
    for what in ("nothing", "largest gap", "largest lean"):
        assert found.loc[what, ("after", "size")] == 3
    for what in NOTHING:
        assert not found.loc[what, ("after", "mean")] > 0.05
        assert not found.loc[what, ("truth", "mean")] > 0
    assert found.loc["cue", ("after", "mean")] >= 0.9
    assert found.loc["cue", ("truth", "mean")] > 0.3
    assert found.loc["mixture as drawn", ("truth", "mean")] > 0.1
    assert found["false", "mean"].max() <= 0.05


def test_what_a_candidate_does_is_known_from_other_images_under_the_same_head() -> None:
    clean = Audit.drawn(1).of(1)
    fresh = clean.fresh[0].audit
    assert fresh.head is clean.audit.head
    assert not np.array_equal(fresh.train.maps, clean.audit.train.maps)
    drawn = [clean.unrelated() for _ in range(8)]
    found = idle(drawn)
    assert found is not None
    assert found.truth <= 0 < max(each.truth for each in drawn)
    before = next(i for i, each in enumerate(drawn) if each is found)
    assert all(each.truth > 0 for each in drawn[:before])
