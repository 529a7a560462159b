"""Figures that were stored before parts were found anew, or maps were kept, are made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.audits.audit import Audit
from core.audits.other_kinds import renew
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.measures.stored import is_stored, measured
from core.storage.files import write_json
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials.leaning import trial_key
from core.trials.outcomes import LEANS, NOISE, PASTED, Outcomes
from core.types import Tag
from tests.core.conftest import GREEN, RED, unmeasured, workspace_of

KINDS = (NOISE, PASTED, LEANS)


@pytest.fixture
def own(planted: Audit, tmp_path: Path) -> Audit:
    audit = unmeasured(planted, tmp_path / "workspace")
    store = TagStore.open(workspace_of(audit))
    for number in (RED, GREEN):
        store.add("ann", audit.id, CandidateKey("leaf", NEURON, number), None)
    return audit


def tag(audit: Audit, key: CandidateKey) -> None:
    TagStore.open(workspace_of(audit)).add("ann", audit.id, key, Tag.SPURIOUS)


def places(audit: Audit) -> list[Path]:
    outcomes = Outcomes(audit, decided(audit, TagStore.open(workspace_of(audit))))
    return [outcomes.path(kind, "leaf") for kind in KINDS]


def test_a_part_found_anew_is_measured_anew(own: Audit) -> None:
    tag(own, CandidateKey("leaf", "part", 0))
    decisions = decided(own, TagStore.open(workspace_of(own)))
    before = places(own)
    measured(own, workspace_of(own), "gap")
    assert is_stored(own, decisions, "gap")
    write_json(own.files.kind_key("part"), "found in other maps")
    assert not is_stored(own, decisions, "gap")
    assert not set(before) & set(places(own))


def test_what_is_not_found_apart_stays(own: Audit) -> None:
    tag(own, CandidateKey("leaf", NEURON, RED))
    before = places(own)
    write_json(own.files.kind_key("part"), "found in other maps")
    assert places(own) == before


def test_what_was_tried_without_maps_is_tried_again_with_them(own: Audit) -> None:
    tag(own, CandidateKey("leaf", NEURON, RED))
    before = places(own)
    own.store.drop_maps()
    after = places(Audit(own.folder))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_parts_found_anew_are_tried_anew_in_the_maps(own: Audit) -> None:
    keys = [trial_key(own)]
    for maps in ("these maps", "these maps", "other maps"):
        renew(own.files, maps, {})
        keys.append(trial_key(Audit(own.folder)))
    assert keys[1] == keys[2]
    assert len(set(keys)) == 3
