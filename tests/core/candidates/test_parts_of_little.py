"""Whole audits of what hardly has parts: each ends, adds up, and says what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.audits.alike import more_like
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.part_kind import PART, offset_of, parts_of
from core.candidates.parts import margin_of
from core.errors import InputError
from core.explain.single import margin_sum
from core.models.architecture import Architecture
from core.storage.workspace import Workspace
from core.tags.suggested import leading, suggestions
from core.trials.crops import crops_of
from core.trials.leaned_on import leaned_on
from core.trials.leaning import measure_leaning
from core.ui.components import class_parts
from tests.conftest import draw, tiny_request
from tests.tiny import HALF, NETWORKS, TinyNet


def count(audit: Audit, label: str) -> int:
    return len(audit.arrays_of(label).of_kind(PART).numbers)


def adds_up(audit: Audit) -> None:
    """The parts of every class that has some, on every image; and all that is said of them."""
    outputs = [facts.class_idx for facts in audit.classes]
    ids = audit.images.index.tolist()
    logits = audit.head.logits(audit.features(ids))
    for facts in audit.classes:
        found = audit.class_arrays(facts.class_idx).of_kind(PART)
        if not len(found.numbers):
            assert class_parts.lacking(audit, facts.class_idx)
            assert class_parts.explained(audit, facts.class_idx) == ""
            continue
        assert class_parts.lacking(audit, facts.class_idx) == ""
        said = class_parts.explained(audit, facts.class_idx)
        assert "nan" not in said
        margins = margin_of(logits, facts.class_idx, outputs)
        for image_id, expected in zip(ids, margins, strict=True):
            whole = margin_sum(parts_of(found), offset_of(found), audit.maps([image_id]))
            assert whole.total == pytest.approx(expected, abs=1e-4)
        words_of_little(audit, facts.class_idx)
    table = measure_leaning(audit)
    assert table["put_in"].dropna().between(0, 1).all()
    assert [one.facts.label for one in leaned_on(audit, set())]


def crops_or_why(audit: Audit, key: CandidateKey) -> str:
    """Why a candidate has no crops; empty where it has some."""
    try:
        crops = crops_of(audit, audit.candidate(key))
    except InputError as error:
        return str(error)
    assert len(crops.shown) == len(crops.least) >= 4
    return ""


def words_of_little(audit: Audit, class_idx: int) -> None:
    """Words are above their controls or not there, and crops are refused with a sentence."""
    for said in suggestions(audit, class_idx).values():
        assert all(one.figure > one.control and not one.figure <= one.others for one in said)
    refused = [crops_or_why(audit, key) for key in leading(audit, class_idx)]
    assert all("has no crops to name" in why for why in refused if why)
    ids = audit.images.index[:1].tolist()
    assert len(more_like(audit, ids, 3)) == min(3, len(audit.images) - 1)


def loaded(
    monkeypatch: pytest.MonkeyPatch,
    outputs: tuple[str, ...] | None,
    change: Callable[[TinyNet], None] = lambda _: None,
) -> None:
    """``tiny:net`` with these outputs, changed."""

    def changed() -> Architecture:
        net = TinyNet(len(outputs) if outputs else 3)
        with torch.no_grad():
            change(net)
        return Architecture(net.eval(), HALF, outputs)

    monkeypatch.setitem(NETWORKS, "net", changed)


def test_one_image_in_a_class(folder: Path, workspace: Workspace, rng: np.random.Generator) -> None:
    draw(folder / "train/green/only.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder), workspace)
    assert count(audit, "green") >= 1
    adds_up(audit)


def test_more_parts_than_positions(
    folder: Path, workspace: Workspace, rng: np.random.Generator
) -> None:
    draw(folder / "train/green/only.png", (40, 220, 40), rng)
    audit = run_audit(tiny_request(folder, parts=100), workspace)
    output = audit.class_facts("green").class_idx
    assert 1 <= count(audit, "green") < 64
    assert "100 parts were asked for; the" in class_parts.explained(audit, output)
    adds_up(audit)


def test_one_class_is_set_against_the_other_outputs(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(monkeypatch, ("red", "blue", "green"))
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "blue")
    audit = run_audit(tiny_request(folder, head="keep"), workspace)
    assert [facts.label for facts in audit.classes] == ["red"]
    weight = np.asarray(audit.head.weight, np.float64)
    found = audit.arrays_of("red").of_kind(PART)
    np.testing.assert_allclose(parts_of(found).weight, weight[0] - weight[1:].mean(axis=0))
    adds_up(audit)


def test_a_head_of_one_row_has_its_logit_alone(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(monkeypatch, ("red",))
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "blue")
    audit = run_audit(tiny_request(folder, head="keep"), workspace)
    found = audit.arrays_of("red").of_kind(PART)
    if len(found.numbers):
        np.testing.assert_allclose(parts_of(found).weight, audit.head.weight[0])
    adds_up(audit)


def test_maps_of_nothing_but_zeros(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silence(net: TinyNet) -> None:
        net.conv.weight.zero_()
        net.conv.bias.fill_(-1)

    loaded(monkeypatch, ("red", "blue", "green"), silence)
    audit = run_audit(tiny_request(folder, head="keep"), workspace)
    assert [count(audit, facts.label) for facts in audit.classes] == [0, 0]
    for facts in audit.classes:
        assert "no place of the class's training images adds to its margin" in class_parts.lacking(
            audit, facts.class_idx
        )
    adds_up(audit)


def test_constant_images(folder: Path, workspace: Workspace) -> None:
    for path in folder.rglob("*.jpg"):
        Image.new("RGB", (64, 64), (90, 90, 90)).save(path)
    adds_up(run_audit(tiny_request(folder), workspace))


def test_without_maps_the_remedy_is_named(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("core.audits.run.MAP_BUDGET", 0)
        audit = run_audit(tiny_request(folder), workspace)
    assert [count(audit, facts.label) for facts in audit.classes] == [0, 0]
    output = audit.classes[0].class_idx
    assert "run the same audit again" in class_parts.lacking(audit, output)
    again = run_audit(tiny_request(folder), workspace)
    assert all(count(again, facts.label) for facts in again.classes)
    adds_up(again)


def test_without_exact_maps_another_network_is_asked_for(
    folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = run_audit(tiny_request(folder), workspace)
    for path in audit.files.found.glob("part-*"):
        shutil.rmtree(path)
    monkeypatch.setattr(Audit, "exact_maps", False)
    assert "ends in average pooling" in class_parts.lacking(audit, audit.classes[0].class_idx)
