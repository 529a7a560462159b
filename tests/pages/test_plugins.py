"""What other packages add, each from one file outside core: found by name wherever it is chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.corrections.methods import METHODS
from core.data.open import open_data
from core.data.source import SOURCES
from core.errors import DataError, InputError
from core.explain.attribution import attribute
from core.jobs import jobs
from core.measures.registry import MEASURES, register
from core.storage.guard import CONFINED
from core.storage.workspace import Workspace
from core.tags.decisions import decided, spuriosity_of
from core.tags.log import TagStore
from core.types import Tag
from tests.pages.conftest import Install, Open, gallery, healthy
from tests.plugins.labelled_lines import SOURCE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Arguments of the jobs that were started; none really is."""
    found: list[list[str]] = []
    monkeypatch.setattr(jobs, "start", lambda _, arguments, title: found.append(list(arguments)))
    return found


@pytest.mark.parametrize(
    "names",
    [
        ("hushed-class", "hushed_class", "Hush the cue"),
        ("pixel_slope", "pixel-slope", "Slope times pixel"),
        ("labelled-lines", "labelled_lines"),
        ("sure_of_cue", "Confidence where the cue is"),
    ],
)
def test_the_tool_itself_knows_none_of_them(names: tuple[str, ...]) -> None:
    files = [path for room in ("core", "pages", "assets") for path in (ROOT / room).rglob("*")]
    texts = [path.read_bytes() for path in [*files, ROOT / "app.py"] if path.is_file()]
    assert len(texts) > 200
    assert not [name for name in names for text in texts if name.encode() in text]


# A correction


@pytest.fixture
def tagged(audit: Audit, workspace: Workspace) -> Audit:
    key = CandidateKey(audit.classes[0].label, "pca", 0)
    TagStore.open(workspace).add("Ann", audit.id, key, Tag.SPURIOUS)
    return audit


def test_a_correction_is_chosen_on_its_page(
    install: Install, tagged: Audit, opened: Open, started: list[list[str]]
) -> None:
    install(corrections="hushed_class:add")
    app = healthy(opened("mitigate", audit=tagged.id, method="hushed-class"), "Mitigate")
    (choice,) = [box for box in app.selectbox if box.label == "Method"]
    assert choice.options[-1] == "Hush the cue in its class"
    assert any("Other classes go on seeing the cue." in c.value for c in app.caption)
    (level,) = [box for box in app.selectbox if box.label == "Level"]
    level.set_value("lowest")
    (button,) = [button for button in app.button if button.label == "Start"]
    healthy(button.click().run(), "Mitigate")
    (arguments,) = started
    assert arguments[arguments.index("--method") + 1] == "hushed-class"
    assert arguments[arguments.index("--option") + 1] == "level=lowest"


