"""Drawn audits: what means nothing is not called harm, and a planted cue is."""

from __future__ import annotations

from benchmarks.claims import table


def test_what_does_nothing_is_no_harm_and_a_planted_cue_is() -> None:
    found = table(3)
    assert found.loc["largest gap", ("before", "mean")] > 0.5
    for what in ("nothing", "largest gap"):
        assert found.loc[what, ("after", "size")] == 9
        assert found.loc[what, ("after", "mean")] <= 0.05
    assert found.loc["cue", ("after", "mean")] >= 0.9
