"""``list`` names the class that every audit puts first, as ``show`` does; parts by number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.part_kind import PART
from core.storage.files import remove, write_json
from core.tags.log import TagStore
from core.trials.leaning import measure_leaning
from tests.core.conftest import unmeasured, workspace_of


@pytest.fixture
def own(tiny_audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    audit = unmeasured(tiny_audit, tmp_path / "workspace")
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(workspace_of(audit).root))
    return audit


def said(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, object]:
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_it_is_the_first_class_of_show(own: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    measure_leaning(own)
    (listed,) = said(capsys, "list")["audits"]
    shown = said(capsys, "show", own.name)["classes"]
    assert listed["first"] == shown[0]
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert f"first: {shown[0]['name']}, its {shown[0]['by']} alone turns" in text


@pytest.mark.parametrize(
    "named",
    [("--part", "1"), ("--candidate", "part-1"), ("--candidate", "{label}/part-1")],
    ids=["number", "key", "whole key"],
)
def test_a_part_is_tagged_and_drawn_by_its_number_or_its_key(
    named: tuple[str, str], own: Audit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    facts = own.classes[0]
    arrays = own.class_arrays(facts.class_idx)
    of = ["--class", facts.label, *(text.format(label=facts.label) for text in named)]
    tag = ["tags", "add", own.name, *of, "--tag", "spurious", "--called", "snow"]
    said(capsys, *tag, "--annotator", "ann")
    (event,) = TagStore.open(workspace_of(own)).current(own.id, "ann")
    assert (event.key, event.called) == (CandidateKey(facts.label, PART, 1), "snow")
    ids, out = list(arrays.image_ids[:2]), tmp_path / "h.npz"
    said(capsys, "export", own.name, "heatmaps", *of, "--images", ",".join(ids), "--out", str(out))
    with np.load(out) as found:
        expected = own.heatmaps(arrays.candidate(PART, 1), ids)
        np.testing.assert_allclose(found["maps"], expected, atol=1e-5)


def test_before_any_trial_it_says_so(own: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    (listed,) = said(capsys, "list")["audits"]
    assert listed["first"]["by"] is None
    main(["list"])
    assert "not tried yet" in capsys.readouterr().out


def test_an_audit_that_is_not_finished_has_none(
    own: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(own.files.manifest, replace(own.manifest, state="running"))
    remove(own.files.summary)
    (listed,) = said(capsys, "list")["audits"]
    assert listed["first"] is None


def test_what_cannot_be_read_is_said(own: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    own.files.candidates.write_bytes(b"damaged")
    (listed,) = said(capsys, "list")["audits"]
    assert (listed["state"], listed["first"]) == ("finished", None)
    assert "candidates.parquet" in listed["damage"]
    main(["list"])
    assert "candidates.parquet" in capsys.readouterr().out
