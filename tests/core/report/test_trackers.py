"""Figures and the report as a run of a tracker, on stand-ins and on MLflow's own folder."""

from __future__ import annotations

import io
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.errors import InputError
from core.report.material import gather
from core.report.trackers import TRACKERS, Logged, installed, logged, send
from tests.core.conftest import workspace_of

WHAT = Logged("a", {"audit": "x"}, {"accuracy": 0.5}, {"report.html": "<p>"})


def asked(audit: Audit, *more: str) -> int:
    where = ["--workspace", str(workspace_of(audit).root)]
    return main(["log", audit.name, "--quick", *more, *where])


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = types.ModuleType(name)
    for member, value in members.items():
        setattr(module, member, value)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a stand-in of MLflow was told."""
    told: list[Any] = []

    @contextmanager
    def start_run(run_name: str) -> Any:
        told.append(("run", run_name))
        yield types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))
        told.append(("end",))

    stand_in(
        monkeypatch,
        "mlflow",
        set_experiment=lambda name: told.append(("experiment", name)),
        start_run=start_run,
        log_params=lambda given: told.append(("params", given)),
        log_metrics=lambda given: told.append(("metrics", given)),
        log_text=lambda text, name: told.append(("text", name, text)),
        get_tracking_uri=lambda: "file:here",
    )
    return told


def test_mlflow_gets_a_run_with_figures_and_files(
    planted: Audit, mlflow: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(planted, "--to", "mlflow", "--project", "cues") == 0
    kinds = [each[0] for each in mlflow]
    assert kinds == ["experiment", "run", "params", "metrics", "text", "text", "end"]
    assert mlflow[0] == ("experiment", "cues")
    assert mlflow[1] == ("run", planted.name)
    facts, figures, html = mlflow[2][1], mlflow[3][1], mlflow[4]
    assert facts["audit"] == planted.id
    assert figures["accuracy"] == planted.summary.accuracy
    evidence = gather(planted, workspace_of(planted), with_model=False)
    rows = evidence.table.set_index(["measure", "class_name"])["value"]
    assert figures["spurious_gap/leaf"] == rows["spurious_gap", "leaf"]
    assert html[1] == "report.html"
    assert "Tested and passed" in html[2]
    assert "run r1 of experiment 'cues' at file:here" in capsys.readouterr().out


def test_rules_decide_how_the_command_ends(planted: Audit, mlflow: list[Any]) -> None:
    assert asked(planted, "--to", "mlflow", "--fail-on", "lean > 0.02") == 3
    assert "broken" in mlflow[4][2]


class Run:
    """A run of a stand-in of Weights & Biases."""

    id, url = "w1", None

    def __init__(self) -> None:
        self.summary: dict[str, float] = {}
        self.artifacts: list[Any] = []
        self.ended = False

    def log_artifact(self, artifact: Any) -> None:
        self.artifacts.append(artifact)

    def finish(self) -> None:
        self.ended = True


class Artifact:
    def __init__(self, name: str, type: str) -> None:
        self.name, self.files = name, dict[str, str]()

    @contextmanager
    def new_file(self, name: str, mode: str, encoding: str) -> Any:
        file = io.StringIO()
        yield file
        self.files[name] = file.getvalue()


def test_wandb_gets_a_run_with_figures_and_an_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    run, begun = Run(), list[Any]()
    stand_in(monkeypatch, "wandb", init=lambda **how: begun.append(how) or run, Artifact=Artifact)
    assert send("wandb", WHAT, "cues") == "run w1 of project 'cues' at the folder wandb"
    assert begun == [{"project": "cues", "name": "a", "config": {"audit": "x"}}]
    assert (run.summary, run.ended) == ({"accuracy": 0.5}, True)
    assert [(a.name, a.files) for a in run.artifacts] == [("audit-x", {"report.html": "<p>"})]


def test_a_run_is_ended_and_a_refusal_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()

    def refuse(_: object) -> None:
        raise RuntimeError("no\nplace left")

    monkeypatch.setattr(run, "log_artifact", refuse)
    stand_in(monkeypatch, "wandb", init=lambda **_: run, Artifact=Artifact)
    said = "Weights & Biases did not take the run: RuntimeError: no place left"
    with pytest.raises(InputError, match=said):
        send("wandb", WHAT)
    assert run.ended


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_without_the_package_nothing_is_measured_and_the_hint_is_clear(
    tiny_audit: Audit,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("core.report.material.gather", lambda *_, **__: pytest.fail("measured"))
    assert asked(tiny_audit, "--to", name) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == (
        f"error: logging to {TRACKERS[name].title} needs the package {name}: "
        f"pip install 'spurioscope[{name}]'"
    )
    with pytest.raises(InputError, match="no tracker 'aim'; choose mlflow, wandb"):
        installed("aim")


def test_names_of_metrics_hold_what_trackers_allow(planted: Audit) -> None:
    evidence = gather(planted, workspace_of(planted), with_model=False)
    table = evidence.table.assign(class_name="a=<ü>" + "x" * 300)
    object.__setattr__(evidence, "table", table)
    found = logged(evidence, {"f": "\udcff"})
    assert all(len(name) <= 200 and name.isascii() and "=" not in name for name in found.figures)
    assert found.files == {"f": "\\udcff"}


def test_mlflow_itself_keeps_it_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra is installed."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    assert "of experiment 'cues' at" in send("mlflow", WHAT, "cues")
    (html,) = tmp_path.rglob("report.html")
    assert html.read_text() == "<p>"
    (metric,) = tmp_path.rglob("metrics/accuracy")
    assert metric.read_text().split()[1] == "0.5"
