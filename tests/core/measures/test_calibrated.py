"""Calibration of an audit: every figure against a slow replica, by cue, stored and reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.errors import InputError
from core.measures.calibrated import CALIBRATED
from core.measures.conditions import CUES
from core.measures.measure_requests import MeasureRequest
from core.report.document import compose, render
from core.report.material import gather
from core.storage.files import write_frame
from core.tags.decisions import decided, spuriosity_of
from core.tags.log import TagStore
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
