"""``python -m core check`` as a pipeline sees it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.measures.registry import MEASURES
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from tests.core.conftest import workspace_of


def ran(audit: Audit, *arguments: object) -> int:
    where = ["--workspace", str(workspace_of(audit).root)]
    return main(["check", audit.name, *map(str, arguments), *where])


def test_a_broken_rule_ends_with_three_and_writes_both_files(
    planted: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, xml, out = (tmp_path / name for name in ("rules.txt", "gate.xml", "gate.json"))
    rules.write_text("put_in > 0.99\n")
    files = ["--rules", rules, "--junit", xml, "--out", out]
    assert ran(planted, "--fail-on", "lean > 0.02", *files, "--json") == 3
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(out.read_text("utf-8"))
    assert (said["code"], said["rules"]) == (3, ["lean > 0.02", "put_in > 0.99"])
    assert [each["outcome"] for each in said["tested"]][0] == "broken"
    assert ElementTree.parse(xml).getroot().get("failures") == "1"
    assert ran(planted, "--fail-on", "lean > 1") == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].startswith("holds: lean > 1 · leaf, neuron 0: ")
    assert lines[-1] == "1 holds"


def test_an_audit_without_tags_ends_with_four(
    tiny_audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(tiny_audit, "--fail-on", "lean > 0.2") == 4
    assert "is decided spurious: tag one" in capsys.readouterr().out
    assert ran(tiny_audit, "--fail-on", "lean > 0.2", "--allow-untested") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fail-on", "leaning > 0.2"], "there is no measure 'leaning'; choose accuracy"),
        (["--fail-on", "lean = 0.2"], "rule 'lean = 0.2': write MEASURE"),
        ([], "there is no rule to check"),
        (["--rules", "none"], "--rules none: cannot be read as text"),
        (["--fail-on", "lean > 1", "--junit", "a.txt"], "a.txt: the name must end in .xml"),
        (["--fail-on", "lean > 1", "--out", "a.txt"], "a.txt: the name must end in .json"),
    ],
)
def test_bad_input_ends_with_two_and_one_sentence(
    tiny_audit: Audit, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert ran(tiny_audit, *arguments) == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_help_names_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    said = capsys.readouterr().out.partition("measures:")[2]
    assert said.split(", ")[-1].strip() == [*MEASURES][-1]
    assert len(said.split(",")) == len(MEASURES)


@pytest.mark.slow
def test_the_demo_fails_and_its_corrected_model_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the packaged network: rendered vehicles whose vans are told by a ball."""
    where = ["--workspace", str(tmp_path)]
    assert main(["demo", *where]) == 0
    workspace = Workspace(tmp_path)
    audit = Audit.open(workspace, workspace.manifests()[0].id)
    rules = ["--fail-on", "lean > 0.2", "--fail-on", "flip_rate > 0.5"]
    if not TagStore.open(workspace).current(audit.id):
        assert main(["check", audit.name, *rules, *where]) == 4
        for label in ("van", "minibus"):
            TagStore.open(workspace).add("ann", audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS)
    assert main(["check", audit.name, *rules, *where]) == 3
    asked = ["mitigate", audit.name, "--method", "pclarc", "--name", "fixed"]
    assert main([*asked, *where]) == 0
    capsys.readouterr()
    assert main(["check", "fixed", *rules, *where, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {each["rule"] for each in said["tested"]} == {"lean > 0.2", "flip_rate > 0.5"}
