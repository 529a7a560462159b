from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.workspace import Workspace
from core.tags.suggested import (
    Suggestion,
    in_words,
    largest_of_others,
    regions,
    suggestions,
    words_of,
)
from tests.conftest import tiny_request
from tests.core.run_fixture import manifest_of


@pytest.fixture
def weathered(folder: Path, workspace: Workspace) -> Audit:
    """An audit whose attribute "weather" says where component 1 of "red" is above its median."""
    first = run_audit(tiny_request(manifest_of(folder), name="first"), workspace)
    arrays = first.arrays_of("red")
    alpha = np.asarray(arrays.of_kind(PCA).alpha)[:, 0]
    shows = {
        first.images.at[i, "path"] for i in np.array(arrays.image_ids)[alpha > np.median(alpha)]
    }
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
    weather = ["snow" if path in shows else "sun" for path in paths]
    return run_audit(tiny_request(manifest_of(folder, weather=weather)), workspace)


def test_an_attribute_that_goes_with_a_candidate_is_suggested(weathered: Audit) -> None:
    facts = weathered.class_facts("red")
    said = suggestions(weathered, facts.class_idx)[CandidateKey("red", PCA, 0)]
    snow = next(one for one in said if one.word == "weather: snow")
    assert (snow.route, snow.figure) == ("attribute", 1.0)
    assert snow.figure > max(snow.control, snow.others)
    assert "weather: snow (AUROC 1.00; chance 0." in in_words(said)


def test_no_word_is_given_that_a_control_reaches(weathered: Audit) -> None:
    for facts in weathered.classes:
        for said in suggestions(weathered, facts.class_idx).values():
            for one in said:
                assert one.figure > one.control
                assert not one.figure <= one.others


def test_an_attribute_drawn_by_lot_is_hardly_ever_suggested(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    lots = {f"lot{i}": rng.permutation(36) % 2 for i in range(20)}
    audit = run_audit(tiny_request(manifest_of(folder, **lots)), workspace)
    words = [
        one.word
        for facts in audit.classes
        for said in suggestions(audit, facts.class_idx).values()
        for one in said
    ]
    assert sum(word.startswith("lot") for word in words) <= 2  # of 20 x 2 x candidates


def test_words_that_hold_of_all_images_or_of_none_are_no_words(weathered: Audit) -> None:
    words = words_of(weathered, weathered.arrays_of("red").image_ids)
    held = words.holds.sum(axis=0)
    assert ((held > 0) & (held < len(words.holds))).all()
    assert "upright format" not in words.texts  # every image is a square
    assert "weather: snow" in words.texts


def test_many_numbers_are_low_and_high(folder: Path, workspace: Workspace) -> None:
    numbers = np.arange(36) / 7
    audit = run_audit(tiny_request(manifest_of(folder, age=numbers)), workspace)
    words = words_of(audit, audit.images.index.tolist())
    assert {"low age", "high age"} <= set(words.texts)
    assert words.holds[:, words.texts.index("low age")].sum() == 18


def test_many_texts_are_no_words(folder: Path, workspace: Workspace) -> None:
    names = [f"camera {i}" for i in range(36)]
    audit = run_audit(tiny_request(manifest_of(folder, camera=names)), workspace)
    words = words_of(audit, audit.images.index.tolist())
    assert not [text for text in words.texts if "camera" in text]


def test_the_largest_of_the_others_leaves_out_oneself() -> None:
    figures = np.array([[0.9, 0.2], [0.4, 0.2], [np.nan, 0.1]])
    np.testing.assert_allclose(largest_of_others(figures), [[0.4, 0.2], [0.9, 0.2], [0.9, 0.2]])
    assert np.isnan(largest_of_others(figures[:1])).all()


def test_places_are_thirds_of_any_grid() -> None:
    found = regions(6, 9)
    assert found["at the top"][:2].all()
    assert not found["at the top"][2:].any()
    assert found["at the right"][:, 6:].all()
    assert not found["at the right"][:, :6].any()
    assert found["in the middle"].sum() == 2 * 3
    assert regions(1, 1)["in the middle"].all()


def test_places_are_told_by_the_stored_maps(weathered: Audit) -> None:
    said = suggestions(weathered, weathered.class_facts("red").class_idx)
    placed = [one for of in said.values() for one in of if one.route == "place"]
    assert all(one.figure >= 0.5 and one.figure > one.control for one in placed)


def test_a_figure_without_others_is_null_in_json() -> None:
    one = Suggestion("dark", "property", 0.9, 0.7, float("nan"))
    assert one.to_json()["others"] is None
    assert one.said == "dark (AUROC 0.90; chance 0.70)"


def test_audits_without_properties_have_the_other_words(weathered: Audit) -> None:
    from core.storage.files import remove

    for shard in weathered.store.shards:
        remove(shard.files.properties)
    again = Audit(weathered.folder)
    words = words_of(again, again.arrays_of("red").image_ids)
    assert set(words.routes) == {"attribute"}
