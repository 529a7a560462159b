"""Mitigate, through the app's frame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core.__main__ import parser
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.commands.corrections import mitigate
from core.commands.terminal import Terminal
from core.corrections.audit_generator import train_audit
from core.corrections.corrected import effect_table, facts_of, tradeoff_table
from core.corrections.generator_request import GeneratorRequest
from core.corrections.methods import METHODS
from core.corrections.mitigate_request import MitigateRequest
from core.corrections.mitigation import run_mitigation
from core.corrections.tradeoff import SWEPT
from core.jobs import jobs
from core.storage.files import read_json, write_frame, write_json
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from core.ui.kit.text import plain
from core.ui.mitigate.effect import COLUMNS, siblings
from core.ui.mitigate.grid import DRAWS
from tests.core.corrections.test_audit_generator import NoStyle
from tests.pages.conftest import Open, address, galleries, gallery, healthy


@pytest.fixture
def tagged(audit: Audit, workspace: Workspace) -> Audit:
    """The first audit with a component of two classes tagged spurious."""
    store = TagStore.open(workspace)
    for facts in audit.classes[:2]:
        store.add("Ann", audit.id, CandidateKey(facts.label, PCA, 0), Tag.SPURIOUS)
    return audit


@pytest.fixture
def fixed(tagged: Audit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    request = MitigateRequest(tagged.name, "projection", "fixed", strength=2.0)
    return run_mitigation(request, workspace)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Arguments of the jobs that were started; none really is."""
    found: list[list[str]] = []

    def start(_: Workspace, arguments: list[str], title: str) -> None:
        del title
        found.append(list(arguments))

    monkeypatch.setattr(jobs, "start", start)
    return found


def labelled(elements: Any, label: str) -> Any:
    return next(e for e in elements if e.label == label)


def test_nothing_tagged(audit: Audit, opened: Open) -> None:
    app = healthy(opened("mitigate", audit=audit.id), "Mitigate")
    assert any("No cue is tagged" in m.value for m in app.markdown)


def test_defaults_alone_start_a_job(tagged: Audit, opened: Open, started: list[list[str]]) -> None:
    app = healthy(opened("mitigate", audit=tagged.id), "Mitigate")
    healthy(labelled(app.button, "Start").click().run(), "Mitigate")
    (arguments,) = started
    assert arguments[:4] == ["mitigate", tagged.id, "--method", "pclarc"]
    assert arguments[4:6] == ["--name", "first-pclarc"]
    labels = [facts.label for facts in tagged.classes[:2]]
    cues = [a for before, a in zip(arguments, arguments[1:], strict=False) if before == "--cue"]
    assert cues == [f"{label}/pca-0" for label in labels]
    assert MitigateRequest.parse(arguments).strength is None


@pytest.mark.parametrize("spelling", ["{label}/pca-0", "{class_idx}.pca.0"])
def test_every_choice_is_in_the_address(
    tagged: Audit, opened: Open, started: list[list[str]], spelling: str
) -> None:
    facts = tagged.classes[0]
    label, cue = facts.label, spelling.format(**vars(facts))
    app = opened("mitigate", audit=tagged.id, method="spufix", how="given", strength="0.5",
                 o_reference="low", cues=cue, shown_by="snow", name="mine")  # fmt: skip
    healthy(labelled(app.button, "Start").click().run(), "Mitigate")
    assert started == [
        ["mitigate", tagged.id, "--method", "spufix", "--name", "mine", "--cue", f"{label}/pca-0"]
        + ["--strength", "0.5", "--option", "reference=low", "--attribute", "snow"]
    ]


def test_the_published_setting_is_one_click(
    tagged: Audit, opened: Open, started: list[list[str]]
) -> None:
    app = opened("mitigate", audit=tagged.id).button(key="as-published").click().run()
    healthy(labelled(app.button, "Start").click().run(), "Mitigate")
    (arguments,) = started
    given = [v for k, v in zip(arguments, arguments[1:], strict=False) if k == "--option"]
    method = METHODS[arguments[arguments.index("--method") + 1]]
    assert given == [f"{option}={value}" for option, value in method.published_options.items()]
    assert given
    assert arguments[arguments.index("--strength") + 1] == f"{method.published:g}"


