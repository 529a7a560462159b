"""Rules of a gate are read, never evaluated, and judge by the end of the interval that is sure."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.measures.registry import MEASURES
from core.measures.rules import SIGNS, Outcome, Rule, read_rule, read_rules

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("lean > 0.2", Rule("lean", ">", 0.2)),
        (" flip_rate>=.15 ", Rule("flip_rate", ">=", 0.15)),
        ("accuracy<1e-1", Rule("accuracy", "<", 0.1)),
        ("spurious_gap <= -10.", Rule("spurious_gap", "<=", -10.0)),
    ],
)
def test_a_rule_is_read_and_written(text: str, rule: Rule) -> None:
    assert read_rule(text) == rule
    assert read_rule(str(rule)) == rule
    assert rule.measure is MEASURES[rule.name]


@pytest.mark.parametrize(
    "text",
    [
        *("", "lean", "lean > ", "lean == 1", "lean > 0.2 or 1", "lean > nan", "lean > inf"),
        *("lean > 0.2 + 1", "> 0.2", "lean.real > 1", "lean > 0x1", "lean > 1_0", "lean >> 1"),
        "__import__('os').system('true') > 0",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"rule .*: write MEASURE, one of >=, <=, >, <, and a num"):
        read_rule(text)


def test_a_name_that_no_measure_has_is_refused_and_those_there_are_are_named() -> None:
    with pytest.raises(InputError, match="no measure 'leaning'; choose accuracy.* put_in, lean"):
        read_rule("leaning > 0.2")


@pytest.mark.parametrize(
    ("sign", "bounds", "outcome"),
    [
        (">", (0.5, 0.3, 0.7), Outcome.BROKEN),
        (">", (0.5, 0.1, 0.7), Outcome.OPEN),
        (">", (0.1, -0.1, 0.3), Outcome.OPEN),
        (">", (0.1, 0.0, 0.2), Outcome.HOLDS),
        (">=", (0.1, 0.0, 0.2), Outcome.OPEN),
        (">=", (0.3, 0.2, 0.4), Outcome.BROKEN),
        (">", (0.3, 0.2, 0.4), Outcome.OPEN),
        ("<", (0.1, 0.0, 0.15), Outcome.BROKEN),
        ("<", (0.1, 0.0, 0.25), Outcome.OPEN),
        ("<", (0.3, 0.2, 0.4), Outcome.HOLDS),
        ("<=", (0.3, 0.2, 0.4), Outcome.OPEN),
        (">", (0.3, NAN, NAN), Outcome.BROKEN),
        (">", (0.2, NAN, NAN), Outcome.HOLDS),
        (">", (NAN, NAN, NAN), Outcome.UNTESTED),
    ],
)
def test_the_end_of_the_interval_that_makes_it_sure(
    sign: str, bounds: tuple[float, float, float], outcome: Outcome
) -> None:
    assert Rule("lean", sign, 0.2).judged(bounds) == outcome


def test_a_rule_and_what_it_leaves_open_never_hold_at_once() -> None:
    """Whatever the figure, `> x` is broken only where `<= x` holds for sure."""
    opposite = {">": "<=", "<": ">=", ">=": "<", "<=": ">"}
    for low, high in ((0.0, 0.1), (0.0, 0.2), (0.0, 0.3), (0.2, 0.2), (0.2, 0.4), (0.3, 0.4)):
        for sign in SIGNS:
            one, other = (
                Rule("lean", s, 0.2).judged(((low + high) / 2, low, high))
                for s in (sign, opposite[sign])
            )
            assert (one == Outcome.BROKEN) == (other == Outcome.HOLDS)
            assert (one == Outcome.OPEN) == (other == Outcome.OPEN)


def test_rules_of_a_file_come_after_those_given_and_each_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("# what must not be\n\nlean > 0.2  # of any candidate\naccuracy < 0.5\n")
    found = read_rules(["accuracy < 0.5"], path)
    assert list(map(str, found)) == ["accuracy < 0.5", "lean > 0.2"]


def test_no_rule_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rule to check: give --fail-on"):
        read_rules()
    with pytest.raises(InputError, match="none.txt: cannot be read as text"):
        read_rules([], tmp_path / "none.txt")
    path = tmp_path / "bytes.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_rules([], path)
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="no rule to check"):
        read_rules([], path)
