"""Two networks wired by hand on the same images: figures, carried tags, parts of a logit."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.audits.set_pass import add_sets
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import CARRIED, NEURON, PCA
from core.errors import InputError
from core.measures.availability import missing
from core.measures.cells import NEEDS_TAGS, NEEDS_TRIALS
from core.measures.classes import ACCURACY, TAGGED, WIDEST, class_table, correlations
from core.measures.components import counterparts, logit_terms, margin_terms
from core.measures.effective_robustness import HIGH, LOW, axes, robustness
from core.measures.groups import _worst_of
from core.measures.published_line import published_line, published_table
from core.measures.scores import NEEDS_CUES, score_path
from core.measures.set_figures import accuracy_drop
from core.measures.several_audits import compare, compared, measure_missing, open_context
from core.measures.shared_images import shared_images
from core.statistics.intervals import auroc
from core.statistics.paired import mcnemar
from core.storage.files import write_frame
from core.storage.workspace import Workspace
from core.tags import carry
from core.tags.carry import ANNOTATOR, carry_tags, match_tags
from core.tags.decisions import decided, spuriosity_of
from core.tags.log import TagStore
from core.types import Subtype, Tag
from tests.conftest import tiny_request
from tests.core.audits import test_planted
from tests.core.audits.test_planted import COLOURS, WhiteBox
from tests.tiny import named

RED, GREEN = 0, 1
SEEDS = {"one": 0, "two": 1}


def wired_network(kind: str) -> WhiteBox:
    """The white box by name.

    ``two`` has its channels in another order and other noise, ``blind`` sees no colour. Channels
    answer from zero on: a flat picture would be below a threshold, the intercepts alone would give
    it a class, and nothing of an image would be needed for that.
    """
    with torch.random.fork_rng():
        torch.manual_seed(SEEDS.get(kind, 2))
        net = WhiteBox()
        with torch.no_grad():
            net.conv.bias[: len(COLOURS) + 1] = 0
        if kind != "one":
            order = torch.randperm(16)
            with torch.no_grad():
                if kind == "blind":
                    net.conv.weight[:] = net.conv.weight.mean(1, keepdim=True)
                net.conv.weight.copy_(net.conv.weight[order])
                net.conv.bias.copy_(net.conv.bias[order])
    return net


for kind in ("one", "two", "blind"):
    named(kind, partial(wired_network, kind), test_planted.PLAIN)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three audits of the same images; the first has the patch tagged. To be copied."""
    root = tmp_path_factory.mktemp("comparison")
    workspace = Workspace(root / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "N", {"train": 70, "test": 50})
        data = test_planted.draw_data(root / "data", 0.6)
        for name in ("one", "two", "blind"):
            request = tiny_request(data, name=name, model=f"tiny:{name}", batch_size=64)
            run_audit(request, workspace)
    first = Audit.open(workspace, "one")
    store = TagStore.open(workspace)
    store.add(
        "ann",
        first.id,
        CandidateKey("leaf", NEURON, RED),
        Tag.SPURIOUS,
        subtype=Subtype.BACKGROUND,
    )
    store.add("ann", first.id, CandidateKey("leaf", NEURON, GREEN), Tag.CORE)
    return root / "workspace"


