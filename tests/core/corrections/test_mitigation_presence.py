"""A correction says how many images lack its cue, and whether it is worth it."""

from __future__ import annotations

import pytest

from core.audits.audit import Audit
from core.corrections.card import card
from core.corrections.corrected import ADVICE, advised_against, facts_of, judgement, tradeoff_table
from core.corrections.derived import Corrected
from core.storage.audit_manifest import Provenance
from core.storage.files import read_frame, write_frame
from core.storage.workspace import Workspace
from tests.core.corrections.conftest import QUICK, N, run


def provenance(before: float, after: float) -> Provenance:
    return Provenance(
        *("a", "a", "pclarc", (), {}, "auto", None, False, 0),
        worst_before=before,
        worst_after=after,
    )


def test_it_is_said_how_many_images_lack_the_cue(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, "pclarc", **QUICK)
    done, text = facts_of(audit), card(audit)
    (said,) = done.lacking
    assert said.startswith("leaf/neuron-")
    assert f"of {N} training images lack the cue" in said
    lacking = int(said.split(": ")[1].split()[0])
    images = parent.images
    own = images[(images["label"] == "leaf") & (images["split"] == "train")]
    assert lacking == pytest.approx(N - own["patch"].astype(int).sum(), abs=3)
    assert f"{lacking} of {N} training images lack the cue" in text
    assert judgement(done) in text
    assert "by cut and paste" in judgement(done)
    table = tradeoff_table(audit)
    assert table is not None
    assert table["chosen_worst"].notna().all()
    chosen = table[table["chosen"]].iloc[0]
    assert chosen["chosen_worst"] == pytest.approx(done.worst_after)


def test_a_table_of_an_earlier_version_has_no_worst_group(
    workspace: Workspace, parent: Audit
) -> None:
    audit = run(workspace, parent, "pclarc", **QUICK)
    path = audit.files.mitigation.tradeoff
    write_frame(path, read_frame(path).drop(columns="chosen_worst"))
    table = tradeoff_table(audit)
    assert table is not None
    assert table["chosen_worst"].isna().all()


@pytest.mark.parametrize(("after", "against"), [(0.5, False), (0.41, True), (float("nan"), False)])
def test_what_does_not_help_is_advised_against(after: float, against: bool) -> None:
    done = provenance(0.4, after)
    assert advised_against(done) == against
    assert bool(judgement(done)) == (after == after)


def test_the_card_advises(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchanged(work: object) -> object:
        facts = {"strength": 0.0, "worst_before": 0.4, "worst_after": 0.4}
        return Corrected(parent.head), facts, None

    monkeypatch.setattr("core.corrections.mitigation._correct_head", unchanged)
    assert ADVICE in card(run(workspace, parent, "pclarc", **QUICK))
