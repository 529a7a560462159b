"""What a mitigation acts on and may learn from; tags that come along."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.audits.subject import fitting_rows
from core.candidates.candidate import linear_alpha
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import CARRIED, NEURON, PCA
from core.candidates.part_kind import PART
from core.corrections import composites
from core.corrections.acted_on import cue_of, find, gather, has
from core.corrections.composites import map_pairs, mask_pairs
from core.corrections.corrected import effect_table
from core.corrections.derived import image_table
from core.corrections.inherited_tags import ALIKE, carry_tags
from core.errors import InputError
from core.measures.stored import measured
from core.models.linear import store_head
from core.storage.files import read_json, write_array, write_frame, write_json
from core.storage.workspace import Workspace
from core.tags.decisions import decided, values_of
from core.tags.log import TagStore
from core.trials.paste import sample
from core.types import Tag
from tests.core.conftest import RED
from tests.core.corrections.conftest import QUICK, N, cell, run

pytestmark = pytest.mark.usefixtures("unfitted_folds")


def test_only_training_images_are_learnt_from(workspace: Workspace, parent: Audit) -> None:
    findings = find(parent, workspace, classes=["leaf"])
    gathered = gather(parent, findings)
    assert fitting_rows(parent.images)[gathered.rows].all()
    assert gathered.fitted_on is None
    assert len(gathered.rows) == 3 * N
    own = gathered.evidence.labels == 0
    assert (gathered.evidence.present[~own] == -1).all()
    assert (gathered.evidence.present[own] == 1).sum() == N // 4
    alpha = gathered.evidence.cues[0].alpha(gathered.evidence.features[own])
    present = gathered.evidence.present[own, 0]
    assert alpha[present == 1].min() >= alpha[present == -1].max()


def test_a_cue_is_its_candidate(parent: Audit) -> None:
    arrays = parent.class_arrays(0)
    phi = parent.features(arrays.image_ids)
    for candidate in (arrays.candidate("neuron", RED), arrays.candidate("pca", 1)):
        wanted = phi @ candidate.direction - candidate.offset
        np.testing.assert_allclose(cue_of(parent, candidate).alpha(phi), wanted, atol=1e-6)


def test_one_split_alone_is_divided_and_said(workspace: Workspace, parent: Audit) -> None:
    path = parent.folder / "images.parquet"
    rows = pd.read_parquet(path)
    rows["split"] = "train"
    write_frame(path, rows)
    facts = read_json(parent.folder / "head" / "head.json")
    oof = np.zeros((len(rows), 3), np.float32)
    oof[np.arange(len(rows)), [parent.head.index(v) for v in rows["label"]]] = 1
    store_head(parent.folder, parent.head, facts, oof)
    table, _ = image_table(parent)
    assert (table.frame["split"] == "train").all()
    audit = run(workspace, Audit(parent.folder), **QUICK)
    held = audit.held_out
    assert held.sum() == len(rows) // 3
    assert audit.manifest.mitigation.learnt_from == (~held).sum()
    assert "held-out part of" in audit.summary.held_out
    assert effect_table(audit).query("measure == 'agreement'")["n"].item() == held.sum()


def test_an_attribute_says_who_shows_the_cue(workspace: Workspace, parent: Audit) -> None:
    findings = find(parent, workspace, classes=["leaf"])
    evidence = gather(parent, findings, attribute="patch").evidence
    shows = parent.images["patch"].to_numpy()[fitting_rows(parent.images)]
    np.testing.assert_array_equal(evidence.present[:, 0], shows)
    for value, count in ((True, parent.images["patch"].sum()), ("purple", 0)):
        assert has(parent, f"patch={value}").sum() == count
    with pytest.raises(InputError, match="no attribute 'fog'; it has: patch"):
        has(parent, "fog")
    audit = run(workspace, parent, attribute="patch", **QUICK)
    assert cell(audit, "accuracy_with_cue")["subject"] == "attribute patch"
    mine = parent.images.query("split == 'test' and label == 'leaf' and patch == 1")
    assert cell(audit, "accuracy_with_cue")["before"] == pytest.approx(mine["correct"].mean())
    rest = parent.images.query("split == 'test' and label == 'leaf' and patch != 1")
    gap = 100 * (mine["correct"].mean() - rest["correct"].mean())
    assert cell(audit, "cue_gap")["before"] == pytest.approx(gap)
    by_spuriosity = measured(parent, workspace, "gap").query("measure == 'spurious_gap'")
    wanted = by_spuriosity.set_index("label").at["leaf", "value"]
    assert cell(audit, "spurious_gap")["before"] == pytest.approx(wanted)


def test_planted_truth_is_not_used_unasked(workspace: Workspace, parent: Audit) -> None:
    write_json(
        parent.folder / "summary.json",
        {**read_json(parent.folder / "summary.json"), "planted": {"leaf": {"cue": "patch"}}},
    )
    audit = run(workspace, Audit(parent.folder), **QUICK)
    assert "of highest and of lowest spuriosity" in cell(audit, "accuracy_with_cue")["subject"]
    assert "cue_gap" not in set(effect_table(audit)["measure"])


def test_a_table_of_an_earlier_version_is_read_by_the_names_of_now(
    workspace: Workspace, parent: Audit
) -> None:
    audit = run(workspace, parent, attribute="patch", **QUICK)
    path, now = audit.files.mitigation.effect, effect_table(audit)
    old = now[now["measure"] != "spurious_gap"].replace(
        {"measure": {"cue_gap": "spurious_gap", "worst_cue_group_accuracy": "worst_group_accuracy"}}
    )
    write_frame(path, old)
    again = effect_table(audit)
    assert again["measure"].tolist() == now.loc[old.index, "measure"].tolist()


def test_pairs_are_of_training_images_and_hide_what_they_are(
    workspace: Workspace, parent: Audit
) -> None:
    findings = find(parent, workspace, classes=["leaf"])
    gathered = gather(parent, findings)
    by_map = map_pairs(parent, findings, gathered.rows)
    by_mask = mask_pairs(parent, findings, gathered.rows)
    for pairs in (by_map, by_mask):
        assert (gathered.evidence.labels[pairs.rows] != 0).all()
        np.testing.assert_allclose(
            pairs.hidden, gathered.evidence.features[pairs.rows], rtol=1e-4, atol=1e-5
        )
        assert (pairs.shown[:, RED] - pairs.hidden[:, RED]).mean() > 0
    assert (by_map.basis, by_mask.basis) == ("overlays", "cue masks")


def test_two_corrections_stack(workspace: Workspace, parent: Audit) -> None:
    first = run(workspace, parent, "spufix", strength=0.5, **QUICK)
    tags = decided(first, TagStore.open(workspace))
    assert [c.key.number for c in tags.spurious["leaf"]] == [RED]
    assert list(tags.spurious) == ["leaf", "pond"]
    second = run(workspace, first, "pclarc", name="twice", strength=1.0, **QUICK)
    assert second.manifest.mitigation.parent == first.id
    assert not np.array_equal(second.head.weight, first.head.weight)
    third = run(workspace, first, "spufix", name="thrice", strength=0.5, **QUICK)
    once, twice = (a.head.logits(a.features(a.images.index.tolist())) for a in (first, third))
    assert (twice <= once + 1e-5).all()


def test_tags_come_along_once(workspace: Workspace, parent: Audit) -> None:
    store = TagStore.open(workspace)
    audit = run(workspace, parent, **QUICK)
    carried = {(e.label, e.kind, e.annotator) for e in store.current(audit.id)}
    assert ("leaf", NEURON, "ann") in carried
    assert carry_tags(parent, audit, store) == 0


def test_a_component_that_is_gone_comes_along_as_the_direction_it_was(
    workspace: Workspace, parent: Audit
) -> None:
    store = TagStore.open(workspace)
    for number in range(3):
        store.add("bob", parent.id, CandidateKey("leaf", PCA, number), Tag.SPURIOUS)
    audit = run(workspace, parent, "pclarc", strength=1.0, cues=("leaf/pca-0",), **QUICK)
    there = [e for e in store.current(audit.id) if e.annotator == "bob"]
    gone = [e for e in there if e.kind == CARRIED]
    assert len(there) == 3
    assert gone
    arrays, theirs = audit.class_arrays(0), parent.class_arrays(0)
    phi = audit.features(arrays.image_ids)
    alphas = linear_alpha(phi, theirs.pca.directions, theirs.pca.offsets)
    for event in gone:
        candidate = arrays.candidate(event.kind, event.component)
        alpha = values_of(audit, "leaf", [candidate])[:, 0]
        same = np.abs(alphas - alpha[:, None]).max(axis=0)
        assert same.min() < 1e-4
        np.testing.assert_allclose(cue_of(audit, candidate).alpha(phi), alpha, atol=1e-4)
    assert "leaf" in decided(audit, store).spurious


def test_parts_come_along_by_what_they_say_of_the_images(
    workspace: Workspace, parent: Audit
) -> None:
    store, old = TagStore.open(workspace), parent.arrays_of("leaf")
    for number in old.of_kind(PART).numbers:
        store.add("bob", parent.id, CandidateKey("leaf", PART, int(number)), Tag.CORE)
    audit = run(workspace, parent, "pclarc", strength=1.0, **QUICK)
    there = {(e.kind, e.component) for e in store.current(audit.id) if e.annotator == "bob"}
    new, rows = audit.arrays_of("leaf"), np.asarray(old.fitting, bool)
    expected = set()
    for alpha in np.asarray(old.of_kind(PART).alpha)[rows].T:
        alike = [
            np.corrcoef(alpha, other)[0, 1] if np.ptp(alpha) and np.ptp(other) else 0.0
            for other in np.asarray(new.of_kind(PART).alpha)[rows].T
        ]
        if max(alike) >= ALIKE:
            expected.add((PART, int(np.argmax(alike))))
    assert {key for key in there if key[0] == PART} == expected
    gone = [number for kind, number in there if kind == CARRIED]
    assert len(expected) + len(gone) == len(old.of_kind(PART).numbers)
    phi = audit.features(new.image_ids)
    means = [new.candidate(CARRIED, number).alpha(phi)[rows].mean() for number in gone]
    known = np.asarray(old.of_kind(PART).alpha)[rows].mean(axis=0)
    for mean in means:
        assert np.abs(known - mean).min() < 1e-4


def test_a_carried_direction_is_a_cue_and_comes_along(workspace: Workspace, parent: Audit) -> None:
    arrays = parent.class_arrays(0)
    component = arrays.candidate("pca", 0)
    path = parent.files.carried_to(0)
    write_array(path, np.append(component.direction, component.offset - 1)[None])
    store = TagStore.open(workspace)
    store.add("other", parent.id, CandidateKey("leaf", CARRIED, 0), Tag.SPURIOUS)
    carried = parent.class_arrays(0).candidate("carried", 0)
    phi = parent.features(arrays.image_ids)
    wanted = phi @ carried.direction - carried.offset
    np.testing.assert_allclose(cue_of(parent, carried).alpha(phi), wanted, atol=1e-4)
    audit = run(workspace, parent, cues=("leaf/carried-0",), **QUICK)
    assert any(e.kind == CARRIED for e in store.current(audit.id))
    audit.class_arrays(0).candidate("carried", 0)


def test_images_of_every_class_are_those_that_a_sample_of_them_would_hold(
    parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are put in order once, whatever the number of cues."""
    rows = np.flatnonzero(parent.images["label"].to_numpy() != "")[::-1].copy()
    monkeypatch.setattr(composites, "PAIRS", 7)
    found, images = composites._Images(parent, rows, 3), parent.images.iloc[rows]
    for label in images["label"].unique():
        for mask in (images["label"] == label, images["label"] != label):
            ids, places = found.some(mask.to_numpy(bool))
            assert ids == sample(images.index[mask].tolist(), 7, seed=3)
            assert images.index[places].tolist() == ids
