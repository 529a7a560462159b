"""The table of measures on disk: found again with the same tags, measured anew with others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.errors import WorkspaceError
from core.measures import one_audit as table
from core.measures import stored
from core.measures.measure import Rows
from core.measures.scope import Scope
from core.measures.stored import is_stored, measured
from core.storage.files import locked
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.types import Tag
from tests.core.conftest import RED, unmeasured, workspace_of


@pytest.fixture
def copied(planted: Audit, tmp_path: Path) -> Audit:
    """The planted audit and its tags in a workspace of this test's own."""
    return unmeasured(planted, tmp_path / "workspace")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that were really measured."""
    names: list[str] = []

    rows = table._rows

    def counting(scope: Scope, part: str, sigmas: Sequence[float]) -> Rows:
        names.append(part)
        return rows(scope, part, sigmas)

    monkeypatch.setattr(table, "_rows", counting)
    return names


def known_of(audit: Audit) -> pd.DataFrame:
    return stored.known(audit, decided(audit, TagStore.open(workspace_of(audit))))


def test_the_same_as_measured_afresh(copied: Audit, counted: list[str], tmp_path: Path) -> None:
    where, other = workspace_of(copied), unmeasured(copied, tmp_path / "afresh")
    afresh = measured(other, workspace_of(other))
    first, again = measured(copied, where), measured(copied, where)
    pd.testing.assert_frame_equal(first, afresh)
    pd.testing.assert_frame_equal(again, afresh)
    assert counted == 2 * ["gap", "groups", "noise", "flip", "lean", "subsets"]


def test_one_model_for_all_parts(copied: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = Audit.load_model
    monkeypatch.setattr(Audit, "load_model", lambda self: (loaded.append(1), load(self))[1])
    measured(copied, workspace_of(copied))
    measured(copied, workspace_of(copied), "flip")
    assert loaded == [1]


def test_what_is_known_without_a_model(copied: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    where = workspace_of(copied)
    with monkeypatch.context() as patch:
        patch.setattr(Audit, "load_model", lambda _: pytest.fail("a model was loaded"))
        known = known_of(copied)
    assert {"spurious_gap", "group_accuracy"} <= set(known["measure"])
    assert "flip_rate" not in set(known["measure"])
    said = " ".join(known.loc[known["measure"] == "note", "note"])
    assert "flip is not measured with these tags yet" in said
    measured(copied, where, "flip")
    known = known_of(copied)
    assert "flip_rate" in set(known["measure"])
    said = " ".join(known.loc[known["measure"] == "note", "note"])
    assert "noise is not measured" in said
    assert "flip is not measured" not in said


def test_other_tags_other_tables(copied: Audit, counted: list[str]) -> None:
    where = workspace_of(copied)
    store = TagStore.open(where)
    before = measured(copied, where, "gap")
    assert is_stored(copied, decided(copied, store), "gap")
    store.add("ann", copied.id, CandidateKey("pond", NEURON, RED), Tag.SPURIOUS)
    assert not is_stored(copied, decided(copied, store), "gap")
    assert set(measured(copied, where, "gap")["label"]) == {"leaf", "pond", ""}
    store.undo("ann", copied.id)
    pd.testing.assert_frame_equal(measured(copied, where, "gap"), before)
    assert counted == ["gap", "gap"]


def test_other_noise_other_table(copied: Audit) -> None:
    where = workspace_of(copied)
    quiet = measured(copied, where, "noise", sigmas=(0.0,))
    loud = measured(copied, where, "noise", sigmas=(1.0,))
    assert set(quiet["subject"]) != set(loud["subject"])


def test_no_more_tables_than_are_kept(copied: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "KEPT", 2)
    for sigma in (0.0, 0.1, 0.2):
        measured(copied, workspace_of(copied), "noise", sigmas=(sigma,))
    measured(copied, workspace_of(copied), "gap")
    parts = [path.name.partition("-")[0] for path in copied.files.measures.glob("*.parquet")]
    assert sorted(parts) == ["gap", "noise", "noise"]


def test_nowhere_to_store(copied: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise WorkspaceError("the disk is full")

    monkeypatch.setattr(stored, "write_frame", full)
    assert "spurious_gap" in set(known_of(copied)["measure"])


def test_two_measuring_the_same(copied: Audit) -> None:
    with (
        locked(copied.files.outcomes / "lock", ""),
        pytest.raises(WorkspaceError, match="is being measured by another process; wait"),
    ):
        measured(copied, workspace_of(copied), "flip")
