"""Every interval holds its truth: a few draws of some kinds, and all draws of all, slowly."""

from __future__ import annotations

import pytest

from benchmarks.coverage import DRAWS, LEAST, Case, cases

CASES = list(cases())
FEW = 80
KINDS = (
    "flip rate 0.1, 500 targets, 20 sources, design effect 12",
    "flip rate .6 to .2, design effect 12",
    "average precision, 10 + 10 images 4 apart, plain",
    "calibration error 0, 300 images",
    "largest gap of 10 classes, all alike, 25 images a side",
    "worst of 6 groups of 25 images, all right in 98 %",
    "line through 5 models",
    "effective robustness of another model of 5",
)


@pytest.mark.parametrize("case", [c for c in CASES if c.what in KINDS], ids=lambda c: c.what)
def test_an_interval_holds(case: Case) -> None:
    before, now = case.held(FEW)
    assert now >= 0.87  # of 80 draws, three standard errors below 95 %
    assert before != before or now > before


def test_all_kinds_are_there() -> None:
    assert {case.what for case in CASES} >= set(KINDS)
    assert len({case.what for case in CASES}) == len(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_every_interval_holds_in_a_thousand_draws(case: Case) -> None:
    found = case.line(DRAWS)
    assert found.value >= LEAST
    assert found.holds