def test_before_and_after(fixed: Audit, tagged: Audit, opened: Open) -> None:
    for audit in (tagged, fixed):  # from either end
        app = healthy(opened("mitigate", audit=audit.id), "Mitigate")
        assert {"Before and after", "Trade-off"} <= {s.value for s in app.subheader}
        labels = [m.label for m in app.metric]
        assert labels[:3] == ["Accuracy", "Worst group", "Flip rate"]
        table = next(d.value for d in app.dataframe if "interval" in d.value)
        titles = {"Accuracy", "Flip rate", "Spurious gap, points", "TCAV"}
        assert titles <= set(table["measure"])
    ways = {w: opened("mitigate", audit=tagged.id, way=w) for w in ("better", "worse", "other")}
    assert any(galleries(healthy(app, "Mitigate")) for app in ways.values())


def test_of_many_cues_a_few_are_named_and_all_stand_in_a_table(
    fixed: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    cues = facts_of(fixed).cues
    assert len(cues) == 2
    every = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    (said,) = [m.value for m in every.markdown if "acting on" in m.value]
    assert "more cue" not in said
    monkeypatch.setattr("core.ui.mitigate.effect.NAMED", 1)
    app = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    (said,) = [m.value for m in app.markdown if "acting on" in m.value]
    assert "and 1 more cue" in said
    assert not [c for c in app.caption if "training images lack the cue" in c.value]
    tables = [table.value for table in app.dataframe if "lacking" in table.value]
    assert [len(table) for table in tables] == [2]
    assert tables[0]["lacking"].str.contains("training images lack the cue").all()


def test_it_says_how_many_images_lack_the_cue_and_advises(
    tagged: Audit, workspace: Workspace, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    request = MitigateRequest(tagged.name, "pclarc", "counted", strength=0.5, pictures=False)
    audit = run_mitigation(request, workspace)
    app = healthy(opened("mitigate", audit=audit.id), "Mitigate")
    (said,) = [c.value for c in app.caption if "training images lack the cue" in c.value]
    names = [facts.name for facts in tagged.classes[:2]]
    said = said.replace("\\", "")
    assert all(f"{name}: component 1: " in said for name in names)
    assert "by cut and paste" in said
    document = read_json(audit.files.manifest, {"mitigation": dict})
    document["mitigation"]["worst_after"] = document["mitigation"]["worst_before"]
    write_json(audit.files.manifest, document)
    app = healthy(opened("mitigate", audit=audit.id), "Mitigate")
    assert any("is advised against" in w.value for w in app.warning)


def test_what_was_left_out_can_be_measured(
    tagged: Audit,
    workspace: Workspace,
    opened: Open,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    request = MitigateRequest(
        tagged.name, "spufix", "quick", strength=0.3, options={"bias": "refit"}, pictures=False,
        seed=3,
    )  # fmt: skip
    quick = run_mitigation(request, workspace)
    app = opened("mitigate", audit=quick.id)
    healthy(app.button(key="pictures").click().run(), "Mitigate")
    label = tagged.classes[1].label
    app.selectbox(key="cue-class").set_value(label).run()
    app.text_input(key="cue-folder").set_value(str(tmp_path)).run()
    healthy(app.button(key="score").click().run(), "Mitigate")
    first, second = started
    assert second == [*first, "--cue-images", f"{label}={tmp_path}"]
    options = parser().parse_args(first)  # the very same mitigation: nothing is corrected again
    monkeypatch.setattr("core.corrections.mitigation.derive", None)
    again = mitigate(options, workspace, Terminal(workspace))[0]
    assert again["id"] == quick.id
    app = healthy(opened("mitigate", audit=quick.id), "Mitigate")
    assert "pictures" not in [b.key for b in app.button]


def test_a_cue_that_few_votes_decided_is_measured_with_as_few(
    tagged: Audit,
    workspace: Workspace,
    opened: Open,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.corrections.choice.fold_head", lambda head, _: head)
    store, label = TagStore.open(workspace), tagged.classes[0].label
    for name, tag in (("Ann", Tag.SPURIOUS), ("Bo", Tag.CORE), ("Cy", Tag.UNSURE)):
        store.add(name, tagged.id, CandidateKey(label, PCA, 1), tag)
    store.add(
        "Di", tagged.id, CandidateKey(label, PCA, 1), Tag.SPURIOUS
    )  # two of four: no majority
    request = MitigateRequest(
        tagged.name, "spufix", "few", cues=(f"{label}/pca-1",), strength=0.3, threshold=1,
        pictures=False,
    )  # fmt: skip
    few = run_mitigation(request, workspace)
    app = opened("mitigate", audit=few.id)
    app.selectbox(key="another").set_value("1").run()
    healthy(app.button(key="make").click().run(), "Mitigate")
    healthy(app.button(key="pictures").click().run(), "Mitigate")
    other, same = map(MitigateRequest.parse, started)
    assert (other.threshold, same.threshold) == (1, 1)
    monkeypatch.setattr("core.corrections.mitigation.derive", None)
    assert run_mitigation(same, workspace).id == few.id


def test_a_corrected_model_of_before_thresholds_were_kept(
    fixed: Audit, workspace: Workspace, opened: Open, started: list[list[str]]
) -> None:
    manifest = read_json(fixed.folder / "manifest.json")
    manifest["mitigation"].pop("threshold")
    write_json(fixed.folder / "manifest.json", manifest)
    app = opened("mitigate", audit=fixed.id)
    app.selectbox(key="another").set_value("1").run()
    healthy(app.button(key="make").click().run(), "Mitigate")
    assert MitigateRequest.parse(started[0]).threshold is None
    run_mitigation(MitigateRequest(fixed.manifest.mitigation.parent_name, "projection",
                                   "fixed", strength=2.0), workspace)  # fmt: skip


def test_a_coarse_sweep_is_a_way_to_the_strength(
    tagged: Audit, opened: Open, started: list[list[str]]
) -> None:
    app = opened("mitigate", audit=tagged.id, method="guidance", how="sweep")
    healthy(labelled(app.button, "Start").click().run(), "Mitigate")
    (arguments,) = started
    assert arguments[arguments.index("--strength") + 1] == "sweep"
    app = opened("mitigate", audit=tagged.id, method="pclarc", how="sweep")  # it always tries all
    healthy(labelled(app.button, "Start").click().run(), "Mitigate")
    assert MitigateRequest.parse(started[1]).strength is None


def test_a_tradeoff_of_held_back_images_alone(fixed: Audit, opened: Open) -> None:
    path = fixed.folder / "mitigation" / "tradeoff.parquet"
    table = pd.read_parquet(path)
    write_frame(path, table[SWEPT].reindex(columns=table.columns))
    app = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    assert any("would take an audit of each" in c.value for c in app.caption)
    (shown,) = [d.value for d in app.dataframe if "chosen_flips" in d.value]
    assert list(shown) == SWEPT


def test_another_strength_is_one_click(
    fixed: Audit, opened: Open, started: list[list[str]]
) -> None:
    app = opened("mitigate", audit=fixed.id)
    app.selectbox(key="another").set_value("1").run()
    healthy(app.button(key="make").click().run(), "Mitigate")
    assert started[0][1] == fixed.manifest.mitigation.parent
    again = MitigateRequest.parse(started[0])
    assert (again.strength, again.name) == (1.0, "first-projection")


def test_the_set_goes_to_the_page_compare(
    fixed: Audit, tagged: Audit, workspace: Workspace, opened: Open
) -> None:
    request = MitigateRequest(tagged.name, "spufix", "other", strength=1.0, pictures=False)
    other = run_mitigation(request, workspace)
    assert siblings(tagged) == [other.id, fixed.id]
    app = opened("mitigate", audit=tagged.id, result=fixed.id).button(key="both").click().run()
    assert address(app)["models"].split(",") == [fixed.id, other.id]
    assert not app.exception


def test_roll_back(fixed: Audit, tagged: Audit, workspace: Workspace, opened: Open) -> None:
    app = opened("mitigate", audit=fixed.id)
    healthy(app.button(key="rollback").click().run(), "Mitigate")
    assert workspace.named("fixed") is None
    assert workspace.named(tagged.name) is not None


def test_a_deleted_parent_is_said(
    fixed: Audit, tagged: Audit, workspace: Workspace, opened: Open
) -> None:
    workspace.delete(tagged.id)
    app = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    assert any("was deleted" in info.value for info in app.info)


@pytest.mark.parametrize("page", ["overview", "components", "image", "ranking", "measures"])
def test_every_page_opens_a_corrected_model(fixed: Audit, opened: Open, page: str) -> None:
    image = fixed.images.index[0]
    app = opened(page, audit=fixed.id, image=image)
    assert not app.exception
    assert not app.error


def unfolded(app: AppTest) -> AppTest:
    """The page with what is made of different classes, which costs nothing until then."""
    assert not [w for w in app.number_input if w.label == "Steps"]
    app.session_state["generated"] = True
    return healthy(app.run(), "Mitigate")


def test_networks_of_parts_are_trained_from_the_page(
    audit: Audit, opened: Open, started: list[list[str]]
) -> None:
    app = unfolded(opened("mitigate", audit=audit.id))
    labelled(app.number_input, "Steps").set_value(100).run()
    healthy(labelled(app.button, "Train the networks").click().run(), "Mitigate")
    (arguments,) = started
    asked = GeneratorRequest.parse(arguments)
    assert (asked.audit, asked.steps, asked.settings) == (audit.id, 100, "auto")
    assert parser().parse_args(arguments).command == "generate"


def test_images_that_nothing_can_be_learnt_from_say_why(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.ui.mitigate.grid.obstacle", lambda _: "no <b>object</b> is drawn")
    app = unfolded(opened("mitigate", audit=audit.id))
    said = [i.value for i in app.info if "Not for these images" in i.value]
    assert len(said) == 1
    assert "<b>" not in said[0]
    assert not [b for b in app.button if b.label == "Train the networks"]


def test_shape_texture_and_background_are_chosen_by_sliders(
    audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.corrections.generator.Style", NoStyle)
    found = train_audit(audit, steps=2)
    labels = found.facts.labels
    app = unfolded(opened("mitigate", audit=audit.id))
    row = gallery(app)
    assert len(row["pictures"]) == DRAWS + 3
    assert all(p["photo"].startswith("data:image/png;base64,") for p in row["pictures"])
    names = [facts.name for facts in audit.classes]
    assert row["pictures"][0]["alt"].startswith(f"shape of {names[0]}, texture of {names[1]}")
    labelled(app.select_slider, "Texture of").set_value(labels[0])
    app = healthy(app.run(), "Mitigate")
    assert address(app)["texture"] == labels[0]
    other = gallery(app)
    assert other["pictures"][0]["alt"].startswith(f"shape of {names[0]}, texture of {names[0]}")
    images = row["pictures"], other["pictures"]
    masks = [next(p["photo"] for p in of if p["image_id"] == "mask") for of in images]
    assert masks[0] == masks[1]  # the texture says nothing of the shape
    assert images[0][0]["photo"] != images[1][0]["photo"]
    assert any("2 steps" in m.value for m in app.markdown)
    assert [b for b in app.button if b.label == "Train again"]


def test_the_table_before_and_after_is_in_words(fixed: Audit, opened: Open) -> None:
    app = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    (shown,) = [d for d in app.dataframe if "interval" in d.value]
    table, stored = shown.value, effect_table(fixed)
    names = set(stored["measure"])
    assert not names & set(table["measure"])
    assert not table["measure"].str.contains("_").any()
    assert not table.isin(["None", "nan"]).any().any()
    assert shown.proto.placeholder == ""
    (row,) = table[(table["measure"] == "Accuracy") & (table["class"] == "all classes")].to_dict(
        "records"
    )
    (wanted,) = stored[(stored["measure"] == "accuracy") & (stored["label"] == "")].to_dict(
        "records"
    )
    assert row["before"] == f"{wanted['before']:.2f}"
    assert row["change"] == f"{wanted['change']:+.2f}"
    (gap, *_) = table[table["measure"] == "Spurious gap, points"]["before"]
    assert re.fullmatch(r"[-+]\d+", gap)
    of = table[table["measure"] == "Accuracy with the cue"]["of"]
    assert of.str.fullmatch(r"\d+ images a side").all()
    widths = [column["width"] for column in COLUMNS.values()]
    assert sum(widths) <= 1040  # what a page of 1440 pixels leaves


def test_notes_are_read_below_the_table(fixed: Audit, opened: Open) -> None:
    app = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    stored = effect_table(fixed)
    there = stored["before"].notna() | stored["after"].notna()
    said = "\n".join(m.value for m in app.markdown)
    for note in stored.loc[there & (stored["note"] != ""), "note"].unique():
        assert f"**{plain(note)}**: " in said


def test_the_trade_off_is_in_words(fixed: Audit, opened: Open) -> None:
    app = healthy(opened("mitigate", audit=fixed.id), "Mitigate")
    (shown,) = [d for d in app.dataframe if "chosen_flips" in d.value]
    titled = json.loads(shown.proto.columns)
    assert all("_" not in str(titled[name]["label"]) for name in shown.value)
    table = tradeoff_table(fixed)
    np.testing.assert_allclose(shown.value["chosen_flips"], 100 * table["chosen_flips"])
