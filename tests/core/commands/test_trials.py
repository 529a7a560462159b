"""What an audit leaves to a job of its own: the trials that are long beside the pass."""

from __future__ import annotations

import json
import shutil
import time

import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.audit_requests import TrialsRequest
from core.commands import trials
from core.errors import JobError
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.trials.leaned_on import leaned_on
from core.trials.leaning import KEYS, leaning, measure_leaning, missing
from core.types import Progress


@pytest.fixture
def audit(tiny_audit: Audit, workspace: Workspace) -> Audit:
    """Finished, and nothing of it was tried."""
    shutil.copytree(tiny_audit.folder, workspace.folder(tiny_audit.id))
    return Audit.open(workspace, "tiny")


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be tried at once."""
    monkeypatch.setattr(trials, "WORTH_A_JOB", 0.0)
    monkeypatch.setattr(trials, "OF_THE_PASS", 0.0)


def again(audit: Audit, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The same audit command once more."""
    asked = audit.manifest.data.source, audit.manifest.model.name
    options = ["--head", "fit", "--precision", "fp32", "--batch-size", "4", "--device", "cpu"]
    where = ["--workspace", str(audit.folder.parents[1]), "--name", "tiny", "--json"]
    code = main(["audit", "--data", asked[0], "--model", asked[1], *options, *where])
    said = capsys.readouterr()
    assert code == 0, said.err
    found: dict[str, object] = json.loads(said.out)
    return found


@pytest.mark.usefixtures("hurried")
def test_what_takes_long_is_tried_by_a_job_while_everything_can_be_read(
    audit: Audit, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    left = again(audit, capsys)["trials"]
    assert [one.reason for one in leaned_on(audit)] == ["not tried yet"] * 2
    job = jobs.newest(workspace, TrialsRequest(audit.id))
    assert job is not None
    assert left == {"job": job.id, "classes": 2}
    until = time.monotonic() + 60
    while job.active and time.monotonic() < until:
        time.sleep(0.1)
        job = jobs.read(workspace, job.id)
    assert (job.state, job.audit_id, job.progress.done) == ("finished", audit.id, 2), job.message
    by_the_job, here = leaning(audit), Audit(audit.folder)
    assert missing(here) == []
    shutil.rmtree(here.files.outcomes)
    whole = measure_leaning(here)
    pd.testing.assert_frame_equal(
        by_the_job.sort_values(KEYS, ignore_index=True), whole.sort_values(KEYS, ignore_index=True)
    )
    assert "trials" not in again(audit, capsys)


@pytest.mark.usefixtures("hurried")
def test_a_job_that_tries_them_already_is_left_alone(
    audit: Audit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []

    def start(_: Workspace, arguments: list[str], title: str) -> jobs.Job:
        begun.append(arguments)
        running = Progress("Trying candidates in the maps", 1, 2, "classes")
        return jobs.Job("1", title, arguments, "running", running, 0.0, None, "", audit.id, 0.0)

    monkeypatch.setattr(jobs, "start", start)
    first = trials.leave_the_rest(audit, workspace, print)
    monkeypatch.setattr(jobs, "jobs", lambda _: [start(workspace, begun[0], "t")])  # type: ignore[arg-type]
    second = trials.leave_the_rest(audit, workspace, print)
    assert first == second
    assert begun[0] == ["trials", audit.id]
    monkeypatch.setattr(trials, "WORTH_A_JOB", 60.0)
    trials.try_at_once(audit, workspace, print, passed=1.0)
    assert len(missing(audit)) == 2
    assert "2 of 2 classes are tried by a job of its own" in first.text


@pytest.mark.usefixtures("hurried")
def test_where_no_job_can_be_started_they_are_tried_here(
    audit: Audit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise JobError("20 jobs wait already")

    monkeypatch.setattr(jobs, "start", refuse)
    assert "trials" not in again(audit, capsys)
    assert missing(audit) == []


def test_half_of_the_pass_is_theirs_and_leading_classes_come_first(
    audit: Audit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "WORTH_A_JOB", 0.0)
    first, last = missing(audit)
    assert (first.top_gap or 0) >= (last.top_gap or 0)
    clock = iter([0.0, 0.0, 6.0])  # a class takes six seconds
    monkeypatch.setattr("core.trials.leaning.time.monotonic", lambda: next(clock))
    trials.try_at_once(audit, workspace, lambda _: None, passed=10.0)
    assert [facts.label for facts in missing(audit)] == [last.label]


def test_the_command_says_what_it_found(
    audit: Audit, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace.root)]
    assert main(["trials", "tiny", "--json", *where]) == 0
    found, table = json.loads(capsys.readouterr().out), leaning(audit)
    above = int((table["lean_low"] > 0).sum())
    expected = {"audit": audit.id, "classes": 2, "candidates": len(table), "above": above}
    assert found == expected
    audit.store.drop_maps()
    assert main(["trials", "tiny", *where]) == 2
    assert "no maps are kept; run the same audit again" in capsys.readouterr().err
