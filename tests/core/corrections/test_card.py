"""The model card tells one story of the strength: given, chosen, or the method's own."""

from __future__ import annotations

import pytest

from core.audits.audit import Audit
from core.corrections.card import card, how_chosen
from core.corrections.corrected import facts_of
from core.storage.workspace import Workspace
from tests.core.corrections.conftest import QUICK, run


@pytest.mark.parametrize(
    ("strength", "how", "line"),
    [
        (1.0, "given", "- For the trade-off others were tried by "),
        (None, "chosen", "- Strength chosen by "),
    ],
)
def test_a_given_strength_is_not_said_to_be_chosen(
    workspace: Workspace, parent: Audit, strength: float | None, how: str, line: str
) -> None:
    audit = run(workspace, parent, "pclarc", strength=strength, **QUICK)
    said = card(audit)
    assert f"({how})" in said
    assert line in said
    assert ("Strength chosen by" in said) == (how == "chosen")


def test_a_strength_that_a_sweep_took_is_chosen(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = run(workspace, parent, "pclarc", **QUICK)
    done = facts_of(audit).with_entries(asked_strength="sweep")
    assert how_chosen(done) == "chosen"
    monkeypatch.setattr("core.corrections.card.facts_of", lambda _: done)
    assert "Strength chosen by" in card(audit)
    alone = done.with_entries(chosen_on="", asked_strength="auto")
    assert how_chosen(alone) == "the method's default, not swept"
