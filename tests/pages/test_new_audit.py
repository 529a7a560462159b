from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.errors import JobError
from core.jobs import jobs
from core.storage.guard import CONFINED
from core.storage.workspace import Workspace
from core.types import Progress
from core.ui.new_audit import queue
from tests.conftest import draw, tiny_request
from tests.pages.conftest import Open, healthy


def job(number: int, state: str, *, before: int = 0, **more: str) -> jobs.Job:
    progress = Progress("Reading images", 5, 10)
    return jobs.Job(
        str(number),
        f"data_{number} · model",
        ["audit", str(number)],
        state,
        progress,
        1.0,
        5.0,
        more.get("message", ""),
        more.get("audit_id"),
        float(number),
        before,
    )


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def test_form_works_in_an_empty_workspace(empty: Workspace, opened: Open) -> None:
    app = healthy(opened("new"), "New audit")
    assert any("No job has been started" in c.value for c in app.caption)


def test_nothing_filled_in(workspace: Workspace, opened: Open) -> None:
    app = press(opened("new"), "Start")
    assert app.error[0].value == "Say which images and which model to audit."


def test_a_path_that_does_not_exist_is_a_sentence(workspace: Workspace, opened: Open) -> None:
    app = opened("new")
    next(t for t in app.text_input if t.label == "Images").set_value("/nowhere/at_all")
    press(app, "Check")
    assert not app.exception
    assert "nowhere" in app.error[0].value


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    started: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, __: started.append(list(arguments)))
    return started


def test_check_counts_and_starts_nothing(
    workspace: Workspace, opened: Open, folder: Path, commands: list[list[str]]
) -> None:
    app = opened("new")
    next(t for t in app.text_input if t.label == "Images").set_value(str(folder))
    press(app, "Check")
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Images"] == "36"
    assert shown["Classes"] == "2"
    assert shown["Unreadable"].startswith("0 of ")
    assert commands == []


def test_start_hands_everything_to_the_command(
    workspace: Workspace, opened: Open, folder: Path, commands: list[list[str]]
) -> None:
    app = opened("new")
    next(t for t in app.text_input if t.label == "Images").set_value(str(folder))
    next(t for t in app.text_input if t.label == "Name").set_value("mine")
    press(app, "Start")
    (command,) = commands
    assert command[:5] == ["audit", "--data", str(folder), "--model", "packaged:efficientnet-lite0"]
    assert command[command.index("--name") + 1] == "mine"
    assert AuditRequest.parse(command).head == "auto"


