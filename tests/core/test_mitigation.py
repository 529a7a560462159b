"""Derived audits of corrected models, on the white box whose class "leaf" leans on a red patch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import core.data.decode
import core.features.extract
import core.models.checkpoint
import core.models.load
from core.__main__ import main
from core.analysis import fitting_rows
from core.annotate.tags import TagStore
from core.audit import Audit, carried_path
from core.errors import InputError, WorkspaceError
from core.measures.decisions import decided
from core.measures.table import measure
from core.mitigation import networks as registry
from core.mitigation.composites import map_pairs, mask_pairs
from core.mitigation.derived import CHECKPOINT, Corrected, image_table, link
from core.mitigation.effect import COLUMNS, MEANING, object_shares
from core.mitigation.findings import cue_of, find, gather, has
from core.mitigation.run import MitigateRequest, carry_tags, parse_options, run_mitigation
from core.mitigation.stored import changed, effect_table, is_derived, parent_of, tradeoff_table
from core.mitigation.vectors import QUICK as QUICK_KINDS
from core.mitigation.vectors import concept_rows
from core.models.linear import Correction, Head, read_head, store_head
from core.store import Workspace, read_json
from core.types import Kind, Progress, Tag
from tests.core import test_planted
from tests.core.test_measure_table import GREEN, RED, load_white_box

N = 60
QUICK: dict[str, Any] = {"pictures": False}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspace with the audit "planted 0.7", the patch tagged spurious; to be copied."""
    root = tmp_path_factory.mktemp("mitigation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_planted, "load_white_box", load_white_box)
        patch.setattr(test_planted, "N", {"train": N, "test": N})
        audit = test_planted.audited(root, 0.7)
    store = TagStore.open(Workspace(root / "workspace"))
    store.add("ann", audit.id, "leaf", Kind.NEURON, RED, Tag.SPURIOUS)
    store.add("ann", audit.id, "leaf", Kind.NEURON, GREEN, Tag.CORE)
    store.add("ann", audit.id, "pond", Kind.PCA, 0, Tag.SPURIOUS)
    return audit.folder.parent.parent


@pytest.fixture(autouse=True)
def white_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """The white box; and folds of a sweep start from the head as it is, which fits no probe."""
    monkeypatch.setattr("core.models.load.load_model", load_white_box)
    monkeypatch.setattr("core.mitigate.choice.fold_head", lambda head, _: head)


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(prepared, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def parent(workspace: Workspace) -> Audit:
    return Audit.open(workspace, workspace.manifests()[0]["name"])


def run(workspace: Workspace, parent: Audit, method: str = "rrclarc", **more: Any) -> Audit:
    given = {"name": "fixed", "classes": ("leaf",), **more}
    return run_mitigation(MitigateRequest(parent.name, method, **given), workspace)


def cell(audit: Audit, name: str, label: str = "leaf") -> pd.Series:
    table = effect_table(audit)
    rows = table[(table["measure"] == name) & (table["label"] == label)]
    assert len(rows) == 1
    return rows.iloc[0]


# What is computed


@pytest.mark.parametrize(
    "method", ["spufix", "head", "pclarc", "aclarc", "rclarc", "projection", "rrclarc"]
)
def test_a_method_of_the_head_decodes_no_image_and_loads_no_model(
    workspace: Workspace, parent: Audit, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refused(*arguments: Any, **_: Any) -> Any:
        calls.append(arguments)
        raise AssertionError("an image was decoded or a model loaded")

    monkeypatch.setattr(core.data.decode, "read_image", refused)
    monkeypatch.setattr(core.features.extract, "read_image", refused)
    monkeypatch.setattr(core.features.extract, "encode_padded", refused)
    monkeypatch.setattr(core.models.load, "load_model", refused)
    audit = run(workspace, parent, method, **QUICK)
    assert not calls
    assert is_derived(audit)
    assert audit.manifest["mitigation"]["encoder_changed"] is False
    assert parent_of(audit, workspace).id == parent.id
    ids = audit.images.index.tolist()
    np.testing.assert_array_equal(audit.features(ids), parent.features(ids))
    assert "needs pictures" in cell(audit, "flip_rate")["note"]


def test_shards_are_linked_and_outlive_the_parent(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, **QUICK)
    mine = sorted(audit.folder.glob("shards/*/features.npy"))
    theirs = sorted(parent.folder.glob("shards/*/features.npy"))
    assert mine
    assert [p.stat().st_ino for p in mine] == [p.stat().st_ino for p in theirs]
    workspace.delete(parent.id)
    again = Audit(audit.folder)
    assert len(again.features(again.images.index.tolist())) == len(again.images)
    assert parent_of(again, workspace) is None


def test_a_link_falls_back_to_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("core.mitigation.derived.os.link", refused)
    (tmp_path / "a").write_text("words")
    link(tmp_path / "a", tmp_path / "b" / "c")
    assert (tmp_path / "b" / "c").read_text() == "words"
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["c"]


def test_the_same_command_opens_what_is_there(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = run(workspace, parent, **QUICK)
    monkeypatch.setattr("core.mitigation.run.derive", None)
    monkeypatch.setattr("core.mitigation.run.effects", None)
    assert run(workspace, parent, **QUICK).id == audit.id
    with pytest.raises(WorkspaceError, match="'fixed' exists with other settings: mitigation was"):
        run(workspace, parent, "spufix", **QUICK)
    with pytest.raises(InputError, match="is the audit itself"):
        run(workspace, parent, name=parent.name)


def test_a_run_that_was_stopped_goes_on(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("core.mitigation.derived.analyse", killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, parent, **QUICK)
    assert workspace.named("fixed")["state"] == "running"
    audit = run(workspace, parent, **QUICK)
    assert audit.manifest["state"] == "finished"
    with monkeypatch.context() as patch:
        patch.setattr("core.mitigation.run.effects", killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, parent, name="other", **QUICK)
    with pytest.raises(InputError, match="no table before and after yet"):
        effect_table(Audit.open(workspace, "other"))
    assert len(effect_table(run(workspace, parent, name="other", **QUICK)))


# What may be learnt from


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
    rows.to_parquet(path, index=False)
    facts = read_json(parent.folder / "head" / "head.json")
    oof = np.zeros((len(rows), 3), np.float32)
    oof[np.arange(len(rows)), [parent.head.index(v) for v in rows["label"]]] = 1
    store_head(parent.folder, parent.head, facts, oof)
    table, _ = image_table(parent)
    assert (table.frame["split"] == "train").all()
    audit = run(workspace, Audit(parent.folder), **QUICK)
    held = audit.held_out
    assert held.sum() == len(rows) // 3
    assert audit.manifest["mitigation"]["learnt_from"] == (~held).sum()
    assert "held-out part of" in audit.summary["held_out"]
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


# What it does


def test_the_cue_is_unlearnt_and_the_table_says_so(workspace: Workspace, parent: Audit) -> None:
    said: list[Progress] = []
    request = MitigateRequest(parent.name, "rrclarc", "fixed", classes=("leaf",))
    audit = run_mitigation(request, workspace, report=said.append)
    flips = cell(audit, "flip_rate")
    assert flips["before"] > 0.1
    assert flips["after"] < flips["before"] / 2
    assert flips["change_high"] < 0
    assert cell(audit, "sensitivity")["after"] < cell(audit, "sensitivity")["before"] / 2
    assert cell(audit, "accuracy", "")["change_low"] > -0.04
    assert {"Choosing the strength", "Measuring before and after"} <= {p.stage for p in said}
    assert any("accuracy" in p.figures for p in said)
    table = effect_table(audit)
    assert table.columns.tolist() == COLUMNS
    assert set(table["measure"]) <= set(MEANING)
    assert set(table["label"]) == {"", "leaf", "pond", "sky"}
    others = table[(table["label"] == "pond") & table["measure"].isin(["flip_rate", "sensitivity"])]
    assert len(others) == 2
    assert not others["acted_on"].any()
    assert table.loc[table["label"] == "leaf", "acted_on"].all()
    bounded = table[table["change_low"].notna()]
    assert (bounded["change_low"] <= bounded["change"] + 1e-9).all()
    assert (bounded["change"] <= bounded["change_high"] + 1e-9).all()
    assert (table.loc[table["after"].isna(), "note"] != "").all()


def test_before_is_what_the_measures_of_the_parent_say(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent)
    measured = measure(parent, workspace, "flip").set_index(["label", "measure"])["value"]
    for name in ("flip_rate", "flip_rate_control"):
        assert cell(audit, name)["before"] == pytest.approx(measured["leaf", name])
    assert cell(audit, "accuracy", "")["before"] == pytest.approx(parent.summary["accuracy"])
    assert cell(audit, "accuracy", "")["after"] == pytest.approx(audit.summary["accuracy"])
    again = measure(audit, workspace, "flip").set_index(["label", "measure"])["value"]
    assert cell(audit, "flip_rate")["after"] == pytest.approx(again["leaf", "flip_rate"], abs=0.02)


def test_composites_are_encoded_once_for_every_correction(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(workspace, parent)
    monkeypatch.setattr("core.measures.outcomes.encoded", None)
    audit = run(workspace, parent, "spufix", name="second")
    assert cell(audit, "flip_rate")["n"] > 0


def test_changed_images_are_the_flipped_predictions(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, **QUICK)
    found = changed(audit)
    old, new = (a.images[a.held_out] for a in (parent, audit))
    moved = old["prediction"] != new["prediction"]
    assert sorted(sum(found.values(), [])) == sorted(old.index[moved])
    assert new.loc[found["better"], "correct"].all()
    assert old.loc[found["worse"], "correct"].all()
    assert found["better"]


def test_the_tradeoff_holds_every_strength(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, strength=7.0)
    table = tradeoff_table(audit)
    taken = table[table["chosen"]].iloc[0]
    for row, which in ((table.iloc[0], "before"), (taken, "after")):
        assert row["flip_rate"] == pytest.approx(cell(audit, "flip_rate")[which])
    assert cell(audit, "spurious_score_average_precision")["change_low"] > 0
    assert table["strength"].is_monotonic_increasing
    assert table.loc[table["chosen"], "strength"].tolist() == [7.0]
    assert audit.manifest["mitigation"]["strength"] == 7.0
    assert table["pareto"].any()
    first = table.iloc[0]
    assert first["agreement"] == 1
    assert first["accuracy"] == pytest.approx(parent.summary["accuracy"])
    assert taken["accuracy"] == pytest.approx(audit.summary["accuracy"])


def test_concept_vectors_are_judged_on_other_images(workspace: Workspace, parent: Audit) -> None:
    findings = find(parent, workspace, classes=["leaf"])
    gathered = gather(parent, findings)
    pairs = map_pairs(parent, findings, gathered.rows)
    evidence = replace(gathered.evidence, pairs=pairs)
    rows = concept_rows(evidence, findings.keys)
    assert [row["kind"] for row in rows] == list(QUICK_KINDS)
    for row in rows:
        assert row["separability"] > 0.9
        assert row["alignment"] > 0.5
        assert row["alignment_error"] > 0
    without = concept_rows(gathered.evidence, findings.keys)
    assert "needs images with and without" in without[0]["note"]
    assert np.isnan(without[1]["alignment"])
    audit = run(workspace, parent, strength=1.0, **QUICK)
    stored = audit.manifest["mitigation"]["concepts"]
    assert [row["alignment"] for row in stored] == pytest.approx([r["alignment"] for r in rows])


def test_object_shares_equal_their_formula(workspace: Workspace, parent: Audit) -> None:
    from core.data.masks import mask_on_grid
    from core.measures.trials import mask_in_view

    audit = run(workspace, parent, "spufix", strength=1.0, **QUICK)
    rows = audit.images[(audit.images["label"] == "leaf") & (audit.images["object_mask"] != "")]
    ids = [*rows.index[:6], audit.images.index[audit.images["object_mask"] == ""][0]]
    mean = audit.class_arrays(0).facts["logit_mean"]
    for which in (parent, audit):
        found = object_shares(which, ids, 0, {})
        assert np.isnan(found[-1])
        maps, logits = which.maps(ids[:-1]), which.head.logits(which.features(ids))[:, 0]
        for i, image_id in enumerate(ids[:-1]):
            w, c = which.head.piece(which.features([image_id]), 0)
            heat = np.zeros(maps.shape[2:])
            for y, x in np.ndindex(heat.shape):
                heat[y, x] = w[0] @ maps[i, :, y, x] + c[0] - mean
            assert heat.mean() == pytest.approx(logits[i] - mean, abs=1e-3)
            mask = mask_on_grid(mask_in_view(which, image_id, "object_mask"), heat.shape)
            positive = np.maximum(heat, 0)
            assert found[i] == pytest.approx((positive * mask).sum() / positive.sum(), nan_ok=True)


# The model of a derived audit


def test_the_loaded_model_is_the_corrected_one(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, "spufix", strength=1.0, **QUICK)
    assert audit.head.correction is not None
    model, ids = audit.load_model(), audit.images.index[:5].tolist()
    phi = audit.features(ids)
    np.testing.assert_array_equal(model.logits(phi), audit.head.logits(phi))
    assert np.abs(model.logits(phi) - parent.load_model().logits(phi)).max() >= 0
    assert (audit.images["prediction"] != parent.images["prediction"]).any()


def test_pieces_are_the_logits(rng: np.random.Generator) -> None:
    correction = Correction(
        rng.normal(size=(4, 6)).astype(np.float32),
        rng.normal(size=4).astype(np.float32),
        rng.normal(size=(3, 4)).astype(np.float32),
    )
    weight, bias = rng.normal(size=(3, 6)), rng.normal(size=3)
    phi = rng.normal(size=(20, 6))
    head = Head(weight, bias, list("abc"), list("abc"), "fit", correction)
    for candidate in (head, replace(head, correction=None)):
        for k in range(3):
            slope, constant = candidate.piece(phi, k)
            found = np.einsum("nd,nd->n", slope, phi) + constant
            np.testing.assert_allclose(found, candidate.logits(phi)[:, k], atol=1e-4)


def test_a_stored_head_is_read_back(rng: np.random.Generator, tmp_path: Path) -> None:
    head = Head(
        rng.normal(size=(2, 3)).astype(np.float32),
        np.zeros(2, np.float32),
        ["a", "b"],
        ["A", "B"],
        "fit",
        Correction(*(np.ones(s, np.float32) for s in ((1, 3), (1,), (2, 1)))),
    )
    store_head(tmp_path, head, {"key": "k"}, np.zeros((4, 2)))
    found = read_head(tmp_path)
    assert (found.outputs, found.names, found.mode) == (head.outputs, head.names, head.mode)
    np.testing.assert_array_equal(found.weight, head.weight)
    np.testing.assert_array_equal(found.correction.read, head.correction.read)


def test_two_corrections_stack(workspace: Workspace, parent: Audit) -> None:
    first = run(workspace, parent, "spufix", strength=0.5, **QUICK)
    tags = decided(first, TagStore.open(workspace))
    assert [c.component for c in tags.spurious["leaf"]] == [RED]
    assert list(tags.spurious) == ["leaf", "pond"]
    second = run(workspace, first, "pclarc", name="twice", strength=1.0, **QUICK)
    assert second.manifest["mitigation"]["parent"] == first.id
    assert not np.array_equal(second.head.weight, first.head.weight)
    third = run(workspace, first, "spufix", name="thrice", strength=0.5, **QUICK)
    once, twice = (a.head.logits(a.features(a.images.index.tolist())) for a in (first, third))
    assert (twice <= once + 1e-5).all()


def test_tags_of_components_that_are_gone_stay_with_the_parent(
    workspace: Workspace, parent: Audit
) -> None:
    store = TagStore.open(workspace)
    audit = run(workspace, parent, **QUICK)
    carried = {(e.label, e.kind, e.annotator) for e in store.current(audit.id)}
    assert ("leaf", Kind.NEURON, "ann") in carried
    assert carry_tags(parent, audit, store) == 0


def test_a_carried_direction_is_a_cue_and_comes_along(workspace: Workspace, parent: Audit) -> None:
    arrays = parent.class_arrays(0)
    component = arrays.candidate("pca", 0)
    path = carried_path(parent.folder, 0)
    path.parent.mkdir()
    np.save(path, np.append(component.direction, component.offset - 1)[None])
    store = TagStore.open(workspace)
    store.add("other", parent.id, "leaf", Kind.CARRIED, 0, Tag.SPURIOUS)
    carried = parent.class_arrays(0).candidate("carried", 0)
    phi = parent.features(arrays.image_ids)
    wanted = phi @ carried.direction - carried.offset
    np.testing.assert_allclose(cue_of(parent, carried).alpha(phi), wanted, atol=1e-4)
    audit = run(workspace, parent, cues=("leaf/carried-0",), **QUICK)
    assert any(e.kind is Kind.CARRIED for e in store.current(audit.id))
    audit.class_arrays(0).candidate("carried", 0)


class Shifted:
    """A method of the network: every weight of the encoder a little larger."""

    def __call__(self, task: registry.Task, report: Any) -> Corrected:
        report(Progress("Training", 1, 1, "epochs", "loss 0.1"))
        state = task.parent.load_model(exported=True).network.state_dict()
        grown = {n: 1.1 * v for n, v in state.items() if not n.startswith("fc")}
        return Corrected(task.parent.head, grown, {"strength": 1.0, "history": [0.3, 0.1]})


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered method of the network, and a loader that takes checkpoints."""
    made = registry.NetworkMethod("shifted", "Shifted", Shifted(), (0, 1), 1, "here", "None.")
    monkeypatch.setitem(registry.NETWORK, "shifted", made)

    def load(name: str, *, checkpoint: Path | None = None, **_: Any) -> Any:
        plain = load_white_box(name)
        parts = core.models.load._Parts(plain.network, plain.preprocess, None)
        if checkpoint is None:
            return plain
        return core.models.load._from_checkpoint(name, parts, checkpoint, None)

    monkeypatch.setattr("core.models.load.load_model", load)


def test_a_method_of_the_network_gives_new_weights_and_an_ordinary_audit(
    workspace: Workspace, parent: Audit, network: None
) -> None:
    audit = run(workspace, parent, "shifted")
    assert (audit.folder / CHECKPOINT).exists()
    ids = audit.images.index.tolist()
    assert np.abs(audit.features(ids) - parent.features(ids)).max() > 1e-3
    np.testing.assert_array_equal(audit.head.weight, parent.head.weight)
    done = audit.manifest["mitigation"]
    assert (done["encoder_changed"], done["history"], done["strength"]) == (True, [0.3, 0.1], 1.0)
    model = audit.load_model()
    from core.measures.trials import features_of, pictures

    seen = features_of(audit, model, list(pictures(audit, ids[:6])))
    np.testing.assert_allclose(seen, audit.features(ids[:6]), atol=1e-6)
    assert cell(audit, "flip_rate")["n"] > 0
    assert run(workspace, parent, "shifted").id == audit.id
    child = run(workspace, audit, "spufix", name="child", strength=1.0, **QUICK)
    assert child.load_model().weights_hash == model.weights_hash


# Bad input


def test_refusals_name_the_thing_and_the_remedy(workspace: Workspace, parent: Audit) -> None:
    for more, said in (
        ({"method": "magic"}, "--method 'magic': choose spufix"),
        ({"classes": ("sky",)}, "class 'sky' of audit .* no candidate decided spurious; tag one"),
        ({"classes": ("sun",)}, "has no class 'sun'"),
        ({"classes": (), "cues": ("leaf/pca-9",)}, "cue 'leaf/pca-9' is not decided spurious"),
        ({"options": {"speed": "1"}}, "--option speed=1: rrclarc has cav="),
        ({"options": {"cav": "x"}}, "--option cav=x: rrclarc has cav="),
        ({"strength": -1.0}, "--strength -1: rrclarc takes 0 to"),
        ({"strength": float("nan")}, "--strength nan: give a number"),
        ({"attribute": "fog"}, "no attribute 'fog'"),
        ({"name": "a/b"}, "cannot be the name"),
    ):
        given: dict[str, Any] = {"method": "rrclarc", **QUICK, **more}
        with pytest.raises(InputError, match=said):
            run(workspace, parent, **given)
    with pytest.raises(InputError, match="write NAME=VALUE"):
        parse_options(["fast"])
    assert workspace.named("fixed") is None


def test_nothing_tagged_is_refused(workspace: Workspace, parent: Audit) -> None:
    store = TagStore.open(workspace)
    for label, kind, number in (("leaf", Kind.NEURON, RED), ("pond", Kind.PCA, 0)):
        store.add("ann", parent.id, label, kind, number, None)
    with pytest.raises(InputError, match="no candidate of audit .* spurious; tag one on the page"):
        run(workspace, parent, classes=())


def test_the_command_line(
    workspace: Workspace, parent: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace.root), "--json"]
    arguments = ["mitigate", parent.name, "--method", "pclarc", "--name", "fixed", "--quick"]
    assert main([*arguments, "--cue", f"leaf/neuron-{RED}", *where]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mitigation"]["cues"] == [f"leaf/neuron-{RED}"]
    assert {row["measure"] for row in result["effect"]} >= {"accuracy", "agreement", "tcav"}
    assert result["tradeoff"]
    assert main([*arguments, "--strength", "much", *where]) == 2
    assert "--strength 'much'" in capsys.readouterr().err
    out = workspace.root / "model.safetensors"
    assert main(["export-model", "fixed", "--out", str(out), *where]) == 0
    written = json.loads(capsys.readouterr().out)
    text = Path(written["card"]).read_text()
    for words in ("## What was done", "P-ClArC", "## What was measured", "## What was not"):
        assert words.lower() in text.lower()
    assert torch.is_tensor(core.models.checkpoint.read_checkpoint(out)["fc.weight"])


# Methods that train the network


@pytest.fixture
def trainable(network: None, workspace: Workspace, parent: Audit) -> Audit:
    """The parent with an object mask for every image: everything but a corner."""
    from PIL import Image

    mask = np.full((32, 32), 255, np.uint8)
    mask[:8, :8] = 0
    Image.fromarray(mask).save(parent.root / "object.png")
    path = parent.folder / "images.parquet"
    rows = pd.read_parquet(path)
    rows["object_mask"] = "object.png"
    rows.to_parquet(path, index=False)
    return Audit(parent.folder)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("guidance", {"fraction": "0.1"}),
        ("rrclarc-deep", {"layer": "conv", "parts": "head"}),
        ("counterfactual", {"change": "paste"}),
    ],
)
def test_a_method_of_the_network_from_start_to_finish(
    workspace: Workspace,
    trainable: Audit,
    method: str,
    options: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "layer" in options:
        monkeypatch.setitem(registry.NETWORK[method].options, "layer", ("last", "conv"))
    said: list[Progress] = []
    request = MitigateRequest(
        trainable.name, method, "trained", classes=("leaf",), pictures=False,
        options={**options, "epochs": "1"},
    )  # fmt: skip
    audit = run_mitigation(request, workspace, report=said.append)
    done = audit.manifest["mitigation"]
    assert len(done["history"]) == 1
    assert {"loss", "accuracy"} <= set(done["history"][0])
    assert done["encoder_changed"]
    assert any(progress.figures for progress in said)
    ids = audit.images.index.tolist()
    logits = audit.load_model().logits(audit.features(ids))
    np.testing.assert_array_equal(logits, audit.head.logits(audit.features(ids)))
    changed_weight = not np.array_equal(audit.head.weight, trainable.head.weight)
    changed_encoder = np.abs(audit.features(ids) - trainable.features(ids)).max() > 1e-6
    assert changed_weight or changed_encoder
    assert len(effect_table(audit))


def test_the_command_line_names_every_method() -> None:
    from core.mitigate_commands import METHODS
    from core.mitigation.methods import methods

    assert list(METHODS) == list(methods())


def test_a_parent_with_new_images_is_another_one(workspace: Workspace, parent: Audit) -> None:
    run(workspace, parent, **QUICK)
    path = parent.folder / "head" / "head.json"
    path.write_text(path.read_text().replace(read_json(path)["key"], "0123456789abcdef"))
    with pytest.raises(WorkspaceError, match="exists with other settings: parent was"):
        run(workspace, Audit(parent.folder), **QUICK)


def test_the_choices_are_those_of_the_methods() -> None:
    from core.mitigate import attribution, compositing, counterfactual, localisation, right_reasons

    assert set(registry.LOSSES) == set(localisation.LOSSES)
    assert set(registry.ATTRIBUTIONS) == set(attribution.ATTRIBUTIONS)
    assert registry.TARGETS == right_reasons.TARGETS
    assert set(registry.CHANGES) == {"auto", *counterfactual.CHANGES}
    assert set(compositing.OPERATIONS) < set(registry.CHANGES)


def test_a_method_without_its_masks_is_refused(
    workspace: Workspace, parent: Audit, network: None
) -> None:
    path = parent.folder / "images.parquet"
    rows = pd.read_parquet(path).drop(columns=["object_mask", "cue_mask"], errors="ignore")
    rows.to_parquet(path, index=False)
    for method in ("guidance", "counterfactual"):
        with pytest.raises(InputError, match="needs masks and no training image has one"):
            run(workspace, Audit(parent.folder), method, **QUICK)
    with pytest.raises(InputError, match="has no cue masks"):
        run(workspace, Audit(parent.folder), masks=True, **QUICK)
