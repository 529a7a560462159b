"""Audits damaged at random: whatever is said is in our words, and no figure is wrong in silence."""

from __future__ import annotations

import pytest

from benchmarks.attack_workspace import attack


@pytest.mark.slow
def test_commands_say_damage_in_our_words_or_are_right() -> None:
    found = attack(seed=3, count=150)
    assert found.tries > 100
    assert found.raw == []
    assert found.silent == []
