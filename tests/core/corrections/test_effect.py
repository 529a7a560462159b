"""The table before and after, and the trade-off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.audits.audit import Audit
from core.corrections.acted_on import find, gather
from core.corrections.composites import map_pairs
from core.corrections.corrected import changed, effect_table, tradeoff_table
from core.corrections.effect import COLUMNS, Effect, effects
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.corrections.vectors import QUICK as QUICK_KINDS
from core.corrections.vectors import concept_rows
from core.measures.measure import EFFECT
from core.measures.pointing import object_shares
from core.measures.registry import MEASURES
from core.measures.scores import score
from core.measures.stored import measured
from core.storage.files import read_json, write_json
from core.storage.workspace import Workspace
from core.tags.decisions import decided
from core.tags.log import TagStore
from core.types import Progress
from tests.core.conftest import unmeasured, workspace_of
from tests.core.corrections.conftest import QUICK, N, cell, run

pytestmark = pytest.mark.usefixtures("unfitted_folds")


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
    assert set(table["measure"]) <= {measure.name for measure in MEASURES.seen_in(EFFECT)}
    assert set(table["label"]) == {"", "leaf", "pond", "sky"}
    others = table[(table["label"] == "pond") & table["measure"].isin(["flip_rate", "sensitivity"])]
    assert len(others) == 2
    assert not others["acted_on"].any()
    assert table.loc[table["label"] == "leaf", "acted_on"].all()
    bounded = table[table["change_low"].notna()]
    assert (bounded["change_low"] <= bounded["change"] + 1e-9).all()
    assert (bounded["change"] <= bounded["change_high"] + 1e-9).all()
    assert (table.loc[table["after"].isna(), "note"] != "").all()


def test_before_is_what_the_measures_of_the_parent_say(
    workspace: Workspace, parent: Audit, tmp_path: Path
) -> None:
    def flips(of: Audit) -> pd.Series:
        afresh = unmeasured(of, tmp_path / of.id)
        found = measured(afresh, workspace_of(afresh), "flip")
        return found.set_index(["label", "measure"])["value"]

    audit = run(workspace, parent)
    by_measure = flips(parent)
    for name in ("flip_rate", "flip_rate_control"):
        assert cell(audit, name)["before"] == pytest.approx(by_measure["leaf", name])
    assert cell(audit, "accuracy", "")["before"] == pytest.approx(parent.summary.accuracy)
    assert cell(audit, "accuracy", "")["after"] == pytest.approx(audit.summary.accuracy)
    again = flips(audit)
    assert cell(audit, "flip_rate")["after"] == pytest.approx(again["leaf", "flip_rate"], abs=0.02)


def test_composites_are_encoded_once_for_every_correction(
    workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(workspace, parent)
    monkeypatch.setattr("core.trials.outcomes.encoded", None)
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
    assert audit.manifest.mitigation.strength == 7.0
    assert table["pareto"].any()
    first = table.iloc[0]
    assert first["agreement"] == 1
    assert first["accuracy"] == pytest.approx(parent.summary.accuracy)
    assert taken["accuracy"] == pytest.approx(audit.summary.accuracy)


def test_what_is_measured_later_reaches_both_tables(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, **QUICK)
    first, rest = tradeoff_table(audit), ["strength", "chosen_flips", "accuracy", "gap"]
    assert first["flip_rate"].isna().all()
    assert first["accuracy"].notna().all()
    assert run(workspace, parent).id == audit.id
    later = tradeoff_table(audit)
    pd.testing.assert_frame_equal(later[rest], first[rest])
    at_once = run(workspace, parent, name="at once")
    pd.testing.assert_frame_equal(later, tradeoff_table(at_once))
    taken = later[later["chosen"]].iloc[0]
    assert taken["flip_rate"] == pytest.approx(cell(audit, "flip_rate")["after"])
    assert later["flip_rate"].notna().all()


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
    stored = audit.manifest.mitigation.concepts
    assert [row["alignment"] for row in stored] == pytest.approx([r["alignment"] for r in rows])


def test_object_shares_equal_their_formula(workspace: Workspace, parent: Audit) -> None:
    from core.data.masks import mask_on_grid
    from core.trials.encoder import mask_in_view

    audit = run(workspace, parent, "spufix", strength=1.0, **QUICK)
    rows = audit.images[(audit.images["label"] == "leaf") & (audit.images["object_mask"] != "")]
    ids = [*rows.index[:6], audit.images.index[audit.images["object_mask"] == ""][0]]
    mean = audit.class_arrays(0).facts.logit_mean
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


def test_an_empty_cell_says_what_would_fill_it(workspace: Workspace, parent: Audit) -> None:
    audit = run(workspace, parent, **QUICK)
    assert "run the same command without it" in cell(audit, "epg")["note"]
    for which in (parent, audit):
        path = which.folder / "manifest.json"
        manifest = read_json(path)
        write_json(path, {**manifest, "model": {**manifest["model"], "map_kind": "none"}})
        assert not Audit(which.folder).exact_maps
    effect = Effect(
        Audit(parent.folder),
        Audit(audit.folder),
        decided(parent, TagStore.open(workspace)),
        frozenset(),
    )
    table = effects(effect, pictures=False)
    (why,) = set(table.loc[table["measure"] == "epg", "note"])
    assert f"{parent.manifest.model.name} has no exact maps" in why
    assert "Audit a network that ends in average pooling" in why
    del parent.images["object_mask"]
    table = effects(replace(effect, before=parent), pictures=False)
    (why,) = set(table.loc[table["measure"] == "epg", "note"])
    assert "add the column object_mask to the manifest" in why


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """Images of the red patch alone."""
    folder = tmp_path / "patches"
    folder.mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(90, 130, (32, 32, 3)).astype(np.uint8)
        pixels[2 + i : 12 + i, 4:14] = (230, 20, 20)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_images_of_the_cue_alone_give_a_spurious_score(
    workspace: Workspace, parent: Audit, patches: Path
) -> None:
    audit = run(workspace, parent, **QUICK)
    assert "spurious_score_average_precision" not in set(effect_table(audit)["measure"])
    again = run(workspace, parent, cue_images={"leaf": patches}, **QUICK)
    assert again.id == audit.id
    found = cell(audit, "spurious_score_average_precision")
    assert found["subject"] == "patches"
    for which, name in ((parent, "before"), (audit, "after")):
        wanted = score(which, "leaf", patches).score
        assert found[name] == pytest.approx(wanted.average_precision)
        assert found[f"{name}_low"] == pytest.approx(wanted.ap_low)
    assert found["change"] == pytest.approx(found["after"] - found["before"])
    assert found["change_low"] <= found["change"] <= found["change_high"]
    assert found["n"] == 6 + N


def test_what_was_measured_before_stays(
    workspace: Workspace, parent: Audit, patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = run(workspace, parent)
    run(workspace, parent, cue_images={"leaf": patches}, **QUICK)
    assert cell(audit, "flip_rate")["n"] > 0
    scores = effect_table(audit).query("measure == 'spurious_score_average_precision'")
    assert {"pasted cues", "patches"} <= set(scores["subject"])
    monkeypatch.setattr("core.corrections.mitigation.effects", None)  # nothing is measured again
    run(workspace, parent, cue_images={"leaf": patches}, **QUICK)
    run(workspace, parent)
