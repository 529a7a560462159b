"""A command that a page starts as a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.jobs import jobs
from core.storage.workspace import Workspace
from core.types import Progress


def page() -> None:
    from core.audits.audit_requests import DemoRequest
    from core.ui.frame import working

    working.offer(DemoRequest(), "Demo", "List", key="list")


def job(state: str) -> jobs.Job:
    progress = Progress("Starting", 0, 0)
    return jobs.Job("1", "t", ["demo"], state, progress, 0.0, None, "no disk", None, 0.0, 3)


def refused(text: str) -> Callable[..., Any]:
    def start(*_: object) -> None:
        raise jobs.JobError(text)

    return start


def test_a_command_that_is_refused_is_a_sentence(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "start", refused("20 jobs wait already"))
    app = AppTest.from_function(page).run()
    app.button(key="list").click().run()
    assert not app.exception
    assert app.error[0].value == "20 jobs wait already"


def test_a_command_that_waits_is_not_offered_again(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "jobs", lambda _: [job("waiting")])
    monkeypatch.setattr(jobs, "read", lambda *_: job("waiting"))
    app = AppTest.from_function(page).run()
    assert not app.button
    assert app.caption[0].value.endswith("Waiting, 3 before it")


def test_a_command_that_failed_says_why_and_is_offered_again(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "jobs", lambda _: [job("failed")])
    app = AppTest.from_function(page).run()
    assert app.error[0].value == "no disk"
    assert app.button(key="list").label == "List"
