"""Audits of networks whose outputs nobody named: right where it can be known, else told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.export import images_table, write_table
from core.audits.reading_options import ReadingOptions, options_of
from core.audits.run import run_audit
from core.corrections.package import write_checkpoint
from core.errors import InputError
from core.models.architecture import Architecture
from core.storage.workspace import Workspace
from core.types import Preprocess
from tests.tiny import NETWORKS

SIDE = 8


class Nearest(nn.Module):
    """A classifier of plain colours: the nearest of its prototypes (K, 3) has the highest logit."""

    def __init__(self, prototypes: np.ndarray) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(3, len(prototypes))
        with torch.no_grad():
            self.fc.weight.copy_(torch.from_numpy(2 * prototypes))
            self.fc.bias.copy_(torch.from_numpy(-(prototypes**2).sum(axis=1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(images).flatten(1))


def colours(n: int) -> np.ndarray:
    """(n, 3) in [0, 1], all different."""
    levels = np.stack(np.meshgrid([0.1, 0.5, 0.9], [0.1, 0.5, 0.9], [0.1, 0.9]), axis=-1)
    return levels.reshape(-1, 3)[:n].astype(np.float32)


def draw(root: Path, labels: Sequence[str], split: str = "") -> Path:
    """Four images of the colour of every label, which has its place in ``labels``."""
    for label, colour in zip(labels, colours(len(labels)), strict=True):
        folder = root / split / label
        folder.mkdir(parents=True)
        for i in range(4):
            pixel = tuple(int(v) for v in np.rint(255 * colour) + i)
            Image.new("RGB", (SIDE, SIDE), pixel).save(folder / f"{i}.png")
    return root


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Audit]:
    """Audit drawn classes with a network that was trained with them in this order."""

    plain = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)

    def run(labels: Sequence[str], **options: str) -> Audit:
        root = tmp_path / "images"
        if not root.exists():
            draw(root, labels)
        network = Nearest(colours(len(labels))).eval()
        monkeypatch.setitem(NETWORKS, "nearest", lambda: Architecture(network, plain, None))
        request = AuditRequest(
            str(root), "tiny:nearest", head="keep", name=str(len(options)), **options
        )
        return run_audit(request, Workspace(tmp_path / "w"))

    return run


@pytest.mark.parametrize(
    "labels",
    [[str(i) for i in range(12)], [f"class{i}" for i in range(1, 13)], ["Zebra", "apple"]],
    ids=["0 … 11", "class1 … class12", "Zebra/apple"],
)
def test_the_model_is_as_good_as_it_is(audited: Callable[..., Audit], labels: list[str]) -> None:
    audit = audited(labels)
    assert audit.summary.accuracy == 1.0
    assert labels[0] in audit.manifest.head.reason
    assert not any("far better" in note for note in audit.summary.notes)
    assert audit.head.outputs == labels


def test_an_order_that_fits_better_is_told_and_can_be_asked_for(
    audited: Callable[..., Audit],
) -> None:
    labels = sorted(str(i) for i in range(12))  # as torchvision's ImageFolder numbers them
    wrong = audited(labels)
    assert wrong.summary.accuracy == pytest.approx(2 / 12)
    (note,) = (note for note in wrong.summary.notes if "far better" in note)
    assert "--classes text" in note
    assert "accuracy 1.00" in note
    right = audited(labels, classes="text")
    assert right.summary.accuracy == 1.0
    assert right.manifest.parts.classes == ("text",)
    assert "as asked for" in right.manifest.head.reason


def test_a_file_says_what_outputs_mean(audited: Callable[..., Audit], tmp_path: Path) -> None:
    labels = ["plum", "fig", "nut"]
    (tmp_path / "c.txt").write_text("\n".join(labels))
    audit = audited(labels, classes=str(tmp_path / "c.txt"))
    assert audit.summary.accuracy == 1.0
    assert audit.manifest.parts.classes == tuple(labels)
    again = AuditRequest.again(audit.manifest, parts=0)
    assert again.classes == str(tmp_path / "c.txt")


def test_a_file_beside_the_images_says_it_too(
    audited: Callable[..., Audit], tmp_path: Path
) -> None:
    labels = ["plum", "fig", "nut"]
    (draw(tmp_path / "images", labels) / "class_to_idx.json").write_text(
        '{"plum": 0, "fig": 1, "nut": 2}'
    )
    audit = audited(labels)
    assert audit.summary.accuracy == 1.0
    assert "the data set's own order (plum, fig, nut)" in audit.manifest.head.reason
    assert audit.manifest.data.classes == tuple(labels)
    write_table(images_table(audit), tmp_path / "out.parquet")
    assert list(pd.read_parquet(tmp_path / "out.parquet")["label"].cat.categories) == labels
    write_table(images_table(audit), tmp_path / "out.csv")
    assert set(pd.read_csv(tmp_path / "out.csv")["label"]) == set(labels)


class Channels(nn.Module):
    """Sigmoid outputs that do not exclude each other: how red, green, blue a picture is."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)
        with torch.no_grad():
            self.fc.weight.copy_(torch.diag(torch.tensor([12.0, 10.0, 8.0])))
            self.fc.bias.copy_(torch.tensor([-6.0, -5.0, -4.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(images).flatten(1))


def test_one_output_of_many_against_its_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs red, green, blue in the order of the table's columns; every image has some."""
    (tmp_path / "d").mkdir()
    rows = ["path,split,red,green,blue"]
    for i in range(64):
        on = [i & 1, i >> 1 & 1, i >> 2 & 1]
        pixel = tuple(40 + 175 * bit + i % 7 for bit in on)
        Image.new("RGB", (SIDE, SIDE), pixel).save(tmp_path / "d" / f"{i}.png")
        rows.append(",".join(map(str, [f"{i}.png", "train" if i < 40 else "test", *on])))
    (tmp_path / "d" / "m.csv").write_text("\n".join(rows))
    plain = Preprocess((SIDE, SIDE), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
    monkeypatch.setitem(NETWORKS, "channels", lambda: Architecture(Channels(), plain, None))
    request = AuditRequest(f"manifest:{tmp_path / 'd' / 'm.csv'}?class=green", "tiny:channels")
    audit = run_audit(request, Workspace(tmp_path / "w"))
    assert audit.name == "m-green-channels"
    assert audit.manifest.head.mode == "keep"
    assert "The sigmoid of output 1 is the probability of 'green'" in audit.manifest.head.reason
    assert audit.head.outputs == ["not green", "green"]
    assert {facts.label for facts in audit.classes} == {"green", "not green"}
    assert audit.summary.accuracy == 1.0
    (note,) = (n for n in audit.summary.notes if "AUROC" in n)
    assert "green against its rest, 12 of 24 held-out images: AUROC 1.00" in note
    assert "balanced accuracy 100 %" in note

    features = audit.store.features(audit.images.index.tolist())
    logits = audit.head.logits(features)
    own = features @ Channels().fc.weight.detach().numpy()[1] - 5
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], own, atol=1e-5)  # its own logit
    probability = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-own)), atol=1e-5)
    assert run_audit(AuditRequest.again(audit.manifest, parts=0), Workspace(tmp_path / "w")).id == (
        audit.id
    )

    write_checkpoint(audit.load_model(exported=True), audit.head, tmp_path / "m.safetensors")
    again = replace(request, name="again", checkpoint=tmp_path / "m.safetensors")
    taken = run_audit(again, Workspace(tmp_path / "w"))
    np.testing.assert_allclose(taken.head.logits(features), logits, atol=1e-5)


