"""The outcomes of the slow trials: made once, shared by everything, made again when they should."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.errors import WorkspaceError
from core.measures import scores
from core.measures.availability import make_trials, missing
from core.measures.one_audit import kinds_of
from core.measures.registry import MEASURES
from core.measures.scope import Scope
from core.measures.scores import is_scored, score, stored_cues
from core.measures.stored import measured
from core.storage.digests import is_data
from core.storage.files import read_json, write_json
from core.tags.decisions import Decisions, decided
from core.tags.log import TagStore
from core.trials import encoder as trials
from core.trials import outcomes
from core.trials import pasted_cues as pasting
from core.trials.confirmed import TARGETS
from core.trials.latent import DONORS
from core.trials.noised import FILLED, OTHER_FILLS, REGIONS, noise_trial
from core.trials.outcomes import (
    CONTROL,
    MASKED,
    NOISE,
    PASTED,
    Outcomes,
    pasted_features,
    read_array_of,
)
from core.trials.paste import sample
from core.trials.pasted_composites import held_out_composites
from core.types import Tag
from tests.core.conftest import GREEN, RED, N, load_white_box, unmeasured, workspace_of

ALL = kinds_of(["noise", "flip"])


@pytest.fixture
def copied(planted: Audit, tmp_path: Path) -> Audit:
    """The planted audit and its tags in a workspace of this test's own, nothing measured."""
    return unmeasured(planted, tmp_path / "workspace")


def tags(audit: Audit) -> Decisions:
    return decided(audit, TagStore.open(workspace_of(audit)))


def names(audit: Audit) -> set[str]:
    return {path.name for path in audit.files.outcomes.iterdir() if is_data(path) or path.is_dir()}


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "encode_padded", lambda *_: pytest.fail("an image was encoded"))
    monkeypatch.setattr(Audit, "load_model", lambda _: pytest.fail("a model was loaded"))