def test_jobs_can_be_watched_cancelled_resumed_and_opened(
    workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workspace.manifests()[-1].id
    known = [
        job(3, "running"),
        job(2, "failed", message="the disk is full"),
        job(1, "finished", audit_id=first),
    ]
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(jobs, "jobs", lambda _: known)
    monkeypatch.setattr(jobs, "cancel", lambda _, i: calls.append(("cancel", i)))
    monkeypatch.setattr(jobs, "resume", lambda _, i: calls.append(("resume", i)))
    app = opened("new")
    assert "5 of 10 images" in app.get("progress")[0].proto.text
    assert app.error[0].value == "the disk is full"
    press(app, "Cancel")
    press(app, "Resume")
    assert calls == [("cancel", "3"), ("resume", "2")]
    press(app, "Open")
    assert app.title[0].value == workspace.manifests()[-1].name


def test_the_queue_stands_before_what_has_ended(
    workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = [job(n, "failed", message="the disk is full") for n in range(40, 10, -1)]
    waiting = [job(n, "waiting", before=n - 1) for n in range(3, 1, -1)]
    monkeypatch.setattr(jobs, "jobs", lambda _: [*waiting, *ended, job(1, "running")])
    cancelled: list[str] = []
    monkeypatch.setattr(jobs, "cancel", lambda _, i: cancelled.append(i))
    app = opened("new")
    assert not app.exception
    headlines = [m.value for m in app.markdown if "data" in m.value]
    assert len(headlines) == 23
    assert [line.replace("\\", "") for line in headlines[:4]] == [
        "**running** · data_1 · model",
        "**waiting** · data_2 · model",
        "**waiting** · data_3 · model",
        "**failed** · data_40 · model",
    ]
    assert [c.value.partition(" ")[2] for c in app.caption if "before it" in c.value] == [
        "Waiting, 1 before it",
        "Waiting, 2 before it",
    ]
    app.button(key="cancel-3").click().run()
    assert cancelled == ["3"]


def test_the_same_command_twice_hides_neither_job() -> None:
    first, second = job(1, "running"), dataclasses.replace(job(2, "waiting"), arguments=["audit"])
    first = dataclasses.replace(first, arguments=["audit"])
    before = dataclasses.replace(job(0, "failed"), arguments=["audit"])
    assert queue([second, first, before]) == [first, second]


@pytest.mark.parametrize("label", ["Cancel", "Resume"])
def test_a_job_that_cannot_be_changed_is_a_sentence(
    workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    def refuse(*_: object) -> None:
        raise JobError("20 jobs wait already")

    known = [job(2, "running"), job(1, "failed")]
    monkeypatch.setattr(jobs, "jobs", lambda _: known)
    monkeypatch.setattr(jobs, "cancel", refuse)
    monkeypatch.setattr(jobs, "resume", refuse)
    app = press(opened("new"), label)
    assert not app.exception
    assert app.error[0].value == "20 jobs wait already"


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFINED, "")  # put back afterwards
    monkeypatch.delenv(CONFINED)
    before = config.get_option("server.address")
    config.set_option("server.address", "0.0.0.0")
    yield
    config.set_option("server.address", before)


@pytest.mark.usefixtures("public")
def test_a_manifest_that_leads_out_is_refused(
    workspace: Workspace,
    opened: Open,
    tmp_path: Path,
    folder: Path,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "m.csv").write_text("path,label\n../data/train/red/00.jpg,red\n")
    monkeypatch.setenv("SPURIOSCOPE_DATA", str(inside))
    app = opened("new")
    next(t for t in app.text_input if t.label == "Images").set_value(str(inside / "m.csv"))
    press(app, "Start")
    assert commands == []
    assert app.error


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("label", ["Images", "Checkpoint file"])
@pytest.mark.parametrize(
    "trick",
    ["{out}/secret.csv", "{inside}/no?/../../secret.csv", "{inside}/link/x.csv", "a\0b"],
)
def test_other_machines_name_nothing_outside(
    workspace: Workspace,
    opened: Open,
    tmp_path: Path,
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    trick: str,
) -> None:
    inside = tmp_path / "inside"
    (inside / "photos").mkdir(parents=True)
    (inside / "link").symlink_to(tmp_path)
    (tmp_path / "secret.csv").write_text("name,salary\nAnn,1\n")
    monkeypatch.setenv("SPURIOSCOPE_DATA", str(inside))
    app = opened("new")
    for field in app.text_input:
        if field.label in ("Images", label):
            field.set_value(str(inside / "photos"))
        if field.label == label:
            field.set_value(trick.format(inside=inside, out=tmp_path))
    press(app, "Start")
    assert commands == []
    assert not app.exception
    (error,) = app.error
    assert "reads only below" in error.value or "NUL byte" in error.value
    assert "salary" not in error.value


@pytest.mark.usefixtures("public")
def test_other_machines_name_no_folder_of_cue_images_outside(
    workspace: Workspace, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_DATA", str(tmp_path / "inside"))
    first, second = (manifest.id for manifest in workspace.manifests())
    app = opened("compare", audit=first, with_=second)
    fields = [field for field in app.text_input if field.label == "Folder"]
    assert fields
    fields[0].set_value(str(tmp_path / "inside/x?/../../outside")).run()
    assert any("reads only below" in error.value for error in app.error)


def test_what_an_audit_assumes_is_shown_and_can_be_said(
    workspace: Workspace, opened: Open, folder: Path, commands: list[list[str]]
) -> None:
    app = opened("new")
    app.toggle[0].set_value(True).run()
    fields = {t.label: t for t in app.text_input}
    fields["Images"].set_value(f"folder:{folder}?classes=inner")
    fields["Mean"].set_value("124, 117, 104")
    fields["Standard deviation"].set_value("58")
    fields["Channels"].set_value("bgr")
    press(app, "Start")
    assert not app.exception
    said = "\n".join(info.value for info in app.info)
    assert "A linear probe is fitted" in said or "own head is kept" in said
    assert "The network sees every image as" in said
    asked = AuditRequest.parse(commands[0])
    assert (asked.mean, asked.std, asked.colours) == ((124, 117, 104), (58,), "bgr")
    assert asked.reading is not None
    assert asked.reading.mean == (124 / 255, 117 / 255, 104 / 255)


def test_what_was_understood_of_a_table_is_on_the_pages(
    workspace: Workspace, opened: Open, tmp_path: Path
) -> None:
    """As Excel saves what Windows, and the authors of a benchmark, write."""
    rows = ["img_filename;y;place;split;height"]
    for i in range(8):
        draw(tmp_path / "im" / f"{i}.jpg", (9, 99, 199), np.random.default_rng(i))
        mark = "\\" if i % 2 else "/"
        rows.append(
            f"im{mark}{i}.jpg;{i % 2};{'land' if i < 4 else 'sea'};{[0, 0, 1, 2][i // 2]};1,5"
        )
    rows += ["im/0.jpg;1;land;0;1,5", ";;;;", ";;;;"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    app = opened("new")
    next(t for t in app.text_input if t.label == "Images").set_value(str(tmp_path / "metadata.csv"))
    press(app, "Check")
    assert not app.error
    understood = [
        "Columns of the manifest are read so: img_filename as path, y as label.",
        "Semicolons are read as what stands between cells and commas as decimal marks.",
        "2 empty rows are left out of the manifest.",
        "Splits of the manifest are read so: 0 as train, 1 as val, 2 as test.",
        "Backslashes of 4 paths are read as slashes.",
        "1 image is listed with two labels, of which the first counts: im/0.jpg.",
    ]
    said = [info.value.replace("\\", "") for info in app.info]
    assert [text for text in understood if text not in said] == []
    request = tiny_request(tmp_path / "metadata.csv", model="tiny:page-0", name="birds")
    audit = run_audit(request, workspace)
    said = [info.value.replace("\\", "") for info in opened("overview", audit=audit.id).info]
    assert [text for text in understood if text not in said] == []


@pytest.mark.parametrize(
    ("label", "text", "message"),
    [
        ("Mean", "red", "no numbers"),
        ("Channels", "gbr", "choose rgb, bgr"),
        ("Input size", "0", "give one number of pixels"),
        ("Share seen", "2", "at most 1"),
        ("Black and white", "7", "black and white"),
        ("Classes of the outputs", "/nowhere/classes.txt", "cannot be read"),
    ],
)
def test_what_cannot_be_said_is_a_sentence(
    workspace: Workspace, opened: Open, folder: Path, label: str, text: str, message: str
) -> None:
    app = opened("new")
    app.toggle[0].set_value(True).run()
    fields = {t.label: t for t in app.text_input}
    fields["Images"].set_value(str(folder))
    fields[label].set_value(text)
    press(app, "Check")
    assert not app.exception
    assert message in app.error[0].value
