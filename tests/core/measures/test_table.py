"""The table of measures on a network wired by hand, whose class "leaf" leans on a red patch."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.commands import measures as measure_commands
from core.errors import DataError, InputError
from core.measures.flips import turned
from core.measures.gaps import _alike
from core.measures.measure import Sample
from core.measures.measure_requests import MeasureRequest, ScoreRequest
from core.measures.registry import MEASURES
from core.measures.rows import COLUMNS
from core.measures.scope import Scope
from core.measures.scores import score
from core.measures.stored import measured
from core.models.model import Model
from core.storage.files import dumps
from core.storage.workspace import Workspace
from core.tags.decisions import decided, spuriosity_of, values_of
from core.tags.log import TagStore
from core.trials import encoder as trials
from core.trials import noised
from core.trials import pasted_cues as pasting
from core.trials.outcomes import paste_and_say
from core.trials.paste import choose, paste
from core.trials.watermark import MISSING
from core.types import Tag
from tests.core.audits import test_planted
from tests.core.conftest import GREEN, RED, N, load_white_box, unmeasured, workspace_of


@pytest.fixture(scope="module")
def table(planted: Audit, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    audit = unmeasured(planted, tmp_path_factory.mktemp("table") / "workspace")
    return measured(audit, workspace_of(audit))


def pasted(audit: Audit, spurious: list, model: Model) -> pasting.Pasted:
    return paste_and_say(audit, "leaf", spurious, pasting.PASTES, model, model)[0]


def value(table: pd.DataFrame, name: str, label: str = "leaf") -> pd.Series:
    rows = table[(table["measure"] == name) & (table["label"] == label)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_table_is_tidy(table: pd.DataFrame) -> None:
    assert table.columns.tolist() == COLUMNS
    assert set(table["measure"]) <= {*MEASURES, "note"}
    figures = table[table["measure"] != "note"]
    assert figures["value"].notna().all()
    assert (figures["n"] > 0).all()
    assert (figures["split"] == "test").all()
    bounded = figures[figures["low"].notna()]
    assert (bounded["low"] <= bounded["value"] + 1e-12).all()
    assert (bounded["value"] <= bounded["high"] + 1e-12).all()
    json.loads(dumps(table.to_dict("records")))


def test_gap_equals_a_slow_replica(planted: Audit, table: pd.DataFrame) -> None:
    images = planted.images.query("label == 'leaf'")
    alpha = planted.features(images.index.tolist())[:, RED] * planted.head.weight[0, RED]
    train = (images["split"] == "train").to_numpy()
    z = (alpha - alpha[train].mean()) / alpha[train].std()
    held = [(s, c) for s, c, t in zip(z, images["fair"], train, strict=True) if not t]
    k = N // 3

    def accuracy(side: list[tuple[float, bool]]) -> float:
        """Of the k highest; those equal at the edge count with their mean."""
        edge = sorted(s for s, _ in side)[-k]
        above = [c for s, c in side if s > edge]
        equal = [c for s, c in side if s == edge]
        return (sum(above) + (k - len(above)) * np.mean(equal)) / k

    high, low = accuracy(held), accuracy([(-s, c) for s, c in held])
    found = value(table, "spurious_gap")
    assert found["value"] == pytest.approx(100 * (high - low), abs=1e-9)
    assert found["n"] == 2 * k
    assert value(table, "candidate_gap")["value"] == found["value"]
    assert value(table, "mean_spurious_gap", "")["value"] == pytest.approx(found["value"])
    assert value(table, "accuracy_high_spuriosity")["value"] == pytest.approx(high)


def test_spuriosity_shows_the_patch(planted: Audit) -> None:
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    assert [c.key.number for c in decisions.spurious["leaf"]] == [RED]
    assert [c.key.number for c in decisions.core["leaf"]] == [GREEN]
    found = spuriosity_of(planted, "leaf", decisions.spurious["leaf"])
    patch = planted.images.loc[found["image_id"], "patch"].astype(bool)
    assert roc_auc_score(patch, found["spuriosity"]) >= 0.95
    assert (np.diff(found["spuriosity"]) <= 0).all()
    assert found["rank"].tolist() == list(range(1, 2 * N + 1))
    assert (found["held_out"] == (found["split"] == "test")).all()


def test_the_gap_is_what_the_patch_does(planted: Audit, table: pd.DataFrame) -> None:
    held = planted.images.query("label == 'leaf' and split == 'test'")
    shown = held["patch"].astype(bool)
    real = 100 * (held["fair"][shown].mean() - held["fair"][~shown].mean())
    found = value(table, "spurious_gap")
    assert found["reading"] == "clarifying"
    assert found["low"] <= real <= found["high"]


def test_classes_without_tags_have_no_rows_but_a_note(table: pd.DataFrame) -> None:
    needs_none = ["group_accuracy", "worst_group_accuracy", "watermark_flip_rate"]
    tagged = table[~table["measure"].isin(needs_none)]
    assert set(tagged["label"]) == {"leaf", ""}
    notes = table.query("measure == 'note'")["note"].tolist()
    assert [note for note in notes if note != MISSING] == [
        "2 of 3 classes have no candidate decided spurious and so no rows: pond, sky"
    ]


def test_a_pasted_patch_turns_others_into_leaves(table: pd.DataFrame) -> None:
    found, control = value(table, "flip_rate"), value(table, "flip_rate_control")
    assert found["low"] > control["high"]
    assert found["reading"] == "the cue triggers the class"
    assert "20 cue masks" in found["note"]
    assert found["n"] == 2 * N
    in_front = value(table, "flip_rate_object_in_front")
    assert in_front["n"] == 60
    assert in_front["value"] > control["high"]


def test_without_masks_overlays_are_pasted(planted: Audit) -> None:
    audit, model = Audit(planted.folder), load_white_box("x")
    audit.images = planted.images.drop(columns=["cue_mask", "object_mask"])
    spurious = decided(planted, TagStore.open(workspace_of(planted))).spurious["leaf"]
    found = pasted(audit, spurious, model)
    assert found.kind == "overlays above half of their maximum"
    assert (found.table["in_front"] == -1).all()
    made: Any = SimpleNamespace(pasted=lambda *_: found, number=lambda _: 0)
    scope = Scope(audit, decided(planted, TagStore.open(workspace_of(planted))), made=made)
    assert turned(scope, "leaf", version="in_front") is None  # no row over no image
    after = turned(scope, "leaf", version="after")
    assert isinstance(after, Sample)
    assert len(after.ids) == 2 * N
    assert found.turned(0).mean() > found.turned(0, "control").mean() + 0.1
    cues = pasting.cues_of(audit, "leaf", spurious, model)
    assert np.mean([mask[:14, :14].sum() / mask.sum() for mask in cues.masks]) > 0.9


def test_groups_equal_plain_means(planted: Audit, table: pd.DataFrame) -> None:
    held = planted.images.query("split == 'test'")
    means = held.groupby(["label", "patch"])["fair"].mean()
    rows = table.query("measure == 'group_accuracy'")
    assert len(rows) == 6
    for row in rows.itertuples():
        shown = row.subject == "patch = True"
        assert row.value == pytest.approx(means[row.label, shown], abs=1e-12)
    worst = table.query("measure == 'worst_group_accuracy'").iloc[0]
    assert worst["value"] == pytest.approx(means.min())


def test_noise_of_nothing_is_clean(planted: Audit, tmp_path: Path) -> None:
    audit = unmeasured(planted, tmp_path / "workspace")
    found = measured(audit, workspace_of(audit), "noise", sigmas=(0.0,))
    clean = found.query("measure == 'clean_accuracy' and label == 'leaf'").set_index("subject")
    for name in ("core_accuracy", "spurious_accuracy", "foreground_noise_accuracy"):
        same = clean.loc[f"sigma 0, {name}"]
        assert (value(found, name)["value"], value(found, name)["n"]) == (same["value"], same["n"])
    assert value(found, "relative_core_sensitivity")["value"] == 0
    assert value(found, "relative_foreground_sensitivity")["value"] == 0
    assert value(found, "foreground_noise_accuracy")["n"] == 30


def test_noise_does_not_depend_on_the_batch(planted: Audit) -> None:
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    spurious, core = decisions.spurious["leaf"], decisions.core["leaf"]
    found = []
    for size in (64, 7):
        audit = Audit(planted.folder)
        compute = replace(audit.manifest.compute, batch_size=size, precision="fp32")
        audit.manifest = replace(audit.manifest, compute=compute)
        model = load_white_box("x")
        found.append(noised.noise_trial(audit, "leaf", spurious, core, model, sigma=0.5))
    for name in noised.REGIONS:
        assert np.array_equal(found[0].correct[name], found[1].correct[name], equal_nan=True)
    assert (found[0].correct["spurious_accuracy"] != found[0].clean).any()


def test_every_image_is_encoded_and_decoded_once_per_trial(
    planted: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, read = [], []
    forward, image = trials.encode_padded, Audit.image

    def counting(model, pixels, size):
        counted.append(len(pixels))
        return forward(model, pixels, size)

    monkeypatch.setattr(trials, "encode_padded", counting)
    monkeypatch.setattr(Audit, "image", lambda self, i: (read.append(i), image(self, i))[1])
    spurious = decided(planted, TagStore.open(workspace_of(planted))).spurious["leaf"]
    found = pasted(planted, spurious, load_white_box("x")).table
    assert sum(counted) == 2 * 2 * N  # no cue hides an object: in front of it is the same picture
    assert set(counted[:-1]) == {64}
    assert len(read) == 2 * N + found_sources(planted)
    front = found[found["in_front"] >= 0]
    assert len(front) == 60
    assert (front["in_front"] == front["after"]).all()
    monkeypatch.setattr(trials, "IMAGES", 50)
    assert len(pasted(planted, spurious, load_white_box("x")).table) == 50


def found_sources(audit: Audit) -> int:
    """Images that the cue is cut out of: training images of the class, read besides the targets."""
    shown = audit.images.query("label == 'leaf' and split == 'train' and cue_mask != ''")
    return min(len(shown), pasting.SOURCES)


def test_pasted_equals_a_slow_replica(planted: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    half = np.zeros((32, 32), bool)
    half[:, :8] = True  # an object that the cue, in the corner, hides in part
    masks = {"object_mask": half}
    real = trials.mask_in_view
    monkeypatch.setattr(trials, "mask_in_view", lambda a, i, c: masks.get(c, real(a, i, c)))
    monkeypatch.setattr(trials, "MEMORY", 40 * 32 * 32 * 3)  # room for some of the pictures
    spurious = decided(planted, TagStore.open(workspace_of(planted))).spurious["leaf"]
    model = load_white_box("x")
    cues = pasting.cues_of(planted, "leaf", spurious, model)
    found = pasted(planted, spurious, model)
    ids = trials.trial_ids(planted, outside="leaf")
    assert found.table["image_id"].tolist() == ids
    labels = planted.images.loc[ids, "label"].tolist()
    others = pasting._others(ids, labels, seed=0)
    slow = dict(zip([*ids], trials.pictures(planted, ids), strict=True))
    for row, pick in enumerate(choose(ids[:40], len(cues.masks))):
        target, source, mask = slow[ids[row]], cues.pixels[pick], cues.masks[pick]
        changed = {
            "after": paste(target, source, mask),
            "control": paste(target, slow[others[row]], mask),
            "in_front": paste(target, source, mask & ~half),
        }
        for name, pixels in changed.items():
            (expected,) = trials.predictions_of(planted, model, [pixels])
            assert found.table[name].iloc[row] == expected
    assert (found.table["in_front"] != found.table["after"]).any()


def test_reliability(planted: Audit, table: pd.DataFrame) -> None:
    held = planted.images.query("split == 'test'")
    features = planted.features(held.index.tolist())
    rows = table.query("measure == 'reliability'").set_index("note")
    for tag, neuron in (("spurious", RED), ("core", GREEN)):
        alpha = features[:, neuron] * planted.head.weight[0, neuron]
        first = sorted(range(len(held)), key=lambda i: (-alpha[i], i))[:N]
        expected = np.mean([held["label"].iloc[i] == "leaf" for i in first])
        assert rows.loc[f"tagged {tag}", "value"] == pytest.approx(expected, abs=1e-9)
    assert rows.loc["tagged core", "value"] > rows.loc["tagged spurious", "value"]


def test_regions_without_exact_maps(planted: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Audit, "exact_maps", False)
    ids = planted.images.query("label == 'leaf' and patch and split == 'test'").index[:3].tolist()
    spurious = decided(planted, TagStore.open(workspace_of(planted))).spurious["leaf"]
    found = trials.region(planted, spurious, ids, load_white_box("x"))
    assert found.shape == (3, 32, 32)
    assert found.min() >= 0
    assert 0.8 < found.max() <= 1
    assert trials.region(planted, [], ids, load_white_box("x")).max() == 0


def test_without_a_held_out_split(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": 24})
        audit = test_planted.audited(tmp_path, 0.7)
    TagStore.open(workspace_of(audit)).add(
        "ann", audit.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS
    )
    found = measured(audit, workspace_of(audit))
    splits = found.query("measure != 'note'").groupby("measure")["split"].unique()
    assert splits["spurious_gap"].tolist() == ["out-of-fold"]
    assert splits["flip_rate"].tolist() == ["train (the head was fitted on these images)"]
    assert "no candidate is tagged core" in " ".join(found.query("measure == 'note'")["note"])
    assert value(found, "spurious_gap")["n"] == 2 * 10


def test_a_neuron_that_is_no_candidate_counts_too(
    planted: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = planted.class_arrays(0)
    r = arrays.components
    known = arrays.candidate(NEURON, int(arrays.neurons[0]))
    computed = planted.alpha(known, arrays.image_ids)
    assert values_of(planted, "leaf", [known])[:, 0] == pytest.approx(computed, abs=1e-5)
    fewer = replace(arrays, neurons=arrays.neurons[1:], alpha=np.delete(arrays.alpha, r, axis=1))
    assert fewer.alpha_of(known.key) is None
    monkeypatch.setattr(planted, "arrays_of", lambda _: fewer)
    assert values_of(planted, "leaf", [known])[:, 0] == pytest.approx(computed)
    assert values_of(planted, "leaf", []).shape == (2 * N, 0)


def test_nothing_is_tagged(planted: Audit, tmp_path: Path) -> None:
    audit = unmeasured(planted, tmp_path / "workspace")
    found = measured(audit, Workspace(tmp_path), "gap")
    assert found["measure"].tolist() == ["note"]
    assert "3 of 3 classes" in found["note"][0]


def test_tags_that_lead_nowhere_are_said(planted: Audit, tmp_path: Path) -> None:
    store = TagStore.open(Workspace(tmp_path))
    store.add("ann", planted.id, CandidateKey("leaf", PCA, 999), Tag.SPURIOUS)
    store.add("ann", planted.id, CandidateKey("gone", NEURON, 1), Tag.SPURIOUS)
    store.add("ann", planted.id, CandidateKey("sky", NEURON, 2), Tag.SPURIOUS)
    store.add("bob", planted.id, CandidateKey("sky", NEURON, 2), Tag.CORE)
    found = decided(planted, store)
    assert (found.spurious, found.core) == ({}, {})
    assert [n.split(" is left out")[0] for n in found.notes] == [
        "the tag on neuron 1 of 'gone'",
        "the tag on pca 999 of 'leaf'",
    ]
    assert [c.key.number for c in decided(planted, store, 1).core.get("sky", [])] == []


@pytest.fixture
def cue_images(planted: Audit, tmp_path: Path) -> Path:
    """Images of other classes with the patch, one damaged file and one text."""
    folder = tmp_path / "cues" / "deep"
    folder.mkdir(parents=True)
    others = planted.images.query("label != 'leaf' and split == 'test' and patch")
    for path in others["path"].head(50):
        shutil.copy(planted.root / path, folder / Path(path).name)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("words")
    return folder.parent


def test_score_equals_the_stored_features(planted: Audit, cue_images: Path) -> None:
    found = score(planted, "leaf", cue_images)
    held = planted.images.query("label == 'leaf' and split == 'test'")
    others = planted.images.query("label != 'leaf' and split == 'test' and patch").head(50)
    p = []
    for ids in (held.index.tolist(), others.index.tolist()):
        logits = planted.head.logits(planted.features(ids)).astype(np.float64)
        p.append(np.exp(logits[:, 0]) / np.exp(logits).sum(axis=1))
    truth, values = np.repeat([1, 0], [N, 50]), np.concatenate(p)
    assert found.score.average_precision == pytest.approx(
        average_precision_score(truth, values), abs=1e-9
    )
    assert found.score.auroc == pytest.approx(roc_auc_score(truth, values), abs=1e-9)
    assert found.score.chance == pytest.approx(N / (N + 50))
    assert found.share_cue == pytest.approx((others["prediction"] == 0).mean())
    assert [path for path, _ in found.unreadable] == ["deep/broken.png"]
    assert len(found.images) == 50
    assert found.images["probability"].is_monotonic_decreasing


def command(adds, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    adds(parser)
    return parser.parse_args(arguments)


def test_commands(planted: Audit, cue_images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where, name = workspace_of(planted), planted.name
    options = command(MeasureRequest.add_arguments, [name, "--what", "gap"])
    result, text = measure_commands.measure(options, where)
    assert result["audit"] == planted.id
    assert {m["measure"] for m in result["measures"]} >= {"spurious_gap", "note"}
    assert "clarifying" in text
    assert "note: 2 of 3 classes" in text
    more = ["--class", "leaf", "--cue-images", str(cue_images)]
    options = command(MeasureRequest.add_arguments, [name, "--what", "score", *more])
    by_table = measure_commands.measure(options, where)[0]["measures"]
    result, text = measure_commands.score(command(ScoreRequest.add_arguments, [name, *more]), where)
    assert result["auroc"] == by_table[1]["value"]
    assert result["unreadable"][0]["path"] == "deep/broken.png"
    assert "left out: deep/broken.png" in text
    json.loads(dumps(result))
    assert capsys.readouterr().out == ""


def test_bad_input(planted: Audit, tmp_path: Path, cue_images: Path) -> None:
    where = workspace_of(planted)
    with pytest.raises(InputError, match="--what 'all of it': choose gap, groups, noise, flip"):
        measured(planted, where, "all of it")
    with pytest.raises(InputError, match="--sigma -1: must be at least 0"):
        measured(planted, where, "noise", sigmas=(0.25, -1))
    with pytest.raises(InputError, match="threshold 0: must be at least 1"):
        measured(planted, where, "gap", threshold=0)
    with pytest.raises(InputError, match="has no class 'tree'"):
        score(planted, "tree", cue_images)
    with pytest.raises(DataError, match="is not a folder"):
        score(planted, "leaf", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        score(planted, "leaf", tmp_path / "empty")
    (tmp_path / "empty" / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match="none of 1 file could be read"):
        score(planted, "leaf", tmp_path / "empty")
    options = command(MeasureRequest.add_arguments, [planted.name, "--what", "score"])
    with pytest.raises(InputError, match="needs --class NAME and --cue-images DIR"):
        measure_commands.measure(options, where)
    for more in (["--what", "gap", "--class", "leaf"], ["--class", "leaf"]):
        options = command(MeasureRequest.add_arguments, [planted.name, *more])
        with pytest.raises(InputError, match="belong together"):
            measure_commands.measure(options, where)


def test_a_class_without_errors_has_none_to_compare() -> None:
    assert _alike(float("nan")) == "every image is right, or every one wrong: no errors to compare"
    assert _alike(0.25) == "errors go along with the cue as with random directions: p 0.250"


def test_a_thousand_classes_look_their_images_up_once(
    planted: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every measure asks for every class's images; of a million each look takes a second."""
    decisions = decided(planted, TagStore.open(workspace_of(planted)))
    scope, asked, plain = Scope(planted, decisions), [], Audit.images_of
    monkeypatch.setattr(
        Audit, "images_of", lambda self, ids: (asked.append(len(ids)), plain(self, ids))[1]
    )
    held = planted.images[planted.held_out]
    for label in [*held["label"].unique(), "nobody"]:
        assert scope.mine(label) == held.index[held["label"] == label].tolist()
    assert scope.mine() == held.index.tolist()
    assert asked == [len(held)]