@pytest.fixture
def wired(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    shutil.copytree(prepared, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def audits(workspace: Workspace, *names: str) -> list[Audit]:
    return [Audit.open(workspace, name) for name in names or ("one", "two")]


def test_shared_images_are_the_same_rows_for_every_model(wired: Workspace) -> None:
    one, two = audits(wired)
    shared = shared_images([one, two])
    assert len(shared.images) == 360
    assert len(shared.held) == 150
    assert (shared.held["split"] == "test").all()
    for audit in (one, two):
        slow = [bool(audit.images.at[i, "fair"]) for i in shared.held.index]
        assert shared.correct(audit).tolist() == slow


def test_nothing_in_common_is_said(wired: Workspace, tiny_audit: Audit) -> None:
    one, _ = audits(wired)
    with pytest.raises(InputError, match="share 0 images, none held out"):
        shared_images([one, tiny_audit])
    with pytest.raises(InputError, match="two or more different audits"):
        shared_images([one, one])


def test_changed_images_are_left_out(wired: Workspace) -> None:
    one, two = audits(wired)
    path = two.folder / "images.parquet"
    table = pd.read_parquet(path)
    table.loc[table["split"] == "test", "digest"] = [
        "0" if i < 5 else d for i, d in enumerate(table.loc[table["split"] == "test", "digest"])
    ]
    write_frame(path, table)
    shared = shared_images([one, Audit(two.folder)])
    assert len(shared.held) == 145
    assert "5 images have another content or label in 'two'" in shared.notes[0]


def test_without_tags_cells_say_what_is_missing(wired: Workspace) -> None:
    two, blind = audits(wired, "two", "blind")
    table = compare(open_context([two, blind], wired))
    missing = {
        name: table.rows[name, two.id].missing for name in (measure.name for measure in compared())
    }
    assert missing["accuracy"] == missing["calibration_error"] == ""
    assert missing["worst_group_accuracy"] == ""
    for name in ("mean_spurious_gap", "worst_spurious_gap", "core_accuracy", "flip_rate"):
        assert missing[name] == NEEDS_TAGS
    assert missing["auroc"] == NEEDS_CUES
    assert missing["parameters"] == NEEDS_TRIALS


def test_the_worst_group_and_its_resamples_are_those_of_its_images(wired: Workspace) -> None:
    two, blind = audits(wired, "two", "blind")
    context = open_context([two, blind], wired)
    held = context.shared.held
    attributes = list(two.summary.attributes)
    for audit in (two, blind):
        found = _worst_of(context, audit)
        assert not isinstance(found, str)
        right = pd.Series(context.shared.correct(audit).astype(float), held.index)
        slow, under = [], []
        for attribute in attributes:
            for label in context.shared.labels:
                mine = held["label"] == label
                weights = context.weights(label, int(mine.sum()))
                for value in sorted(set(held.loc[mine, attribute].astype(str))):
                    inside = (held.loc[mine, attribute].astype(str) == value).to_numpy()
                    slow.append((right[mine][inside].mean(), f"{label}, {attribute} = {value}"))
                    shares = (
                        weights[:, inside] @ right[mine][inside] / weights[:, inside].sum(axis=1)
                    )
                    under.append(shares)
        least = min(slow, key=lambda each: each[0])
        assert found.sampled.value == pytest.approx(least[0])
        assert found.note.startswith(f"{least[1]};")
        theirs = np.min(under, axis=0)
        assert found.sampled.samples.mean() == pytest.approx(theirs.mean(), abs=0.01)
        assert found.sampled.samples.std() == pytest.approx(theirs.std(), abs=0.01)
    assert context.kept["groups"]
    compare(context)
    assert not context.kept
    assert not context._weights


def test_accuracy_is_tested_by_mcnemar(wired: Workspace) -> None:
    one, two, blind = audits(wired, "one", "two", "blind")
    table = compare(open_context([one, two, blind], wired), "two")
    shared = table.shared
    for audit in (one, blind):
        cell = table.rows["accuracy", audit.id]
        mine, base = shared.correct(audit), shared.correct(two)
        p = mcnemar(int((base & ~mine).sum()), int((mine & ~base).sum()))
        assert cell.p == pytest.approx(p)
        assert cell.difference == pytest.approx(100 * (mine.mean() - base.mean()))
        assert cell.difference_low <= cell.difference <= cell.difference_high
        assert cell.p_holm >= cell.p
    own = table.rows["accuracy", two.id]
    assert np.isnan([own.difference, own.p]).all()
    tested = [c for c in table.rows.values() if c.p == c.p]
    assert table.tests == len(tested)
    with pytest.raises(InputError, match="baseline 'three' is not compared"):
        compare(table.context, "three")


def test_a_model_against_its_own_copy_differs_nowhere(wired: Workspace) -> None:
    one, _ = audits(wired)
    copy = wired.folder("0" * 12)
    shutil.copytree(one.folder, copy)
    wired.update("0" * 12, name="copy", id="0" * 12)
    store = TagStore.open(wired)
    for event in store.current(one.id):
        store.add(
            "ann", "0" * 12, CandidateKey(event.label, event.kind, event.component), event.tag
        )
    table = compare(open_context([one, Audit(copy)], wired))
    for name in ("accuracy", "mean_spurious_gap", "worst_group_accuracy", "calibration_error"):
        cell = table.rows[name, "0" * 12]
        assert cell.difference == 0
        assert cell.difference_low <= 0 <= cell.difference_high
        assert cell.p == 1
        assert not cell.certain


def test_carried_tags_find_the_patch_again(wired: Workspace) -> None:
    one, two = audits(wired)
    store = TagStore.open(wired)
    matches = carry_tags(one, two, store)
    spurious = next(m for m in matches if m.tag is Tag.SPURIOUS)
    assert spurious.quality > 0.9
    assert (spurious.n_fitted, spurious.n_judged) == (70, 50)
    event = next(e for e in store.current(two.id) if e.tag is Tag.SPURIOUS)
    assert event.annotator == f"{ANNOTATOR}one"
    assert event.kind == CARRIED
    assert event.subtype is Subtype.BACKGROUND
    assert "neuron 0 of 'leaf' in one" in str(event.reason)
    found = decided(two, store)
    assert not found.notes
    table = spuriosity_of(two, "leaf", found.spurious["leaf"])
    patch = two.images.loc[table["image_id"], "patch"].to_numpy(dtype=bool)
    assert auroc(table["spuriosity"].to_numpy(), patch) >= 0.9


def test_carrying_to_a_model_itself_would_return_the_component(wired: Workspace) -> None:
    one, _ = audits(wired)
    copy = wired.folder("0" * 12)
    shutil.copytree(one.folder, copy)
    wired.update("0" * 12, name="copy", id="0" * 12)
    store = TagStore.open(wired)
    store.add("bob", one.id, CandidateKey("leaf", PCA, 0), Tag.SPURIOUS)
    match = next(m for m in match_tags(one, Audit(copy), store) if m.candidate.key.kind == PCA)
    assert match.nearest == 0
    assert match.quality == pytest.approx(1, abs=1e-6)
    assert match.direction == pytest.approx(match.candidate.direction, rel=1e-5, abs=1e-5)


def test_a_weak_match_is_refused(wired: Workspace) -> None:
    one, blind = audits(wired, "one", "blind")
    store = TagStore.open(wired)
    matches = carry_tags(one, blind, store)
    refused = {m.tag: m.refused for m in matches}
    assert "weak match: correlation" in refused[Tag.SPURIOUS] + refused[Tag.CORE]
    carried = [e.tag for e in store.current(blind.id)]
    assert carried == [m.tag for m in matches if not m.refused]


def test_a_direction_that_is_gone_is_a_note(wired: Workspace) -> None:
    one, two = audits(wired)
    store = TagStore.open(wired)
    carry_tags(one, two, store)
    shutil.rmtree(two.folder / "carried")
    found = decided(two, store)
    assert not found.spurious
    assert "the tag on carried 0 of 'leaf' is left out: there is none" in found.notes


def test_carrying_again_changes_nothing_and_follows_the_source(wired: Workspace) -> None:
    one, two = audits(wired)
    store = TagStore.open(wired)
    carry_tags(one, two, store)
    before = store.history(two.id)
    carry_tags(one, two, store)
    assert store.history(two.id) == before
    store.add("ann", one.id, CandidateKey("leaf", NEURON, RED), Tag.SPURIOUS, called="patch")
    assert "patch (neuron 0)" in {match.title for match in carry_tags(one, two, store)}
    assert [e.called for e in store.current(two.id) if e.tag is Tag.SPURIOUS] == ["patch"]
    store.add("ann", one.id, CandidateKey("leaf", NEURON, RED), None)
    carry_tags(one, two, store)
    assert [e.tag for e in store.current(two.id)] == [Tag.CORE]


def test_people_keep_their_own_tags(wired: Workspace) -> None:
    one, two = audits(wired)
    store = TagStore.open(wired)
    store.add("bob", two.id, CandidateKey("leaf", PCA, 2), Tag.CORE)
    assert all("people tagged class 'leaf'" in m.refused for m in carry_tags(one, two, store))
    with pytest.raises(InputError, match="to another audit"):
        match_tags(one, one, store)
    with pytest.raises(InputError, match="no candidate decided core or spurious"):
        match_tags(Audit.open(wired, "blind"), two, store)


def test_too_few_images_are_no_match(wired: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "FEWEST", 60)
    one, two = audits(wired)
    matches = carry_tags(one, two, TagStore.open(wired))
    assert all("120 shared images, 70 of them" in m.refused for m in matches)


def test_every_cell_is_there_after_measuring(wired: Workspace, tmp_path: Path) -> None:
    one, two = audits(wired)
    carry_tags(one, two, TagStore.open(wired))
    context = open_context([one, two], wired)
    alone = one.images.query("label == 'pond' and patch")["path"].head(8)
    (tmp_path / "cue").mkdir()
    for name in alone:
        shutil.copy(one.root / name, tmp_path / "cue")
    measure_missing(context, {"leaf": tmp_path / "cue"})
    table = compare(context)
    for (name, audit), cell in table.rows.items():
        assert not cell.missing, name
        assert cell.low <= cell.value + 1e-9, name
        assert cell.value - 1e-9 <= cell.high, name
        if audit != one.id:
            assert cell.difference_low <= cell.difference + 1e-9, name
            assert cell.difference - 1e-9 <= cell.difference_high, name
    assert table.rows["parameters", one.id].value == 16 * 28 + 17 * 3
    assert [w for a in (one, two) for w in missing(a, context.decisions[a.id])] == []
    written = score_path(one, "leaf").stat().st_mtime_ns
    measure_missing(context, {"leaf": tmp_path / "cue"})
    assert score_path(one, "leaf").stat().st_mtime_ns == written


def test_trials_are_made_once_and_only_with_the_model(
    wired: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = audits(wired)
    carry_tags(one, two, TagStore.open(wired))
    measure_missing(open_context([one, two], wired))
    monkeypatch.setattr("core.models.load.load_model", None)
    measure_missing(open_context(audits(wired), wired))
    store = TagStore.open(wired)
    store.add("ann", one.id, CandidateKey("leaf", NEURON, GREEN), None)
    assert missing(one, decided(one, store)) == ["noise"]  # a core tag cuts out no cue
    store.add("ann", one.id, CandidateKey("leaf", NEURON, GREEN), Tag.SPURIOUS)
    assert missing(one, decided(one, store)) == ["noise", "flips", "on_cue"]


def test_classes_and_their_correlation(wired: Workspace) -> None:
    one, two = audits(wired)
    carry_tags(one, two, TagStore.open(wired))
    context = open_context([one, two], wired)
    tagged = class_table(context, TAGGED)
    assert tagged["label"].tolist() == ["leaf", "leaf"]
    mean = compare(context).rows["mean_spurious_gap", one.id]
    assert tagged["value"].iloc[0] == pytest.approx(mean.value)
    accuracy = class_table(context, ACCURACY)
    assert len(accuracy) == 6
    weighted = accuracy[accuracy["audit"] == one.id]
    assert weighted["value"].mean() == pytest.approx(
        100 * compare(context).rows["accuracy", one.id].value
    )
    assert set(class_table(context, WIDEST)["audit"]) == {one.id, two.id}
    (pair,) = correlations(context, ACCURACY)
    values = accuracy.pivot(index="label", columns="audit", values="value")
    assert pair.pearson == pytest.approx(values.corr().iloc[0, 1])
    assert pair.reading == "3 classes are too few"


def test_robustness_between_high_and_low_spuriosity(wired: Workspace) -> None:
    one, two, blind = audits(wired, "one", "two", "blind")
    carry_tags(one, two, TagStore.open(wired))
    context = open_context([one, two, blind], wired)
    assert axes(context)[:3] == [HIGH, LOW, "all images"]
    found = robustness(context, HIGH, LOW)
    gap = context.gaps[one.id, "leaf"].gap
    row = found.points.set_index("audit").loc[one.id]
    assert (row["x"], row["y"]) == pytest.approx((gap.accuracy_high, gap.accuracy_low))
    assert found.line is None
    assert "2 models have both accuracies; a line needs 3" in found.note
    groups = robustness(context, "patch = True", "patch = False")
    held = one.images[one.images["split"] == "test"]
    row = groups.points.set_index("audit").loc[one.id]
    assert row["x"] == pytest.approx(held[held["patch"].astype(bool)]["fair"].mean())
    assert groups.line is not None
    with pytest.raises(InputError, match="axis 'x': choose one of"):
        robustness(context, "x", LOW)


def test_robustness_between_a_set_and_its_original(wired: Workspace, tmp_path: Path) -> None:
    """A set of the very images that are held out lies on y = x, also for a published line."""
    one, two = audits(wired, "one", "two")
    table = pd.read_csv(one.root / "m.csv").query("split == 'test'")
    table["path"] = [str(one.root / path) for path in table["path"]]
    table[["path", "label", "split"]].to_csv(tmp_path / "m.csv", index=False)
    bare = table[~table["patch"].astype(bool)][["path", "label", "split"]]
    bare.to_csv(tmp_path / "bare.csv", index=False)
    for audit in (one, two):
        sets = {name: str(tmp_path / f"{name}.csv") for name in ("m", "bare")}
        add_sets(audit, {"copy": sets["m"], "bare": sets["bare"]}, wired)
    context = open_context([one, two], wired)
    asked = ("evaluation set copy", "own images of the classes of copy")
    assert tuple(axes(context)[-2:]) == asked
    found = robustness(context, *asked)
    assert found.points["x"].tolist() == found.points["y"].tolist()
    assert found.points["n_x"].tolist() == [len(context.shared.held)] * 2
    assert found.points["x"].iloc[0] == pytest.approx(context.shared.correct(one).mean())
    assert (found.points["drop"] == 0).all()
    lost = robustness(context, "own images of the classes of bare", "evaluation set bare").points
    known = accuracy_drop(context.sets["bare"][one.id])
    assert known is not None
    (row,) = lost[lost["audit"] == one.id][["drop", "drop_low", "drop_high"]].to_numpy()
    assert row == pytest.approx(known[1])
    assert row[0] < 0  # other classes are taken for the one with the patch
    assert "drop" not in robustness(context, "all images", "patch = True").points
    csv = tmp_path / "top1.csv"
    pd.DataFrame({"m": list("abc"), "v": [50, 70, 0], "w": [50.0, 70.0, 3.0]}).to_csv(csv)
    with pytest.raises(InputError, match="2 published models have both 'v' and 'w'"):
        published_line(published_table(csv), "v", "w")
    shares = [0.5, 0.6, 0.8]
    pd.DataFrame({"v": shares, "w": [expit(logit(v) - 1) for v in shares]}).to_csv(csv, index=False)
    line = published_line(published_table(csv), "v", "w")
    assert (line.slope, line.intercept, line.r2) == pytest.approx((1, -1, 1))
    above = robustness(context, *asked, published=line).points
    expected = 100 * (above["y"] - expit(logit(above["x"].to_numpy()) - 1))
    assert above["rho"].to_numpy() == pytest.approx(expected.to_numpy())
    assert not above["in_line"].any()
    with pytest.raises(InputError, match="has no column 'z'"):
        published_line(published_table(csv), "v", "z")
    with pytest.raises(InputError, match="needs two columns of accuracies"):
        published_table(b"model\na\n")


def test_parts_of_a_logit_add_up_in_both_models(wired: Workspace) -> None:
    one, two = audits(wired)
    image_id = one.images.query("label == 'leaf' and split == 'test'").index[0]
    terms = logit_terms(one, two, image_id, "leaf")
    for audit, side in ((one, "a"), (two, "b")):
        logit = audit.head.logits(audit.features([image_id]))[0, audit.head.index("leaf")]
        assert sum(getattr(t, side) for t in terms) == pytest.approx(logit, abs=1e-4)
    changes = [abs(t.change) for t in terms]
    assert changes == sorted(changes, reverse=True)
    margin = margin_terms(one, two, image_id, "leaf", "pond")
    logits = two.head.logits(two.features([image_id]))[0]
    wanted = logits[two.head.index("leaf")] - logits[two.head.index("pond")]
    assert sum(t.b for t in margin) == pytest.approx(wanted, abs=1e-4)


def test_counterparts_are_one_to_one(wired: Workspace) -> None:
    one, two = audits(wired)
    pairs = counterparts(one, two, "leaf")
    assert pairs
    assert len({i for i, *_ in pairs}) == len({j for _, j, _ in pairs}) == len(pairs)
    assert counterparts(one, one, "leaf")[0][2] == pytest.approx(1)


def test_command_line(wired: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--workspace", str(wired.root)]
    assert main(["compare", "one", "two", "--carry-tags-from", "one", "--json", *where]) == 0
    said = json.loads(capsys.readouterr().out)
    two = said["audits"][1]["id"]
    assert said["held_out"] == 150
    assert len(said["cells"]) == 2 * len(compared())
    assert {m["tag"] for m in said["carried"][two]} == {"core", "spurious"}
    assert main(["compare", "one", "two", "--baseline", "two", "--stored", *where]) == 0
    text = capsys.readouterr().out
    assert "differences are to two" in text
    assert NEEDS_CUES in text
    assert main(["compare", "one", *where]) == 2
    assert "two or more" in capsys.readouterr().err
    assert main(["compare", "one", "two", "--cue-images", "leaf", *where]) == 2
    assert "give CLASS=DIR" in capsys.readouterr().err