def test_what_was_measured_is_there_for_models_and_corrections(
    copied: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = measured(copied, workspace_of(copied))
    forbid(monkeypatch)
    decisions = tags(copied)
    assert missing(copied, decisions) == ["cost"]
    scope = Scope(copied, decisions)
    (flips,), (noise,) = (
        MEASURES[name].samples(scope, "leaf") for name in ("flip_rate", "core_accuracy")
    )
    rates = table.set_index(["label", "measure"])["value"]
    assert flips.values[:, 0].mean() == pytest.approx(rates["leaf", "flip_rate"], abs=1e-12)
    assert np.nanmean(noise.values) == pytest.approx(rates["leaf", "core_accuracy"], abs=1e-12)
    seen = held_out_composites(copied, "leaf", decisions)
    for name, of in (("after", "flip_rate"), ("control", "flip_rate_control")):
        turned = seen.turned(copied.head, 0, name)
        assert turned.mean() == pytest.approx(rates["leaf", of], abs=1e-12)


def test_what_was_made_for_models_is_not_made_again(
    copied: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions, encoded = tags(copied), []
    make_trials(copied, decisions, ["noise", "flips"])
    assert [s.kind for s in Outcomes(copied, decisions).missing(ALL)] == [MASKED, CONTROL]
    forward = trials.encode_padded
    monkeypatch.setattr(
        trials, "encode_padded", lambda m, x, n: (encoded.append(len(x)), forward(m, x, n))[1]
    )
    table = measured(copied, workspace_of(copied))
    assert {"flip_rate", "flip_rate_control", "core_accuracy"} <= set(table["measure"])
    held = copied.images.query("label == 'leaf' and split == 'test'")
    objects = int((held["object_mask"] != "").sum())
    put_in = 2 * DONORS * TARGETS  # with pixels, and the control
    part = held.loc[sample(held.index.tolist(), FILLED), "object_mask"]
    fills = 2 * len(OTHER_FILLS) * int((part != "").sum())  # what stands there instead of noise
    assert sum(encoded) == 2 * N + 2 * objects + put_in + fills  # controls; object and background
    (note,) = table.query("label == 'leaf' and measure == 'background_noise_accuracy'")["note"]
    assert f"by fill, on {fills // 4} images: noise" in note
    other = unmeasured(copied, tmp_path / "afresh")
    afresh = measured(other, workspace_of(other))
    pd.testing.assert_frame_equal(table, afresh)


def test_stored_and_fresh_outcomes_are_the_same(copied: Audit, tmp_path: Path) -> None:
    decisions, model = tags(copied), load_white_box("x")
    kept = Outcomes(copied, decisions)
    kept.make(ALL, model=model)
    other = unmeasured(copied, tmp_path / "afresh")
    read, afresh = Outcomes(copied, decisions), Outcomes(other, tags(other))
    assert read.missing(ALL) == []
    assert {step.kind for step in afresh.missing(ALL)} == {NOISE, MASKED, PASTED, CONTROL}
    before = names(copied)
    afresh.make(ALL, model=model)
    assert names(copied) == names(other) == before
    pd.testing.assert_frame_equal(read.noise("leaf").table, afresh.noise("leaf").table)
    pd.testing.assert_frame_equal(read.pasted("leaf").table, afresh.pasted("leaf").table)
    trial = noise_trial(copied, "leaf", decisions.spurious["leaf"], decisions.core["leaf"], model)
    for name in REGIONS:
        assert np.array_equal(trial.correct[name], read.noise("leaf").correct[name], equal_nan=True)


def test_another_tag_elsewhere_leaves_a_class_in_place(copied: Audit) -> None:
    Outcomes(copied, tags(copied)).make(ALL, model=load_white_box("x"))
    before, store = names(copied), TagStore.open(workspace_of(copied))
    store.add("ann", copied.id, CandidateKey("pond", NEURON, GREEN), Tag.SPURIOUS)
    steps = Outcomes(copied, tags(copied)).missing(ALL)
    assert {step.label for step in steps} == {"pond"}
    store.add("ann", copied.id, CandidateKey("leaf", NEURON, GREEN), Tag.SPURIOUS)
    steps = Outcomes(copied, tags(copied)).missing(ALL)
    assert {s.kind for s in steps if s.label == "leaf"} == {NOISE, PASTED, CONTROL}
    assert names(copied) == before


def test_core_tags_change_the_noise_alone(copied: Audit) -> None:
    Outcomes(copied, tags(copied)).make(ALL, model=load_white_box("x"))
    TagStore.open(workspace_of(copied)).add(
        "ann", copied.id, CandidateKey("leaf", NEURON, GREEN), None
    )
    assert [s.kind for s in Outcomes(copied, tags(copied)).missing(ALL)] == [NOISE]


@pytest.mark.parametrize("changed", ["audit", "head", "sigma"])
def test_keys_change_with_what_they_depend_on(copied: Audit, changed: str) -> None:
    decisions = tags(copied)
    first = Outcomes(copied, decisions)
    paths = {first.path(kind, "leaf") for kind in ALL}
    if changed == "sigma":
        assert not paths & {first.path(kind, "leaf", 0.5) for kind in (NOISE, MASKED)}
        return
    if changed == "audit":
        copied.manifest = replace(copied.manifest, fingerprint="another")
    else:
        path = copied.folder / "head" / "head.json"
        write_json(path, {**read_json(path), "key": "another"})
        copied = Audit(copied.folder)  # what is computed anew is opened anew
    second = Outcomes(copied, decisions)
    assert not paths & {second.path(kind, "leaf") for kind in ALL}


def test_features_are_left_out_beyond_the_budget(
    copied: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "PASTED_BUDGET", 0)
    decisions, model = tags(copied), load_white_box("x")
    made = Outcomes(copied, decisions)
    made.make([PASTED, CONTROL], model=model)
    assert read_array_of(made.path(PASTED, "leaf"), "after") is None
    before = Outcomes(copied, decisions).pasted("leaf").table
    found, features = pasted_features(copied, "leaf", decisions, lambda _: model)
    pd.testing.assert_frame_equal(found.table, before)
    assert set(features) == set(pasting.PASTES)
    assert read_array_of(made.path(PASTED, "leaf"), "after") is not None


def test_no_more_than_are_kept(copied: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "KEPT", {NOISE: 2, MASKED: 1, PASTED: 1, CONTROL: 1})
    store, model = TagStore.open(workspace_of(copied)), load_white_box("x")
    for neuron in (RED, GREEN, 2):
        store.add("ann", copied.id, CandidateKey("leaf", NEURON, neuron), Tag.SPURIOUS)
        Outcomes(copied, tags(copied)).make(ALL, model=model)
    kinds = sorted(name.partition("-")[0] for name in names(copied))
    assert kinds == ["control", "masked", "noise", "noise", "pasted"]
    assert Outcomes(copied, tags(copied)).missing(ALL) == []


def test_nowhere_to_store(copied: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise WorkspaceError("the disk is full")

    for name in ("write_frame", "replacing_folder"):
        monkeypatch.setattr(outcomes, name, full)
    made = Outcomes(copied, tags(copied))
    made.make(ALL, model=load_white_box("x"))
    assert made.missing(ALL) == []
    assert made.pasted("leaf").sources == 20


def test_a_killed_run_keeps_the_classes_that_it_finished(copied: Audit) -> None:
    store = TagStore.open(workspace_of(copied))
    store.add("ann", copied.id, CandidateKey("pond", NEURON, GREEN), Tag.SPURIOUS)
    decisions = tags(copied)

    def stop(progress: object) -> None:
        if progress.stage == "Pasting cues" and progress.unit == "classes" and progress.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Outcomes(copied, decisions).make(ALL, model=load_white_box("x"), report=stop)
    left = Outcomes(copied, decisions).missing(ALL)
    second = [*decisions.spurious][1]
    assert [(s.kind, s.label) for s in left if s.kind == PASTED] == [(PASTED, second)]
    assert not [s for s in left if s.kind in (NOISE, MASKED)]


@pytest.fixture
def cue_images(planted: Audit, tmp_path: Path) -> Path:
    folder = tmp_path / "cues"
    folder.mkdir()
    others = planted.images.query("label != 'leaf' and split == 'test' and patch")
    for path in others["path"].head(8):
        shutil.copy(planted.root / path, folder / Path(path).name)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_cue_images_are_read_once(
    copied: Audit, cue_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score(copied, "leaf", cue_images)
    with monkeypatch.context() as patch:
        forbid(patch)
        again = score(copied, "leaf", cue_images)
    assert again.score == first.score
    assert again.unreadable == first.unreadable
    pd.testing.assert_frame_equal(again.images, first.images)
    pd.testing.assert_frame_equal(again.table, first.table)
    assert len(stored_cues(copied, "leaf")) == 9
    assert is_scored(copied, "leaf", cue_images)
    (cue_images / "broken.png").write_bytes(b"still no image")
    assert not is_scored(copied, "leaf", cue_images)
    assert not is_scored(copied, "leaf", cue_images / "none")
    assert not is_scored(copied, "pond", cue_images)


def test_a_score_that_cannot_be_stored(
    copied: Audit, cue_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise WorkspaceError("the disk is full")

    monkeypatch.setattr(scores, "write_frame", full)
    assert score(copied, "leaf", cue_images).score.n_cue == 8
    assert stored_cues(copied, "leaf") is None
