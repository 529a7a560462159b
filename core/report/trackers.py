"""An audit's figures and report as a run of an experiment tracker. Nothing is sent unless asked.

A tracker is an optional package, imported when it is used, and talks to whatever it is set up for:
MLflow to ``MLFLOW_TRACKING_URI``, without it to a folder; Weights & Biases to its service, or with
``WANDB_MODE=offline`` to a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from core import __version__
from core.errors import InputError
from core.report.material import Evidence
from core.types import Registry

PROJECT = "spurioscope"
"""Experiment or project that runs go to by default."""

LONGEST = 200
"""Characters of a metric's name; MLflow allows 250."""


@dataclass(frozen=True)
class Logged:
    """What is sent of one audit."""

    name: str
    facts: Mapping[str, str]
    """What was audited."""
    figures: Mapping[str, float]
    """By name: the measure, then class and subject where it is of such."""
    files: Mapping[str, str]
    """Texts by the names of their files."""


@dataclass(frozen=True)
class Tracker:
    """One way to log."""

    name: str
    title: str
    package: str
    """To be imported; also the extra that installs it."""
    send: Callable[[Any, Logged, str], str]
    """``send(module, logged, project)``: where it went, in words."""


def logged(evidence: Evidence, files: Mapping[str, str]) -> Logged:
    """What is sent of an audit: its facts, every figure of the table of measures, and files."""
    audit = evidence.audit
    manifest, summary = audit.manifest, audit.summary
    facts = {
        "audit": audit.id,
        "fingerprint": manifest.fingerprint,
        "model": manifest.model.name,
        "weights": manifest.parts.weights,
        "data": manifest.data.source.rpartition("/")[2],
        "held_out": summary.held_out,
        "spurioscope": __version__,
    }
    found = {} if summary.accuracy is None else {"accuracy": summary.accuracy}
    for row in evidence.table.to_dict("records"):
        if row["value"] == row["value"]:
            of = (row["measure"], row["class_name"], row["subject"])
            found[_plain("/".join(part for part in of if part))] = float(row["value"])
    return Logged(audit.name, facts, found, {name: _text(text) for name, text in files.items()})


def _text(text: str) -> str:
    """A text that can be written as UTF-8; names of files may hold what cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(name: str) -> str:
    """A metric's name of letters, digits and what every tracker allows beside them."""
    return re.sub(r"[^\w./ -]+", "-", name, flags=re.ASCII)[:LONGEST]


def installed(tracker: str) -> Any:
    """The package of a tracker.

    Raises
    ------
    InputError
        If there is no such tracker, or its package is not installed.
    """
    chosen = TRACKERS.chosen(tracker)
    try:
        return import_module(chosen.package)
    except ImportError as error:
        raise InputError(
            f"logging to {chosen.title} needs the package {chosen.package}: "
            f"pip install 'spurioscope[{chosen.package}]'"
        ) from error


def send(tracker: str, what: Logged, project: str = PROJECT) -> str:
    """Log a run; where it went, in words.

    Raises
    ------
    InputError
        As for :func:`installed`, and if the tracker refuses.
    """
    module, chosen = installed(tracker), TRACKERS[tracker]
    try:
        return chosen.send(module, what, project)
    except Exception as error:  # noqa: BLE001 - whatever another package raises, in one sentence
        raise InputError(f"{chosen.title} did not take the run: {_said(error)}") from error


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _to_mlflow(mlflow: Any, what: Logged, project: str) -> str:
    mlflow.set_experiment(project)
    with mlflow.start_run(run_name=what.name) as run:
        mlflow.log_params(dict(what.facts))
        mlflow.log_metrics(dict(what.figures))
        for name, text in what.files.items():
            mlflow.log_text(text, name)
    return f"run {run.info.run_id} of experiment {project!r} at {mlflow.get_tracking_uri()}"


def _to_wandb(wandb: Any, what: Logged, project: str) -> str:
    run = wandb.init(project=project, name=what.name, config=dict(what.facts))
    try:
        run.summary.update(dict(what.figures))
        artifact = wandb.Artifact(f"audit-{what.facts['audit']}", type="report")
        for name, text in what.files.items():
            with artifact.new_file(name, mode="w", encoding="utf-8") as file:
                file.write(text)
        run.log_artifact(artifact)
    finally:
        run.finish()
    return f"run {run.id} of project {project!r} at {run.url or 'the folder wandb'}"


MLFLOW = Tracker("mlflow", "MLflow", "mlflow", _to_mlflow)
WANDB = Tracker("wandb", "Weights & Biases", "wandb", _to_wandb)

TRACKERS: Registry[Tracker] = Registry(
    "tracker", ("core.report.trackers:MLFLOW", "core.report.trackers:WANDB")
)
"""By name."""
