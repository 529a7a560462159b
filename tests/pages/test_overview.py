from __future__ import annotations

import dataclasses
import re

import pytest

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.jobs import jobs
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.trials.leaned_on import leaned_on
from core.trials.leaning import measure_leaning
from core.types import Progress, Tag
from core.ui.overview import leans
from tests.pages.conftest import Open, address, gallery, healthy, send


def job(state: str, message: str = "") -> jobs.Job:
    progress = Progress("Reading images", 30, 120)
    return jobs.Job("1", "Demo", ["demo"], state, progress, 10.0, 9.0, message, None, 0.0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been started."""
    commands: list[list[str]] = []

    def start(_: Workspace, arguments: list[str], __: str) -> jobs.Job:
        commands.append(list(arguments))
        return job("running")

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(jobs, "read", lambda *_: job("running"))
    return commands


@pytest.mark.parametrize("page", ["overview", "components", "image", "compare"])
def test_an_empty_workspace_prepares_the_demo_with_progress(
    empty: Workspace, started: list[list[str]], opened: Open, page: str
) -> None:
    app = healthy(opened(page), "Spurioscope")
    assert started == [["demo"]]
    (bar,) = app.get("progress")
    assert bar.proto.value == 25
    assert "30 of 120 images, 10 per second, about 9 s left" in bar.proto.text


def test_a_demo_that_waits_says_so(
    empty: Workspace, started: list[list[str]], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = dataclasses.replace(job("waiting"), before=2)
    monkeypatch.setattr(jobs, "jobs", lambda _: [waiting])
    monkeypatch.setattr(jobs, "read", lambda *_: waiting)
    app = healthy(opened("overview"), "Spurioscope")
    assert [c.value for c in app.caption if "before it" in c.value] == [
        ":material/hourglass_empty: Waiting, 2 before it"
    ]
    assert started == []


@pytest.mark.parametrize("variable", ["none", "0"])
def test_a_demo_that_cannot_be_started_is_a_sentence(
    empty: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_JOBS", variable)
    app = opened("overview")
    assert not app.exception
    assert "is no number of jobs" in app.error[0].value


def test_a_demo_on_its_way_is_not_started_twice(
    empty: Workspace, started: list[list[str]], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "jobs", lambda _: [job("running")])
    healthy(opened("overview"), "Spurioscope")
    assert started == []


def test_a_demo_that_failed_says_why_and_can_be_tried_again(
    empty: Workspace, started: list[list[str]], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, resumed = job("failed", "the disk of /x is full"), []
    monkeypatch.setattr(jobs, "jobs", lambda _: [failed])
    monkeypatch.setattr(jobs, "read", lambda *_: failed)
    monkeypatch.setattr(jobs, "resume", lambda _, job_id: resumed.append(job_id))
    app = opened("overview")
    assert "the disk of /x is full" in app.error[0].value
    app.button[0].click().run()
    assert resumed == ["1"]


def test_nothing_is_started_in_a_presentation(
    empty: Workspace, started: list[list[str]], opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    app = healthy(opened("overview"), "Spurioscope")
    assert started == []
    assert "nothing may be started" in app.info[0].value


def test_headline_and_classes(audit: Audit, opened: Open) -> None:
    app = healthy(opened("overview", audit=audit.id), "first")
    html = next(e.proto.body for e in app.get("html") if "<dl" in e.proto.body)
    shown = dict(re.findall(r"<dt[^>]*>(.*?)</dt><dd[^>]*>(.*?)</dd>", html))
    assert shown["Images"] == "66"
    assert shown["Classes"] == "3"
    table = app.dataframe[0].value
    assert sorted(table["class"]) == ["cat", "dog_*x*", "eel"]
    assert table["picture"].str.startswith("/pictures/photo/").all()
    assert address(app) == {"audit": audit.id, "sort": "lean", "only": "0", "plot": "0"}


def test_deep_link_restores_search_and_order(audit: Audit, opened: Open) -> None:
    app = healthy(opened("overview", audit=audit.id, q="E", sort="name"), "first")
    assert list(app.dataframe[0].value["class"]) == ["eel"]
    app.text_input(key="w_q").set_value("").run()
    assert list(app.dataframe[0].value["class"]) == ["cat", "dog_*x*", "eel"]
    assert "q" not in address(app)


def test_the_plot_is_drawn_when_asked_for(audit: Audit, opened: Open) -> None:
    app = healthy(opened("overview", audit=audit.id), "first")
    assert not app.get("plotly_chart")
    app.toggle(key="w_plot").set_value(True).run()
    assert len(app.get("plotly_chart")) == 1
    assert address(app)["plot"] == "1"


def test_search_without_a_match_says_so(audit: Audit, opened: Open) -> None:
    app = healthy(opened("overview", audit=audit.id, q="zebra"), "first")
    assert any("No class matches" in text.value for text in app.markdown)


def test_unknown_audit_and_sort_fall_back(workspace: Workspace, opened: Open) -> None:
    app = opened("overview", audit="../../etc", sort="height")
    assert app.title[0].value == "second"  # the newest
    assert address(app)["sort"] == "lean"


@pytest.mark.parametrize("file", ["summary.json", "candidates.parquet"])
def test_damaged_audit_is_a_sentence(audit: Audit, opened: Open, file: str) -> None:
    (audit.folder / file).write_bytes(b"{ damaged")
    app = opened("overview", audit=audit.id)
    assert not app.exception
    assert file in app.error[0].value


@pytest.fixture
def tried(audit: Audit) -> Audit:
    measure_leaning(audit)
    return audit


def test_what_classes_lean_on_is_asked_about(tried: Audit, opened: Open) -> None:
    found = leaned_on(tried)
    clear = [one for one in found if one.block == "maps"]
    app = healthy(opened("overview", audit=tried.id), "first")
    table = app.dataframe[0].value
    assert table["lean"].tolist() == [one.lean for one in clear]
    assert clear
    card = gallery(app)["cards"][0]
    assert card["title"] == f"{clear[0].facts.name}: {clear[0].key.title}"
    assert card["facts"].startswith(f"its {clear[0].key.title} alone turns ")
    send(app, "tagged", f"{card['name']}/core")
    healthy(app, "first")
    store = TagStore.open(Workspace(tried.folder.parents[1]))
    (event,) = store.current(tried.id)
    assert (event.key, event.tag) == (clear[0].key, Tag.CORE)
    after = leaned_on(tried, {clear[0].key})  # meant to matter: its class is ranked by another
    assert [c["title"] for c in gallery(app)["cards"]] == [
        f"{one.facts.name}: {one.key.title}" for one in after if one.block == "maps"
    ][:3]


def test_every_class_that_leans_is_asked_about(
    tried: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.ui.overview.leans.SHOWN", 1)
    leaning = [one for one in leaned_on(tried) if one.block != "rest"]
    assert len(leaning) > 1
    for place, one in enumerate(leaning, 1):
        app = healthy(opened("overview", audit=tried.id, **{"from": str(place)}), "first")
        assert [card["title"] for card in gallery(app)["cards"]] == [
            f"{one.facts.name}: {one.key.title}"
        ]
    (asked,) = app.number_input
    assert (asked.value, asked.max) == (len(leaning), len(leaning))
    assert f"of {len(leaning)} that lean on something" in asked.label


def test_before_anything_is_tried_the_page_says_so(audit: Audit, opened: Open) -> None:
    app = healthy(opened("overview", audit=audit.id), "first")
    assert any("3 of 3 classes were not tried yet" in text.value for text in app.info)
    assert app.button(key="try").label == "Try what candidates do in the maps"
    assert not {"lean", "put_in", "taken"} & set(app.dataframe[0].value)  # nothing is known of them
    assert app.dataframe[0].value["by"].tolist() == ["not tried yet"] * 3


def test_an_audit_without_maps_gets_them_by_a_button(
    audit: Audit, opened: Open, started: list[list[str]]
) -> None:
    audit.store.drop_maps()
    app = healthy(opened("overview", audit=audit.id), "first")
    assert any("no maps are kept; run the same audit again" in text.value for text in app.info)
    assert not [button for button in app.button if button.key == "try"]
    app.button(key="keep-maps").click().run()
    (arguments,) = started
    assert AuditRequest.parse(arguments) == AuditRequest.again(audit.manifest)


def test_nothing_is_called_harmed_or_certain(tried: Audit, opened: Open) -> None:
    app = healthy(opened("overview", audit=tried.id), "first")
    said = " ".join(e.value for e in (*app.caption, *app.markdown, *app.info)).casefold()
    assert "harmed" not in said
    assert "certain" not in said


@pytest.mark.parametrize("name", ["van", "gray timber wolf of the northern forests"])
def test_columns_of_a_finished_audit_stand_side_by_side(name: str) -> None:
    """A window of 1,440 px leaves 1,008 to a table, 36 of them to its boxes."""
    columns = leans.configuration([name])
    drawn = [column for column in columns.values() if column]
    assert sum(column["width"] for column in drawn) <= 1008 - 36
    assert columns["class"]["width"] >= min(7 * len(name), 200)
    assert set(columns) - {"picture"} >= set(leans.COLUMNS) - {"picture"}
    assert columns["interval"] is not None  # a lean never stands without it


def test_an_audit_in_an_address_is_named_as_in_commands_or_said_not_to_be_here(
    audit: Audit, opened: Open
) -> None:
    for text in (audit.name, audit.id[:6]):
        app = healthy(opened("overview", audit=text), audit.name)
        assert (address(app)["audit"], list(app.toast)) == (audit.id, [])
    (said,) = opened("overview", audit="gone").toast
    assert "audit “gone”. Shown instead" in said.value