def test_every_reading_option_is_said_again() -> None:
    """What makes an audit again says every option once more, and means the same."""
    asked = ReadingOptions(
        **{"weights": "ema", "classes": "text", "mean": (3.0, 2.5, 4.0), "std": (5.0, 5.0, 5.0)},
        **{"input_range": 1.0, "input_size": (96, 64), "crop": 0.9, "crop_mode": "squash"},
        **{"interpolation": "box", "colours": "bgr", "levels": (0.0, 4095.0), "windows": "kept"},
    )
    assert all(getattr(asked, each.name) is not None for each in fields(ReadingOptions))
    again = options_of(asked.reading)
    assert again.keys() == {each.name for each in fields(ReadingOptions)}
    request = AuditRequest("d", "m", **again)
    assert request.reading == asked.reading
    assert AuditRequest.parse(request.arguments()).reading == asked.reading


def test_an_order_that_does_not_fit_is_refused(audited: Callable[..., Audit]) -> None:
    with pytest.raises(InputError, match="--classes number: 2 classes cannot be the 2 outputs"):
        audited(["plum", "fig"], classes="number")


def test_what_a_class_of_that_name_means_is_said(
    audited: Callable[..., Audit], tmp_path: Path
) -> None:
    """A mouse may be the animal to the data, and the pointing device to the network."""
    wnids = {"mouse": "n03793489", "kite": "n01608432"}
    (tmp_path / "c.txt").write_text("\n".join(wnids.values()))
    audit = audited(list(wnids), classes=str(tmp_path / "c.txt"))
    assert audit.summary.accuracy == 1.0
    assert "electronic device" in audit.class_facts("mouse").definition
    (note,) = (note for note in audit.summary.notes if "Outputs were found by name" in note)
    assert "mouse: " in note
    assert "kite: " in note
