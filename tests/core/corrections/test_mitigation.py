"""The command line of mitigations, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import core.data.decode
import core.features.extract
import core.models.load
import core.models.weights
from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.corrections.methods import METHODS
from core.corrections.mitigate_request import read_options
from core.errors import InputError
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.leaning import leaning
from tests.core.conftest import RED
from tests.core.corrections.conftest import QUICK, run

pytestmark = pytest.mark.usefixtures("unfitted_folds")


def test_refusals_name_the_thing_and_the_remedy(workspace: Workspace, parent: Audit) -> None:
    for more, said in (
        ({"method": "magic"}, "there is no method 'magic'; choose spufix"),
        ({"classes": ("sky",)}, "class 'sky' of audit .* no candidate decided spurious; tag one"),
        ({"classes": ("sun",)}, "has no class 'sun'"),
        ({"classes": (), "cues": ("leaf/pca-9",)}, "cue 'leaf/pca-9' is not decided spurious"),
        ({"options": {"speed": "1"}}, "--option speed=1: rrclarc has cav="),
        ({"options": {"cav": "x"}}, "--option cav=x: rrclarc has cav="),
        ({"strength": -1.0}, "--strength -1: rrclarc takes 0 to"),
        ({"strength": float("nan")}, "--strength nan: give a number"),
        ({"attribute": "fog"}, "no attribute 'fog'"),
        ({"name": "a/b"}, "cannot be the name"),
        ({"cue_images": {"sun": Path("/")}}, "has no class 'sun'"),
        ({"cue_images": {"leaf": Path("/none")}}, "--cue-images leaf=/none: /none is not a folder"),
    ):
        given: dict[str, Any] = {"method": "rrclarc", **QUICK, **more}
        with pytest.raises(InputError, match=said):
            run(workspace, parent, **given)
    with pytest.raises(InputError, match="write NAME=VALUE"):
        read_options(["fast"])
    assert workspace.named("fixed") is None


def test_nothing_tagged_is_refused(workspace: Workspace, parent: Audit) -> None:
    store = TagStore.open(workspace)
    for label, kind, number in (("leaf", NEURON, RED), ("pond", PCA, 0)):
        store.add("ann", parent.id, CandidateKey(label, kind, number), None)
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
    assert not leaning(Audit.open(workspace, "fixed")).empty  # what its classes lean on now
    assert main([*arguments, "--strength", "much", *where]) == 2
    assert "--strength 'much'" in capsys.readouterr().err
    out = workspace.root / "model.safetensors"
    assert main(["export-model", "fixed", "--out", str(out), *where]) == 0
    written = json.loads(capsys.readouterr().out)
    text = Path(written["card"]).read_text()
    for words in ("## What was done", "P-ClArC", "## What was measured", "## What was not"):
        assert words.lower() in text.lower()
    assert torch.is_tensor(core.models.weights.read_checkpoint(out)["fc.weight"])


def test_the_help_has_a_line_for_every_method(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["mitigate", "--help"])
    said = capsys.readouterr().out.partition("methods:")[2].strip().splitlines()
    assert [line.split()[0] for line in said] == list(METHODS)
    assert all(
        method.title in line and method.source in line
        for line, method in zip(said, METHODS.values(), strict=True)
    )
