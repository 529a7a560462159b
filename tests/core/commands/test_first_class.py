"""``list`` names the class that every audit puts first, as ``show`` does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.storage.files import remove, write_json
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
