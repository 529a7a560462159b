"""Corrections of the head where the truth is known: a network wired by hand, a patch on class 0."""

from __future__ import annotations

import pytest

from benchmarks.whitebox import Figures, compared, corrected, fixture
from core.corrections.choice import sweep
from core.corrections.head_methods import mitigate


@pytest.fixture(scope="module")
def figures() -> dict[str, Figures]:
    found = fixture(0.4, n=800)
    return {name: found.figures(head) for name, head in corrected(found).items()}


def test_the_patch_turns_images_before(figures: dict[str, Figures]) -> None:
    flips, accuracy, gap = figures["before"]
    assert flips > 0.5
    assert accuracy > 0.85
    assert gap > 0.15


def test_spufix_helps_and_more_so_against_low_images(figures: dict[str, Figures]) -> None:
    before, mean, low = (figures[n][0] for n in ("before", "spufix mean", "spufix low"))
    assert before - 0.1 > mean > low + 0.1


def test_tuning_on_low_images_closes_the_gap_and_unlearns_nothing(
    figures: dict[str, Figures],
) -> None:
    assert figures["head"][2] < figures["before"][2]
    assert figures["head"][0] > figures["before"][0] - 0.1


@pytest.mark.parametrize(
    "name", ["rrclarc 0.001", "rrclarc 0.1", "rrclarc kept", "pclarc", "rclarc", "projection"]
)
def test_taking_the_concept_away_unlearns_the_patch(name: str, figures: dict[str, Figures]) -> None:
    assert figures[name][0] < 0.1


def test_the_chosen_strength_unlearns_the_patch_at_little_cost() -> None:
    found = fixture(0.4, n=800)
    tried = sweep("spufix", found.head, found.attribute, refit=False, reference="low")
    assert tried.flips[0] > 0.5
    head = mitigate("spufix", found.head, found.attribute, tried.strength, reference="low")
    before, after = found.figures(found.head), found.figures(head)
    assert after[0] < before[0] - 0.3
    assert after[1] > before[1] - 0.04


@pytest.mark.slow
@pytest.mark.parametrize("own", [0.1, 0.4, 0.9])
def test_every_reference_figure_is_met(own: float) -> None:
    found = fixture(own)
    missed = [
        line.row()
        for name, head in corrected(found).items()
        for line in compared(own, name, found.figures(head))
        if line.holds is False
    ]
    assert not missed
