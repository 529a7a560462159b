"""Calibration of an audit: every figure against a slow replica, by cue, stored and reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.errors import InputError
from core.measures.calibrated import BIN, CALIBRATED, LEAST_CUE, MOST_CUE, PASTES, TURNED
from core.measures.conditions import CUES
from core.measures.ensembles import MEAN, ensembled
from core.measures.measure_requests import MeasureRequest
from core.measures.ood import OOD
from core.measures.stored import make_outcomes
from core.measures.unseen import cooled, ensemble, said
from core.report.document import compose, render
from core.report.material import gather
from core.statistics.forecasts import forecasts
from core.storage.files import write_frame
from core.tags.decisions import decided, spuriosity_of
from core.tags.log import TagStore
from core.trials.outcomes import CONTROL, PASTED
from tests.core.conftest import unmeasured, workspace_of

REQUEST = MeasureRequest("", "calibration")


@pytest.fixture
def audit(planted: Audit, tmp_path: Path) -> Audit:
    return unmeasured(planted, tmp_path / "workspace")


def table_of(audit: Audit) -> pd.DataFrame:
    return CALIBRATED.table(audit, decided(audit, TagStore.open(workspace_of(audit))), REQUEST)


def value(table: pd.DataFrame, measure: str, subject: str) -> float:
    (row,) = table[(table["measure"] == measure) & (table["subject"] == subject)].itertuples()
    return float(row.value)


def test_figures_are_those_of_a_slow_replica(audit: Audit) -> None:
    table, held = table_of(audit), audit.images[audit.held_out]
    assert value(table, "nll", "all") == pytest.approx(held["loss"].mean())
    assert value(table, "confidence", "all") == pytest.approx(held["confidence"].mean())
    assert value(table, "accuracy", "all") == pytest.approx(held["correct"].mean())
    away = 100 * (held["confidence"].mean() - held["correct"].mean())
    assert value(table, "overconfidence", "all") == pytest.approx(away)
    logits = audit.head.logits(audit.features(held.index.tolist())).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.eye(p.shape[1])[[audit.head.index(label) for label in held["label"]]]
    assert value(table, "brier", "all") == pytest.approx(np.square(p - truth).sum(axis=1).mean())
    parts = [value(table, f"brier_{of}", "all") for of in ("reliability", "resolution")]
    assert parts[0] >= 0 <= parts[1]


def test_tenths_of_the_cue_are_those_of_the_ranking(audit: Audit) -> None:
    table = table_of(audit)
    found = decided(audit, TagStore.open(workspace_of(audit)))
    ranked = spuriosity_of(audit, "leaf", found.spurious["leaf"]).query("held_out")
    some = [len(part) for part in np.array_split(np.arange(len(ranked)), 10)]
    assert abs(len(ranked) - sum(some)) == 0
    rows = table[(table["measure"] == "accuracy") & table["subject"].str.startswith("cue ")]
    at_least_ten = [name for name in rows["subject"]]
    assert at_least_ten == [f"cue {name}" for name in CUES if f"cue {name}" in at_least_ten]
    assert len(at_least_ten) > 2
    lowest = ranked.tail(int(rows["n"].iloc[0]))
    assert rows["value"].iloc[0] == pytest.approx(lowest["correct"].mean())
    assert rows["value"].iloc[-1] > rows["value"].iloc[0]  # the planted cue helps its class
    assert rows["note"].str.contains(f"corrected for {len(rows)} groups").all()


def test_the_reliability_diagram_holds_every_image_once(audit: Audit) -> None:
    table, n = table_of(audit), int(audit.held_out.sum())
    bins = table[table["measure"] == "bin_accuracy"]
    shown = bins["subject"].str.partition(BIN)[0]
    assert list(dict.fromkeys(shown)) == ["all", LEAST_CUE, MOST_CUE]
    mine = bins[(shown == "all").to_numpy()]
    sure = table[table["measure"] == "bin_confidence"].iloc[: len(mine)]
    assert mine["n"].sum() == n
    assert (mine["value"] * mine["n"]).sum() == pytest.approx(n * value(table, "accuracy", "all"))
    away = (np.abs(mine["value"].to_numpy() - sure["value"].to_numpy()) * mine["n"]).sum() / n
    note = table[(table["measure"] == "calibration_error") & (table["subject"] == "all")]["note"]
    assert f"plain {away:.3f}" in note.iloc[0]


def test_it_is_stored_for_these_tags_and_attributes(audit: Audit) -> None:
    store = TagStore.open(workspace_of(audit))
    found = decided(audit, store)
    assert CALIBRATED.known(audit, found, REQUEST) is None
    first = CALIBRATED.table(audit, found, REQUEST)
    known = CALIBRATED.known(audit, found, REQUEST)
    assert known is not None
    pd.testing.assert_frame_equal(known, first)
    path = audit.files.images
    write_frame(path, pd.read_parquet(path).assign(split="test"))
    assert CALIBRATED.known(Audit(audit.folder), found, REQUEST) is None


def test_without_a_label_among_the_outputs_nothing_is_known(audit: Audit) -> None:
    path = audit.files.images
    write_frame(path, pd.read_parquet(path).assign(label="elsewhere"))
    with pytest.raises(InputError, match="no held-out image .* among the model's outputs"):
        table_of(Audit(audit.folder))


def test_the_command_and_the_report_say_it(
    audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = workspace_of(audit)
    before = compose([gather(audit, workspace, with_model=False)])
    assert "Under shift" not in render(before)
    given = ["measure", audit.id, "--what", "calibration", "--workspace", str(workspace.root)]
    assert main([*given, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["measures"]
    assert {row["measure"] for row in said} >= {"nll", "brier", "calibration_error", "confidence"}
    told = compose([gather(audit, workspace, with_model=False)])
    text = render(told)
    assert told.fingerprint != before.fingerprint
    assert "<h3>Under shift</h3>" in text
    assert "On all held-out images the model is right on" in text
    assert "where images show most of the tagged cues" in text
    assert "(fitted on: training images, out of fold), the logits have a calibration" in text


def test_a_temperature_is_judged_on_images_that_it_was_not_fitted_on(audit: Audit) -> None:
    table = table_of(audit)
    (row,) = table[table["measure"] == "temperature"].itertuples()
    assert row.split == "training images, out of fold"
    assert row.low < row.value < row.high
    assert row.n == (audit.images["split"] == "train").sum()
    known = said(audit)
    after = forecasts(known.logits / row.value, known.labels)
    at = value(table, "nll", "all, at the temperature")
    assert at == pytest.approx(-after.log_probability.mean())
    assert not ((table["measure"] == "accuracy") & table["subject"].str.endswith("ture")).any()


def test_halves_and_splits_for_validation_come_where_there_is_no_probe(audit: Audit) -> None:
    known = said(audit)
    halves = cooled(audit, known, alone=False)
    assert halves is not None
    assert halves.on.startswith("either half")
    assert len(np.unique(halves.of_images)) == 2
    path, half = audit.files.images, known.ids[::2]
    images = pd.read_parquet(path)
    images.loc[images["image_id"].isin(half), "split"] = "val"
    write_frame(path, images)
    split = cooled(Audit(audit.folder), known)
    assert split is not None
    assert (split.on, split.n) == ("split val", len(half))
    assert np.isnan(split.of_images[::2]).all()
    assert (split.of_images[1::2] == split.value).all()
    few = known._replace(ids=known.ids[:30])
    assert cooled(audit, few, alone=False) is None


def test_pasted_cues_are_looked_at_where_they_are_stored(audit: Audit) -> None:
    found = decided(audit, TagStore.open(workspace_of(audit)))
    assert "the cue pasted on them" not in set(table_of(audit)["subject"])
    make_outcomes(audit, found, [PASTED, CONTROL])
    table = table_of(audit)
    mine = table[table["label"] == "leaf"]
    assert set(mine["subject"]) == {*PASTES.values(), TURNED}
    errors = mine[mine["measure"] == "calibration_error"].set_index("subject")["value"]
    assert errors["the cue pasted on them"] > errors["images of other classes"]
    turned = mine[mine["subject"] == TURNED]
    assert turned["measure"].tolist() == ["confidence"]
    assert turned["n"].iloc[0] > 0


def test_an_ensemble_of_one_model_with_itself_changes_nothing(audit: Audit, tmp_path: Path) -> None:
    twin = workspace_of(audit).folder("e0e0e0e0e0e0")
    written = {str(audit.folder), str(audit.files.head.folder)}  # what is changed below
    shutil.copytree(audit.folder, twin, ignore=lambda at, _: ["digests.json"] * (at in written))
    manifest = json.loads((twin / "manifest.json").read_text())
    (twin / "manifest.json").write_text(json.dumps({**manifest, "id": twin.name, "name": "twin"}))
    found = decided(audit, TagStore.open(workspace_of(audit)))
    request = MeasureRequest(audit.id, "calibration", ensemble=("twin",))
    table = CALIBRATED.table(audit, found, request)
    for name in ("ensemble_accuracy", "ensemble_nll", "ensemble_brier"):
        changes = table[table["measure"] == name]
        assert "all" in set(changes["subject"])
        np.testing.assert_allclose(changes["value"], 0, atol=1e-12)
    assert value(table, "nll", "all") == pytest.approx(value(table_of(audit), "nll", "all"))
    both = ensembled([audit, Audit(twin)], found).set_index(["model", "measure", "subject"])
    for measure in ("accuracy", "calibration_error", "nll", "brier"):
        for subject in ("all", "cue least tenth"):
            each = [both.at[(m, measure, subject), "value"] for m in (audit.id, twin.name, MEAN)]
            assert each == pytest.approx([value(table, measure, subject)] * 3)
    assert both.at[(twin.name, "ensemble_accuracy", "all"), "value"] == 0
    other = shutil.copytree(audit.files.head.folder, tmp_path / "head")
    head = json.loads((other / "head.json").read_text())
    head["outputs"][0] = "cat"
    (twin / "head" / "head.json").write_text(json.dumps(head))
    with pytest.raises(InputError, match="'twin' has other classes than"):
        ensemble(audit, [Audit(twin)])


def test_the_report_says_what_looks_odd(audit: Audit) -> None:
    found = decided(audit, TagStore.open(workspace_of(audit)))
    make_outcomes(audit, found, [PASTED, CONTROL])
    OOD.table(audit, found, MeasureRequest(audit.id, "ood"))
    text = render(compose([gather(audit, workspace_of(audit), with_model=False)]))
    assert "against random directions with the same share of the logit: by highest logit" in text
    assert "Pasted on images of other classes, the tagged cue is" in text
