"""The generator of an audit: trained from its images, kept, drawn from, and trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import core.corrections.audit_generator as module
from core.__main__ import main
from core.audits.audit import Audit
from core.corrections.audit_generator import (
    AuditGenerator,
    exported,
    obstacle,
    read_generator,
    settings_of,
    train_audit,
)
from core.corrections.corrected import effect_table, facts_of
from core.corrections.counterfactual import generated
from core.corrections.generator import WEIGHTS, _salient, draw, generate
from core.corrections.generator_request import SETTINGS
from core.corrections.mechanisms import Generator
from core.corrections.saliency import frame_saliency
from core.errors import InputError
from core.models.linear import head_key
from core.storage.workspace import Workspace
from core.types import Preprocess, Progress
from tests.core.corrections.conftest import run
from tests.core.corrections.test_generator import patches  # noqa: F401 - a fixture

LABELS = ("leaf", "pond", "sky")


class NoStyle(nn.Module):
    """Stands in for the style term, which loads a network."""

    def forward(self, made: Tensor, *_: object) -> Tensor:
        return made.sum() * 0


@pytest.fixture(autouse=True)
def no_style(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.corrections.generator.Style", NoStyle)


@pytest.fixture
def found(parent: Audit) -> AuditGenerator:
    return train_audit(parent, steps=2)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("trained again")


def same(one: Generator, other: Generator) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_is_trained_once_and_read_as_it_was(
    parent: Audit, found: AuditGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = found.facts
    assert (facts.labels, facts.settings, facts.steps) == (LABELS, "usual", 2)
    images = parent.images[parent.images["split"] == "train"]
    assert facts.images == len(images) == len(found.network.codes)
    assert facts.masked == (images["object_mask"].fillna("") != "").sum()
    assert facts.losses is not None
    assert {"pixels", "saliency", "adversarial"} <= set(facts.losses)
    monkeypatch.setattr("core.corrections.generator.train_generator", refuse)
    for again in (read_generator(parent), train_audit(parent, steps=2)):
        assert again is not None
        assert again.facts == facts
        assert same(again.network, found.network)
        assert again.network.pieces.shape[1] == len(again.network.piece_labels) == facts.images
    with pytest.raises(AssertionError, match="trained again"):
        train_audit(parent, steps=3)


def test_one_of_other_images_is_not_read(
    parent: Audit, found: AuditGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert head_key(parent.folder) == parent.head_key
    monkeypatch.setattr(Audit, "head_key", property(lambda _: "another"))
    assert read_generator(parent) is None


def test_drawn_objects_take_the_place_of_what_stands_out(patches: Any) -> None:  # noqa: F811
    pixels, labels = patches
    masks = np.zeros(pixels.shape[:3], bool)
    masks[::2, 5:9, 5:9] = True
    wanted = _salient(pixels, labels, masks)
    assert np.array_equal(wanted[::2], masks[::2])
    assert np.array_equal(wanted[1::2], frame_saliency(pixels, labels)[1::2])
    assert np.array_equal(_salient(pixels, labels, None), frame_saliency(pixels, labels))


def test_large_images_without_masks_are_refused(
    parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert obstacle(parent) == ""
    monkeypatch.setattr(module, "SMALL", 31)
    assert obstacle(parent) == ""  # by the masks
    parent.images["object_mask"] = ""
    assert "no training image has an object mask, a box, or at most 31 pixels" in obstacle(parent)
    with pytest.raises(InputError, match="add the column object_mask, or a box"):
        train_audit(parent, steps=1)
    parent.images.loc[parent.images["label"] == "leaf", "object_mask"] = "m.png"
    assert obstacle(parent).startswith("too few classes have an object mask")


def test_published_settings_go_with_the_data_they_were_published_for(parent: Audit) -> None:
    assert set(SETTINGS) == {"usual", *WEIGHTS}
    assert settings_of(parent) == "usual"
    with pytest.raises(InputError, match="--settings 'loud': choose usual, coloured, double-col"):
        train_audit(parent, "loud")
    for source, name in (
        ("demo:wildlife-mnist?per_class=50", "wildlife"),
        ("demo:coloured-mnist", "coloured"),
        ("demo:cues", "usual"),
    ):
        object.__setattr__(parent.manifest.data, "source", source)
        assert settings_of(parent) == name


def test_drawing_leaves_the_random_state_alone_and_is_repeatable() -> None:
    made = Generator(classes=3).eval()
    labels = np.array([[0, 1, 2], [2, 2, 0]])
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, other = (draw(made, labels, seed=3) for _ in "ab")
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(one.pixels, other.pixels)
    assert not np.array_equal(one.pixels, draw(made, labels, seed=4).pixels)
    mask = one.masks[..., None] / 255
    composed = mask * one.foregrounds + (1 - mask) * one.backgrounds
    np.testing.assert_allclose(one.pixels, composed, atol=2)  # each part was rounded
    assert np.array_equal(generate(made, 9).labels, generate(made, 9, seed=0).labels)


def test_what_is_exported_is_a_data_set(found: AuditGenerator, tmp_path: Path, listed: Any) -> None:
    module.write_images(found, 12, tmp_path / "out", seed=1)
    table = pd.read_csv(tmp_path / "out" / "manifest.csv")
    assert list(table.columns) == list(module.COLUMNS)
    assert set(table[["label", "texture", "background"]].stack()) <= set(LABELS)
    made = generate(found.network, 12, seed=1)
    for row, pixels, labels in zip(table.itertuples(), made.pixels, made.labels, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row.path)), pixels)
        assert [row.label, row.texture, row.background] == [LABELS[k] for k in labels]
    opened = listed(tmp_path / "out" / "manifest.csv")
    assert len(opened.frame) == 12
    assert opened.attributes == ("texture", "background")
    with pytest.raises(InputError, match="exists and is not empty; choose a new folder"):
        module.write_images(found, 1, tmp_path / "out")
    names = [name for name, _ in exported(found, 2)]
    assert names == [
        *("images/00000.png", "masks/00000.png", "images/00001.png", "masks/00001.png"),
        "manifest.csv",
    ]


def test_labels_are_those_of_the_shape_in_the_models_order(found: AuditGenerator) -> None:
    preprocess = Preprocess((48, 40), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
    outputs = ["sky", "car", "leaf", "pond"]
    examples = generated(found, 30, preprocess, outputs, seed=2)
    assert examples.pixels.shape == (30, 48, 40, 3)
    shapes = generate(found.network, 30, seed=2).labels[:, 0]
    assert [outputs[k] for k in examples.labels] == [LABELS[k] for k in shapes]


@pytest.mark.parametrize("originals", ["without", "with"])
def test_the_images_train_the_head_or_the_model(
    network: None, workspace: Workspace, parent: Audit, originals: str
) -> None:
    options = {"epochs": "1", "originals": originals, "parts": "head"}
    train_audit(parent, steps=2)
    done = run(workspace, parent, "generated", strength=0.5, options=options, pictures=False)
    facts = facts_of(done)
    learnt = facts.learnt_from
    assert facts.method == "generated"
    assert (
        0.3 * learnt
        < facts.unknown["trained_on"]
        < (0.5 if originals == "without" else 1.5) * learnt
    )
    assert np.abs(done.head.weight - parent.head.weight).max() > 0
    assert len(effect_table(done)) > 5


def test_the_correction_trains_the_networks_where_they_are_not_yet(
    network: None, workspace: Workspace, parent: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    trained = module.train_audit

    def few(audit: Audit, **how: Any) -> AuditGenerator:
        asked.append(how)
        return trained(audit, steps=2, seed=how["seed"], report=how["report"])

    monkeypatch.setattr(module, "train_audit", few)
    options = {"epochs": "1", "parts": "head"}
    run(workspace, parent, "generated", strength=0.1, options=options, seed=4, pictures=False)
    assert [how["seed"] for how in asked] == [4]


def test_the_command_trains_and_exports(
    workspace: Workspace, parent: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    asked = ["generate", parent.name, "--steps", "2", "--workspace", str(workspace.root)]
    assert main([*asked, "--out", str(out), "--images", "5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["labels"], said["steps"], said["out"]) == ([*LABELS], 2, str(out))
    assert len(list((out / "images").iterdir())) == 5
    other = tmp_path / "drawn"
    assert main([*asked, "--out", str(other), "--images", "5", "--textures", "made"]) == 0
    first, second = ((folder / "images" / "00000.png").read_bytes() for folder in (out, other))
    assert first != second
    assert main([*asked, "--out", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*asked, "--images", "0"]) == 2
    assert "--images 0: must be at least 1" in capsys.readouterr().err
    assert main(asked) == 0
    assert "mask, foreground and background of 3 classes, 2 steps" in capsys.readouterr().out


def test_progress_says_the_losses(parent: Audit) -> None:
    reports: list[Progress] = []
    train_audit(parent, steps=2, report=reports.append)
    assert "Training the generator" in {each.stage for each in reports}
    assert "pixels" in reports[-1].figures
