"""A tagged part is found again in another model by where it is."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import CARRIED
from core.candidates.part_kind import PART
from core.errors import InputError
from core.storage.workspace import Workspace
from core.tags.carry import ANNOTATOR, QUALITY, carry_tags, match_parts, match_tags
from core.tags.log import TagStore
from core.tags.matched_parts import matched_part, matched_parts, on_grid
from core.types import FloatArray, Tag
from tests.core.measures.test_comparison import audits, prepared, wired

__all__ = ["prepared", "wired"]


def slow_grid(maps: FloatArray, grid: tuple[int, int]) -> FloatArray:
    """Every position cut into so many pieces that each lies in one cell."""
    (h, w), (a, b) = maps.shape, grid
    pieces = np.kron(maps, np.ones((a, b)))
    return pieces.reshape(a, h, b, w).mean(axis=(1, 3))


@pytest.mark.parametrize("grid", [(7, 7), (3, 7), (5, 2), (1, 1)])
def test_a_coarser_grid_equals_the_slow_replica(
    rng: np.random.Generator, grid: tuple[int, int]
) -> None:
    maps = rng.normal(size=(2, 3, 7, 7))
    found = on_grid(maps, grid)
    assert found.shape == (2, 3, *grid)
    np.testing.assert_allclose(found[1, 2], slow_grid(maps[1, 2], grid), atol=1e-12)
    np.testing.assert_allclose(found.mean(axis=(2, 3)), maps.mean(axis=(2, 3)), atol=1e-12)


def tag_parts(workspace: Workspace, source: Audit) -> int:
    """Every part of leaf tagged; how many."""
    store = TagStore.open(workspace)
    store.add("ann", source.id, CandidateKey("leaf", "neuron", 0), None)
    store.add("ann", source.id, CandidateKey("leaf", "neuron", 1), None)
    numbers = source.arrays_of("leaf").of_kind(PART).numbers.tolist()
    for number in numbers:
        store.add("ann", source.id, CandidateKey("leaf", PART, number), Tag.SPURIOUS)
    return len(numbers)


def test_a_copy_of_the_model_has_the_same_parts(wired: Workspace) -> None:
    one, _ = audits(wired)
    shutil.copytree(one.folder, wired.folder("0" * 12))
    wired.update("0" * 12, name="copy", id="0" * 12)
    copy, number = Audit(wired.folder("0" * 12)), tag_parts(wired, one)
    matches = carry_tags(one, copy, TagStore.open(wired))
    assert [m.part for m in matches if not m.refused] == [
        m.candidate.key.number for m in matches if not m.refused
    ]
    assert sum(m.quality > 0.999 for m in matches) == number
    events = TagStore.open(wired).current(copy.id)
    assert {(e.kind, e.component) for e in events} == {(PART, i) for i in range(number)}
    assert {e.annotator for e in events} == {f"{ANNOTATOR}one"}


def test_a_part_becomes_the_most_alike_part_judged_on_other_images(wired: Workspace) -> None:
    one, two = audits(wired)
    tag_parts(wired, one)
    for match in match_tags(one, two, TagStore.open(wired)):
        mine = two.arrays_of("leaf").candidates(PART)
        ids = one.arrays_of("leaf").image_ids
        fitting = np.asarray(one.arrays_of("leaf").fitting, bool)
        theirs = one.heatmaps(match.candidate, ids)
        alike = np.array(
            [
                [
                    np.corrcoef(theirs[r].ravel(), two.heatmaps(m, ids)[r].ravel())[0, 1]
                    for m in mine
                ]
                for r in (fitting, ~fitting)
            ]
        )
        assert match.part == mine[int(alike[0].argmax())].key.number
        assert match.quality == pytest.approx(alike[1, alike[0].argmax()], abs=1e-4)
        assert (match.n_fitted, match.n_judged) == (70, 50)
        assert bool(match.refused) >= (match.quality < QUALITY)
        assert match.becomes == f"part {match.part + 1}"


def test_one_part_is_not_two(wired: Workspace) -> None:
    one, blind = audits(wired, "one", "blind")
    tag_parts(wired, one)
    carried = [m.part for m in match_tags(one, blind, TagStore.open(wired)) if not m.refused]
    assert len(set(carried)) == len(carried)


def test_without_parts_a_part_becomes_a_direction(wired: Workspace) -> None:
    one, two = audits(wired)
    tag_parts(wired, one)
    for folder in two.files.found.glob("part-*"):
        shutil.rmtree(folder)
    matches = carry_tags(one, two, TagStore.open(wired))
    assert all(m.part == -1 for m in matches)
    assert {e.kind for e in TagStore.open(wired).current(two.id)} <= {CARRIED}
    assert any(m.quality > QUALITY for m in matches)


def test_what_was_carried_is_not_carried_on(wired: Workspace) -> None:
    one, two, blind = audits(wired, "one", "two", "blind")
    tag_parts(wired, one)
    store = TagStore.open(wired)
    assert any(m.part >= 0 for m in carry_tags(one, two, store) if not m.refused)
    with pytest.raises(InputError, match="no candidate decided core or spurious"):
        match_tags(two, blind, store)


def test_grids_of_different_sizes(wired: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = audits(wired)
    arrays = one.arrays_of("leaf")
    parts, ids = arrays.candidates(PART), arrays.image_ids[:40]
    whole, doubled = Audit(one.folder), Audit(one.folder)
    maps = doubled.maps
    monkeypatch.setattr(doubled, "maps", lambda ids: np.kron(maps(ids), np.ones((1, 1, 2, 2))))
    fitting = np.arange(40) % 2 == 0
    for tagged in parts:
        found = matched_part(whole, tagged, doubled, parts, ids, fitting)
        if np.ptp(arrays.alpha_of(tagged.key)[:40]) > 1e-6:
            assert parts[found.place].key == tagged.key
            assert found.quality == pytest.approx(1, abs=1e-4)


def test_parts_of_a_copy_are_matched_with_themselves(wired: Workspace) -> None:
    one, two = audits(wired)
    same = match_parts(one, one, "leaf")
    assert same["part_a"].tolist() == same["part_b"].tolist()
    assert sorted(same["part_a"]) == one.arrays_of("leaf").of_kind(PART).numbers.tolist()
    live = same[same["quality"].notna() & (same["quality"] != 0)]
    assert live["quality"].tolist() == pytest.approx([1.0] * len(live))
    other = match_parts(one, two, "leaf")
    assert other["quality"].is_monotonic_decreasing
    for row in other.itertuples():
        refused = row.quality < QUALITY
        assert bool(row.refused) == refused


def test_all_at_once_is_one_after_the_other(wired: Workspace) -> None:
    one, two = audits(wired)
    mine, theirs = one.arrays_of("leaf"), two.arrays_of("leaf")
    ids = [i for i in mine.image_ids if i in set(theirs.image_ids)]
    rows = np.arange(len(ids)) % 2 == 0
    parts, others = mine.candidates(PART), theirs.candidates(PART)
    slow = [matched_part(one, part, two, others, ids, rows) for part in parts]
    found = matched_parts(one, parts, two, others, ids, rows)
    assert [m.place for m in found] == [m.place for m in slow]
    assert [m.quality for m in found] == pytest.approx([m.quality for m in slow])


def test_without_maps_parts_are_not_matched(wired: Workspace) -> None:
    one, two = audits(wired)
    two.store.drop_maps()
    with pytest.raises(InputError, match=r"maps of 0 shared images of class 'leaf' are kept, 0 of"):
        match_parts(one, Audit(two.folder), "leaf")
