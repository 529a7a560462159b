"""Classes in the order of what they lean on; core candidates are meant to matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import core.trials.leaned_on as module
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.trials.confirmed import COLUMNS as CONFIRMED
from core.trials.leaned_on import leaned_on
from core.trials.leaning import COLUMNS, leaning


def table(*rows: tuple[int, str, int, float, float]) -> pd.DataFrame:
    """Class, kind, number, lean and the lower end of its interval."""
    found = pd.DataFrame(rows, columns=["class_idx", "kind", "component", "lean", "lean_low"])
    found["lean_high"] = 2 * found["lean"] - found["lean_low"]
    found["put_in"], found["put_in_control"] = found["lean"] + 0.1, 0.1
    return found.reindex(columns=COLUMNS).assign(obstacle="", area=0.25, taken_away=0.5)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    def patch(frame: pd.DataFrame) -> None:
        monkeypatch.setattr(module, "leaning", lambda _: frame)

    return patch


def test_the_strongest_lean_is_first_and_what_is_not_sure_is_last(tiny_audit: Audit, given) -> None:
    given(table((0, "pca", 0, 0.2, 0.1), (0, "part", 1, 0.4, -0.1), (1, "part", 0, 0.3, 0.2)))
    first, second = leaned_on(tiny_audit)
    assert (first.facts.class_idx, first.key.short, first.block) == (1, "part-0", "maps")
    assert (second.key.short, second.block) == ("pca-0", "maps")  # the surer one, not the larger
    assert first.per_area == pytest.approx(0.4 / 0.25)
    assert "its part 1 alone turns 40 % of others into it" in first.reason
    assert "the same shape from elsewhere 10 %" in first.reason


def test_a_core_candidate_is_passed_over(tiny_audit: Audit, given) -> None:
    given(table((1, "part", 0, 0.9, 0.8), (1, "pca", 2, 0.2, -0.2), (0, "pca", 0, 0.3, 0.2)))
    label = tiny_audit.classes[1].label
    before = leaned_on(tiny_audit)
    after = leaned_on(tiny_audit, {CandidateKey(label, "part", 0)})
    assert before[0].facts.label == label
    assert [one.block for one in after] == ["maps", "rest"]
    assert after[1].key == CandidateKey(label, "pca", 2)


def test_nothing_tried_is_said(tiny_audit: Audit) -> None:
    assert leaning(tiny_audit).empty
    found = leaned_on(tiny_audit)
    assert [one.block for one in found] == ["rest"] * len(tiny_audit.classes)
    assert {one.reason for one in found} == {"not tried yet"}
    assert found[0].to_json()["harm"] is None


def test_an_obstacle_is_the_reason(tiny_audit: Audit, given) -> None:
    frame = table((0, "pca", 0, np.nan, np.nan)).assign(obstacle="3 training images show it")
    given(frame)
    said = {one.facts.class_idx: one.reason for one in leaned_on(tiny_audit)}
    assert said[0] == "3 training images show it"


def pixels(*rows: tuple[int, str, int, float, float]) -> pd.DataFrame:
    names = ["class_idx", "kind", "component", "lean", "lean_low"]
    found = pd.DataFrame(rows, columns=names)
    found["lean_high"], found["put_in"], found["control"] = 1.0, found["lean"] + 0.05, 0.05
    return found.reindex(columns=CONFIRMED)


def test_pixels_confirm_and_refute(
    tiny_audit: Audit, given, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(table((0, "pca", 0, 0.9, 0.8), (0, "part", 1, 0.3, 0.2), (1, "part", 0, 0.4, 0.3)))
    tried = pixels((0, "pca", 0, 0.01, -0.1), (1, "part", 0, 0.2, 0.1))
    monkeypatch.setattr(module, "confirmed", lambda _: tried)
    first, second = leaned_on(tiny_audit)
    assert (first.facts.class_idx, first.block, first.in_pixels) == (1, "confirmed", True)
    assert (first.lean, first.put_in, first.control) == pytest.approx((0.2, 0.25, 0.05))
    assert "its part 1, pasted as pixels, turns 25 % of others into it" in first.reason
    assert first.to_json()["confirmed"] is True
    assert (second.block, second.key.short) == ("maps", "part-1")  # its stronger one is refuted
    tried = pixels((0, "pca", 0, 0.01, -0.1), (0, "part", 1, 0.0, -0.2), (1, "part", 0, 0.2, 0.1))
    monkeypatch.setattr(module, "confirmed", lambda _: tried)
    assert [one.block for one in leaned_on(tiny_audit)] == ["confirmed", "rest"]


def test_what_was_tried_with_pixels_alone_counts(
    tiny_audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "confirmed", lambda _: pixels((1, "pca", 2, 0.3, 0.2)))
    first, second = leaned_on(tiny_audit)
    assert (first.facts.class_idx, first.block, first.key.short) == (1, "confirmed", "pca-2")
    assert second.block == "rest"
