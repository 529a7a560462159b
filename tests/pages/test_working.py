"""A command that a page starts as a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.jobs import jobs
from core.storage.workspace import Workspace
from core.types import Progress
from core.ui.frame.working import duration, rate_in_words


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
    assert [button.label for button in app.button] == ["Cancel"]
    assert app.caption[0].value.endswith("Waiting, 3 before it")


def test_what_runs_is_cancelled_where_it_was_started(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = list[str]()
    monkeypatch.setattr(jobs, "jobs", lambda _: [job("cancelled" if ended else "waiting")])
    monkeypatch.setattr(jobs, "read", lambda *_: job("cancelled" if ended else "waiting"))
    monkeypatch.setattr(jobs, "cancel", lambda _, job_id: ended.append(job_id))
    app = AppTest.from_function(page).run()
    app.button(key="cancel-1").click().run()
    assert ended == ["1"]
    assert [button.key for button in app.run().button] == ["list"]


def test_a_presentation_cancels_nothing(empty: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    monkeypatch.setattr(jobs, "jobs", lambda _: [job("waiting")])
    monkeypatch.setattr(jobs, "read", lambda *_: job("waiting"))
    assert not AppTest.from_function(page).run().button


@pytest.mark.parametrize(
    ("rate", "words"),
    [(1234.4, "1,234 per second"), (0.05, "3 per minute"), (0.001, "3.6 per hour")],
)
def test_a_slow_rate_is_not_none(rate: float, words: str) -> None:
    assert rate_in_words(rate) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(119.4, "119 s"), (519, "9 min"), (9000, "2.5 h")], ids=str
)
def test_a_long_time_is_in_minutes_or_hours(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_command_that_failed_says_why_and_is_offered_again(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "jobs", lambda _: [job("failed")])
    app = AppTest.from_function(page).run()
    assert app.error[0].value == "no disk"
    assert app.button(key="list").label == "List"
