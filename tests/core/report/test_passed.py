"""The section "Tested and passed": harm that would have shown and did not, and rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON
from core.report.document import compose, render
from core.report.gate import check
from core.report.material import gather
from core.report.passed import passed
from core.trials.confirmed import confirm
from core.trials.leaning import leaning, measure_leaning
from tests.core.conftest import RED, unmeasured, workspace_of


@pytest.fixture
def audit(planted: Audit, tmp_path: Path) -> Audit:
    return unmeasured(planted, tmp_path / "workspace")


def test_candidates_that_do_nothing_are_counted(audit: Audit) -> None:
    labels = [facts.label for facts in audit.classes]
    assert passed(audit, [], labels) == []
    table = measure_leaning(audit).dropna(subset=["lean"])
    rest = int((table["lean_low"] <= 0).sum())
    assert 0 < rest < len(table)
    (said,) = passed(audit, [], labels)
    assert f", {rest} of {len(table)} candidates are not above their control" in said.text
    leaf = table[table["class_idx"] == audit.class_facts("leaf").class_idx]
    (said,) = passed(audit, [], ["leaf"])
    assert f"{int((leaf['lean_low'] <= 0).sum())} of {len(leaf)} candidates" in said.text
    confirm(audit, [CandidateKey("leaf", NEURON, RED)])
    *_, pixels = passed(audit, [], labels)
    assert pixels.text.startswith("Pasted as pixels, 0 of 1 candidate are not above")


def test_classes_in_which_nothing_is_above_its_control_are_named(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = measure_leaning(audit).assign(lean_low=-0.1)
    monkeypatch.setattr("core.report.passed.leaning", lambda _: table)
    (said,) = passed(audit, [], ["leaf", "sky"])
    assert said.text.endswith("; none of “leaf” and “sky” is.")


def test_the_document_has_the_section_with_and_without_rules(audit: Audit) -> None:
    workspace = workspace_of(audit)
    evidence = gather(audit, workspace, with_model=False)
    plain = compose([evidence])
    empty = "Nothing that was tested passed"
    assert empty in render(plain) or plain.sections[0].passed
    measure_leaning(audit)
    told = compose([evidence])
    assert "candidates are not above their control" in render(told)
    assert told.fingerprint != plain.fingerprint
    rules = ["lean > 0.02", "accuracy < 0.1", "auroc > 0.5"]
    checked = check(workspace, [audit], rules, quick=True)
    ruled = replace(told, checked=checked)
    html = render(ruled)
    outcomes = [part.partition('"')[0] for part in html.split('data-outcome="')[1:]]
    assert outcomes == ["broken", "not tested", "holds"]  # what is broken first
    assert empty not in html
    assert ruled.fingerprint != told.fingerprint
    assert not leaning(audit).empty


def test_the_command_ends_with_the_code_of_its_rules(
    audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace_of(audit).root), "--quick"]
    asked = ["report", audit.name, "--out", str(tmp_path / "r.html")]
    assert main([*asked, *where]) == 0
    assert main([*asked, *where, "--fail-on", "lean > 0.02"]) == 3
    assert "broken: lean > 0.02 · leaf, neuron 0: " in capsys.readouterr().out
    assert main([*asked, *where, "--fail-on", "auroc > 0.5"]) == 4
    assert main([*asked, *where, "--fail-on", "auroc > 0.5", "--allow-untested"]) == 0
    assert main([*asked, *where, "--fail-on", "nothing > 0.5"]) == 2
