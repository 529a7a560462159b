"""Images that the head was fitted on are judged by the fold that left them out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.audits import folds
from core.audits.audit import Audit
from core.audits.folds import fitted_on_all, fold_heads, said_of, unseen_logits
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.measures.cue_figures import PASTED_SCORE
from core.measures.flips import turned
from core.measures.measure import Sample
from core.measures.scope import Scope
from core.measures.scores import own_probability, score
from core.models.head import fit_folds, fit_probe
from core.statistics.intervals import class_probability
from core.storage.files import read_array, remove
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.trials.pasted_composites import held_out_composites
from core.types import Tag
from tests.core.audits import test_planted
from tests.core.conftest import RED, workspace_of


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audit]:
    """An audit whose head was fitted on every image; the red patch of leaves is tagged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": 24})
        audit = test_planted.audited(tmp_path_factory.mktemp("unsplit"), 0.7)
        key = CandidateKey("leaf", NEURON, RED)
        TagStore.open(workspace_of(audit)).add("ann", audit.id, key, Tag.SPURIOUS)
        yield audit


def test_folds_are_those_of_the_probe(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1, 2], 20)
    features = (rng.normal(size=(60, 8)) + 2 * np.eye(3, 8)[labels]).astype(np.float32)
    probe = fit_probe(features, labels, 3)
    found = fit_folds(features, labels, 3, probe.C)
    again = np.stack(
        [x @ found.weight[f].T + found.bias[f] for x, f in zip(features, found.fold, strict=True)]
    )
    assert again == pytest.approx(probe.oof_logits, abs=0.02)
    assert sorted(np.bincount(found.fold)) == [12] * 5


def test_random_labels_are_not_known(rng: np.random.Generator) -> None:
    labels, features = np.arange(80) % 2, rng.normal(size=(80, 60)).astype(np.float32)
    found = fit_folds(features, labels, 2, 100.0)
    right = [
        (x @ found.weight[f].T + found.bias[f]).argmax() == y
        for x, y, f in zip(features, labels, found.fold, strict=True)
    ]
    assert 0.3 < np.mean(right) < 0.7


def test_stored_images_are_told_out_of_fold(unsplit: Audit) -> None:
    ids = unsplit.images.index[[3, 1, 40]].tolist()
    stored = read_array(unsplit.files.head.out_of_fold)[[3, 1, 40]]
    assert fitted_on_all(unsplit)
    assert said_of(unsplit) == "out-of-fold"
    assert unseen_logits(unsplit, ids) == pytest.approx(stored)
    plain = unsplit.head.logits(unsplit.features(ids))
    assert np.abs(unseen_logits(unsplit, ids) - plain).max() > 1e-3
    wanted = class_probability(stored, unsplit.head.index("leaf"))
    assert own_probability(unsplit, "leaf", ids) == pytest.approx(wanted)
    scope = Scope(unsplit, decided(unsplit, TagStore.open(workspace_of(unsplit))))
    assert scope.probability(ids, unsplit.head.index("leaf")) == pytest.approx(wanted)


def test_an_audit_with_a_further_split_is_as_it_was(planted: Audit) -> None:
    ids = planted.images.index[planted.held_out][:5].tolist()
    assert not fitted_on_all(planted)
    assert said_of(planted) == planted.summary.held_out
    plain = planted.head.logits(planted.features(ids))
    assert (unseen_logits(planted, ids) == plain).all()
    assert fold_heads(planted) is None


def test_folds_say_of_images_what_is_stored(unsplit: Audit) -> None:
    heads = fold_heads(unsplit)
    assert heads is not None
    ids = unsplit.images.index.tolist()
    features = unsplit.features(ids)
    again = unsplit.head.logits(features) + heads.change(ids, features)
    assert again == pytest.approx(unseen_logits(unsplit, ids), abs=0.05)
    one = int(heads.fold[7])
    logits = features[7:8] @ heads.weight[one].T + heads.bias[one]
    wanted = logits - unsplit.head.logits(features[7:8])
    assert heads.change(ids[7:8], features[7:8]) == pytest.approx(wanted)


def test_pasted_cues_are_judged_out_of_fold(unsplit: Audit) -> None:
    decisions = decided(unsplit, TagStore.open(workspace_of(unsplit)))
    seen, heads = held_out_composites(unsplit, "leaf", decisions), fold_heads(unsplit)
    assert heads is not None
    assert seen.note == "out of fold"
    rows, output = seen.usable(0, "after"), unsplit.head.index("leaf")
    ids = [seen.ids[row] for row in np.flatnonzero(rows)]
    features = seen.pasted["after"][rows]
    fold = heads.fold[unsplit.images.index.get_indexer(ids)]
    wanted = np.stack(
        [x @ heads.weight[f].T + heads.bias[f] for x, f in zip(features, fold, strict=True)]
    )
    assert seen.logits(unsplit.head, rows, "after") == pytest.approx(wanted, abs=1e-3)
    scope = Scope(unsplit, decisions, parent=unsplit)
    flips = turned(scope, "leaf", version="after")
    assert isinstance(flips, Sample)
    assert flips.note.endswith("out of fold")
    plain = unseen_logits(unsplit, ids).argmax(axis=1)
    expected = (wanted.argmax(axis=1) == output) & (plain != output)
    assert flips.values[:, 0].mean() == pytest.approx(expected.mean(), abs=0.03)
    assert PASTED_SCORE.sample is not None
    scores = PASTED_SCORE.sample(scope, "leaf")
    assert isinstance(scores, Sample)
    alone = scores.values[scores.values[:, 1] == 0, 0]
    assert alone == pytest.approx(class_probability(wanted, output), abs=1e-3)


def test_unknown_folds_are_said(unsplit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "ALIKE", -1.0)
    folds._again.cache_clear()
    decisions = decided(unsplit, TagStore.open(workspace_of(unsplit)))
    seen = held_out_composites(unsplit, "leaf", decisions)
    assert seen.unseen is None
    assert seen.note == "the head was fitted on these images, and its folds are unknown"
    folds._again.cache_clear()


def test_a_score_without_stored_folds_says_so(unsplit: Audit) -> None:
    folder = unsplit.root / unsplit.images["path"].iloc[0]
    found = score(unsplit, "leaf", folder.parent)
    assert set(found.table["split"]) == {"out-of-fold", "given"}
    remove(unsplit.files.head.out_of_fold)
    found = score(unsplit, "leaf", folder.parent)
    assert set(found.table["split"]) == {"train (the head was fitted on these images)", "given"}