def test_a_correction_is_run_and_told_of(
    install: Install,
    tagged: Audit,
    workspace: Workspace,
    opened: Open,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(corrections="hushed_class:add")
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    place = ["--workspace", str(workspace.root)]
    arguments = ["mitigate", tagged.name, "--method", "hushed-class", "--name", "hushed", "--quick"]
    assert main([*arguments, "--json", *place]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["mitigation"]["method"] == "hushed-class"
    assert {row["strength"] for row in told["tradeoff"]} == {0.0, 0.5, 1.0}
    assert {row["measure"] for row in told["effect"]} >= {"accuracy", "agreement"}

    hushed = Audit.open(workspace, "hushed")
    own = tagged.classes[0].class_idx
    changed = np.flatnonzero(np.abs(hushed.head.weight - tagged.head.weight).max(axis=1) > 1e-6)
    assert changed.tolist() in ([], [own])  # none: no strength did better than no change
    app = healthy(opened("mitigate", audit=tagged.id, result=hushed.id), "Mitigate")
    assert any("**Hush the cue in its class** at strength" in m.value for m in app.markdown)

    assert main(["export-model", "hushed", "--out", str(tmp_path / "m.safetensors"), *place]) == 0
    card = (tmp_path / "m.card.md").read_text()
    assert "Method: Hush the cue in its class (an example)" in card.replace("\\", "")
    report = tmp_path / "report.html"
    assert main(["report", "hushed", "--quick", "--out", str(report), *place]) == 0
    assert "Hush the cue in its class (an example) at strength" in report.read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["mitigate", "--help"])
    assert "hushed-class    Hush the cue in its class. an example" in capsys.readouterr().out


def test_its_options_and_strengths_are_checked_like_all(
    install: Install, tagged: Audit, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    install(corrections="hushed_class:add")
    arguments = ["mitigate", tagged.name, "--method", "hushed-class", "--name", "hushed"]
    arguments += ["--workspace", str(workspace.root)]
    assert main([*arguments, "--option", "level=high"]) == 2
    assert "hushed-class has level=mean|lowest" in capsys.readouterr().err
    assert main([*arguments, "--strength", "1.5"]) == 2
    assert "hushed-class takes 0 to 1, or auto" in capsys.readouterr().err


def test_an_audit_outlives_the_plugin_that_corrected_it(
    install: Install,
    tagged: Audit,
    workspace: Workspace,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(corrections="hushed_class:add")
    arguments = ["mitigate", tagged.name, "--method", "hushed-class", "--name", "hushed", "--quick"]
    assert main([*arguments, "--strength", "1", "--workspace", str(workspace.root)]) == 0
    monkeypatch.setattr(METHODS, "_found", {k: m for k, m in METHODS.items() if k[0] != "h"})
    hushed = Audit.open(workspace, "hushed")
    app = healthy(opened("mitigate", audit=tagged.id, result=hushed.id), "Mitigate")
    assert any("**hushed-class** at strength **1**" in m.value for m in app.markdown)


# A measure


def shown(app: AppTest) -> str:
    return "".join(element.proto.body for element in app.get("html"))


def test_a_measure_is_on_the_pages_about_figures(
    install: Install, tagged: Audit, workspace: Workspace, opened: Open
) -> None:
    install(measures="sure_of_cue")
    second = Audit.open(workspace, "second")
    key = CandidateKey(tagged.classes[0].label, "pca", 0)
    TagStore.open(workspace).add("Ann", second.id, key, Tag.SPURIOUS)
    app = healthy(opened("measures", audit=tagged.id), "Measures")
    assert "sure of cue" in shown(app)
    assert any("Lower: less is taken for certain" in m.value for m in app.markdown)
    assert "sure of cue" in next(m for m in app.multiselect if m.label == "Measures").options
    app = healthy(opened("compare", audit=tagged.id, models=second.id), "Compare models")
    assert "Confidence where the cue is" in shown(app)
    app = healthy(opened("report", audit=tagged.id), "Report")
    assert (
        "Mean confidence on the k images of highest spuriosity."
        in app.get("iframe")[0].proto.srcdoc
    )
    app = healthy(opened("glossary", word="sure_of"), "Glossary")
    assert "Mean confidence on the k images" in shown(app)


def test_a_measure_is_in_what_commands_say(
    install: Install,
    tagged: Audit,
    workspace: Workspace,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(measures="sure_of_cue")
    place = ["--json", "--workspace", str(workspace.root)]

    def told(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, *place]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    every = told("measure", tagged.name)["measures"]
    (row,) = (row for row in every if row["measure"] == "sure_of_cue")
    spurious = decided(tagged, TagStore.open(workspace)).spurious[row["label"]]
    held = spuriosity_of(tagged, row["label"], spurious).query("held_out").head(4)
    assert row["value"] == pytest.approx(held["confidence"].mean())
    assert row["low"] <= row["value"] <= row["high"]
    assert (row["n"], row["unit"], row["source"]) == (4, "", "an example")
    alone = told("measure", tagged.name, "--what", "sure_of_cue")["measures"]
    assert [r for r in alone if r["measure"] != "note"] == [row]
    assert list(tagged.files.measures.glob("sure_of_cue-*.parquet"))

    store, second = TagStore.open(workspace), Audit.open(workspace, "second")
    store.add("Ann", second.id, CandidateKey(row["label"], "pca", 0), Tag.SPURIOUS)
    cells = told("compare", tagged.name, second.name, "--stored")["cells"]
    mine = {cell["audit"]: cell for cell in cells if cell["measure"] == "sure_of_cue"}
    assert mine[tagged.id]["value"] == pytest.approx(row["value"])
    other = mine[second.id]
    assert other["difference_low"] <= other["difference"] <= other["difference_high"]
    assert 0 < other["p"] <= other["p_holm"] <= 1

    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    arguments = ["mitigate", tagged.name, "--method", "pclarc", "--name", "fixed", "--quick"]
    effect = told(*arguments, "--strength", "1")["effect"]
    (change,) = (row for row in effect if row["measure"] == "sure_of_cue")
    assert change["before"] == pytest.approx(row["value"])
    assert change["change"] == pytest.approx(change["after"] - change["before"])
    assert change["change_low"] <= change["change"] <= change["change_high"]
    fixed = Audit.open(workspace, "fixed")
    app = healthy(opened("mitigate", audit=tagged.id, result=fixed.id), "Mitigate")
    rows = next(d.value for d in app.dataframe if "interval" in d.value)
    assert MEASURES["sure_of_cue"].title in set(rows["measure"])
    assert any("Mean confidence on the k images" in m.value for m in app.markdown)


def test_a_measure_is_registered_once(install: Install) -> None:
    install(measures="sure_of_cue")
    with pytest.raises(InputError, match="there is a measure 'sure_of_cue' already; choose anot"):
        register(MEASURES["sure_of_cue"])
    with pytest.raises(
        InputError, match="'../out': a name is made of small letters, digits and under"
    ):
        register(replace(MEASURES["sure_of_cue"], name="../out"))


# An attribution


def test_an_attribution_is_chosen_on_image_and_drawn(
    install: Install, audit: Audit, opened: Open
) -> None:
    from core.ui.frame import pictures

    install(attributions="pixel_slope")
    image_id = audit.images.index[0]
    view = {"method": "pixel_slope", "look": "colour"}
    app = healthy(opened("image", audit=audit.id, image=image_id, **view), "Image")
    (choice,) = [box for box in app.selectbox if box.label == "Method"]
    assert choice.options[-1] == "Slope times pixel"
    assert "What the number would lose if a pixel faded" in choice.help
    assert any(b.label == "Make the map: Slope times pixel" for b in app.button)
    ask = ["explain", audit.id, "--class", app.selectbox(key="w_explain").value]
    ask += ["--candidate", app.selectbox(key="w_component").value, "--images", image_id]
    ask += ["--method", "pixel_slope", "--workspace", str(audit.folder.parents[1])]
    assert main(ask) == 0
    app = healthy(opened("image", audit=audit.id, image=image_id, **view), "Image")
    assert any("Slope times pixel: an approximation" in c.value for c in app.caption)
    overlay = gallery(app)["pictures"][0]["overlay"]
    name = overlay.partition("/attribution/")[2].partition("?")[0]
    assert f"/pixel_slope/{image_id}.png" in overlay
    drawn = pictures.render("attribution", unquote(name), {"v": "1"})
    assert drawn is not None
    assert drawn[0].startswith(b"\x89PNG")


def test_its_map_adds_up_to_first_order(install: Install, audit: Audit) -> None:
    """A network without biases is linear along the path to the mean colour."""
    install(attributions="pixel_slope")
    model = audit.load_model()
    for name, parameter in model.network.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    direction = np.arange(12.0)
    found = attribute(model, pixels, direction, "pixel_slope")
    import torch

    phi = model.encode(torch.from_numpy(pixels)[None]).features.numpy()[0]
    assert found.shape == (64, 64)
    assert found.sum() == pytest.approx(direction @ phi, rel=1e-4)


def test_the_glossary_says_what_it_is(install: Install, audit: Audit, opened: Open) -> None:
    install(attributions="pixel_slope")
    app = opened("glossary", audit=audit.id, word="slope times")
    assert not app.exception
    shown = [element.proto.body for element in app.get("html")]
    assert [text for text in shown if "<dt>Slope times pixel</dt>" in text]


# A source of data


@pytest.fixture
def lines(tmp_path: Path, folder: Path) -> Path:
    """A file that names the images of a folder."""
    images = sorted((folder / "train").rglob("*.jpg"))
    text = "\n".join(f"{path.parent.name}\t{path}" for path in images)
    (tmp_path / "lines.txt").write_text(text)
    return tmp_path / "lines.txt"


def test_a_source_is_offered_and_listed(
    install: Install, empty: Workspace, opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    install(sources="labelled_lines:add")
    app = healthy(opened("new"), "New audit")
    (images,) = [field for field in app.text_input if field.label == "Images"]
    assert "A text file with a label" in images.help
    assert images.help.count("labelled-lines") == 1
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    assert "labelled-lines:FILE\n      A text file with a label" in capsys.readouterr().out
    with pytest.raises(DataError, match="give a folder .*, demo:NAME or labelled-lines:FILE"):
        open_data("/nowhere/at/all", workspace=empty.root)


def test_a_source_is_audited_from_the_page_and_by_the_command(
    install: Install,
    workspace: Workspace,
    opened: Open,
    lines: Path,
    started: list[list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(sources="labelled_lines:add")
    app = healthy(opened("new"), "New audit")
    (images,) = [field for field in app.text_input if field.label == "Images"]
    images.set_value(f"labelled-lines:{lines}")
    (button,) = [button for button in app.button if button.label == "Start"]
    healthy(button.click().run(), "New audit")
    (arguments,) = started
    data = arguments[arguments.index("--data") + 1]
    assert data == f"labelled-lines:{lines}"

    more = ["--model", "tiny:page-0", "--head", "fit", "--workspace", str(workspace.root)]
    assert main(["audit", "--data", data, *more]) == 0, capsys.readouterr().err
    made = workspace.manifests()[0]
    assert made.data.source == data
    assert "labelled-lines-" in made.name
    assert len(Audit.open(workspace, made.name).images) == 24


def test_the_guard_stands_before_a_source(
    install: Install, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(sources="labelled_lines:add")
    share, work = tmp_path / "share", tmp_path / "work"
    share.mkdir()
    monkeypatch.setenv(CONFINED, str(share))
    inside = share / "lines.txt"
    with pytest.raises(InputError, match="reads only below the folders named at its start"):
        open_data(f"labelled-lines:{lines}", workspace=work)
    with pytest.raises(InputError, match="reads only below the folders named at its start"):
        open_data(f"labelled-lines:{share}/../lines.txt", workspace=work)
    inside.symlink_to(lines)
    with pytest.raises(InputError, match="reads only below the folders named at its start"):
        open_data(f"labelled-lines:{inside}", workspace=work)
    inside.unlink()
    inside.write_text(lines.read_text())  # its images lie outside
    with pytest.raises(InputError, match="reads only below the folders named at its start"):
        open_data(f"labelled-lines:{inside}", workspace=work)
    with pytest.raises(InputError, match="split is no path to this source of data"):
        open_data(f"labelled-lines:{inside}?split=../x", workspace=work)
    monkeypatch.setenv(CONFINED, str(tmp_path))
    found = open_data(f"labelled-lines:{share}/../lines.txt?split=Test", workspace=work)
    assert found.source == f"labelled-lines:{lines}?split=Test"
    assert set(found.frame["split"]) == {"Test"}


def test_a_source_that_names_no_path_gets_none(
    install: Install, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    read: list[str] = []

    def reading(asked: Any) -> Any:
        read.append(asked.name)

    careless = replace(SOURCE, name="careless", paths=(), read=reading)
    SOURCES.register(careless)
    monkeypatch.setenv(CONFINED, str(tmp_path))
    for name in (str(lines), "~/lines.txt", "a/../../lines.txt", "C:\\lines", "file:///lines"):
        with pytest.raises(InputError, match="NAME is no path to this source of data"):
            open_data(f"careless:{name}", workspace=tmp_path)
    writer = replace(careless, name="writer", paths=("to",), writes=lambda _: True)
    SOURCES.register(writer)
    with pytest.raises(InputError, match="not written to; give it without to="):
        open_data(f"writer:x?to={tmp_path}", workspace=tmp_path)
    assert read == []


def test_a_source_may_take_paths_by_their_shape(
    install: Install, lines: Path, tmp_path: Path
) -> None:
    install()
    with pytest.raises(DataError, match="neither a folder nor a manifest"):
        open_data(str(lines), workspace=tmp_path)
    SOURCES.register(replace(SOURCE, takes=lambda path: path.suffix == ".txt"))
    assert open_data(str(lines), workspace=tmp_path).labels == ["blue", "red"]
