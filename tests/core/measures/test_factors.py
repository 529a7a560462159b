"""The shape, texture and background test on an audit, by the command line."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from core.__main__ import main
from core.audits.audit import Audit
from core.audits.run import run_audit
from core.errors import InputError
from core.measures.factors import COMPOSED, factor_table, factors, lacking, stored_factors
from core.storage.files import read_json, write_json
from core.types import Preprocess
from tests.conftest import tiny_request
from tests.tiny import named


@pytest.fixture
def masked(folder, workspace):
    """The red and blue squares with their masks."""
    mask = np.zeros((64, 64), np.uint8)
    mask[16:32, 16:32] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split", "object_mask"])
        for path in sorted(folder.rglob("*.jpg")):
            split, label, name = path.relative_to(folder).parts
            table.writerow([f"{split}/{label}/{name}", label, split, "mask.png"])
    request = replace(tiny_request(folder / "manifest.csv"), name="masked")
    return run_audit(request, workspace)


def test_colour_alone_decides_between_equal_squares_on_equal_noise(masked, workspace, capsys):
    where = ["--workspace", str(workspace.root)]
    assert main(["factors", "masked", "--json", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 12
    assert found["main"]["texture"] > 0.9
    assert abs(found["main"]["shape"]) < 0.1
    assert abs(found["main"]["background"]) < 0.1
    assert main(["factors", "masked", "--class", "red", *where]) == 0
    assert capsys.readouterr().out.startswith("6 images, each put together in eight ways")
    rows = {(r["measure"], r["subject"]): r for r in found["measures"]}
    assert rows["composed_accuracy", "texture"]["value"] > 0.9
    assert rows["composed_accuracy", "shape + background"]["value"] < 0.1
    assert len([name for name, _ in rows if name == "composed_accuracy"]) == 8
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
        assert row["low"] < row["high"]
        assert row["source"]
    assert rows["shape_bias", ""]["value"] < 0.1


def test_it_is_measured_once_and_stored(masked, monkeypatch):
    first = factor_table(masked, class_name="red")
    monkeypatch.setattr("core.measures.factors.decides_by", None)
    pd.testing.assert_frame_equal(factor_table(masked, class_name="red"), first)
    assert stored_factors(masked) is None
    path = masked.folder / "head" / "head.json"
    write_json(path, {**read_json(path), "key": "0123456789abcdef"})
    assert stored_factors(Audit(masked.folder), class_name="red") is None
    with pytest.raises(InputError, match="no class 'green'"):
        factor_table(masked, class_name="green")


def test_half_of_the_images_are_of_the_class_asked_about(masked, monkeypatch):
    monkeypatch.setattr("core.measures.factors.IMAGES", 4)
    assert factors(masked, class_name="blue").n == 2
    assert factors(masked).n == 4


def test_a_trimap_means_the_object_that_a_plain_mask_means(masked, folder):
    """1 is the object, 2 the background, 3 the border: not all of it is inside."""
    plain = factors(masked).effects
    trimap = np.full((64, 64), 2, np.uint8)
    trimap[15:33, 15:33] = 3
    trimap[16:32, 16:32] = 1
    Image.fromarray(trimap).save(folder / "mask.png")
    again = factors(Audit(masked.folder)).effects
    assert (again.main, again.cells) == (plain.main, plain.cells)


class MeanColour(nn.Module):
    """The mean of every channel is its feature, and those of red and blue are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, 2, bias=False)
        self.conv.weight.data = torch.eye(3)[..., None, None]
        self.fc.weight.data = torch.eye(3)[[2, 0]]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.conv(images)).flatten(1))


WHOLE = Preprocess((40, 40), 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3)
named("mean-colour", MeanColour, WHOLE)


def draw_trimap(path, large):
    """An object of .72 or .20 of the picture, of 1, in a border of 3, on 2."""
    first, last = (3, 37) if large else (11, 29)
    trimap = np.full((40, 40), 2, np.uint8)
    trimap[first - 2 : last + 2, first - 2 : last + 2] = 3
    trimap[first:last, first:last] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(trimap).save(path)


def test_trimaps_beside_the_images_give_what_the_model_decides_by(tmp_path, workspace, capsys):
    """By the mean colour the larger of object and background decides: objects are in 6 of 15."""
    for split, label, i in ((s, c, i) for s in ("train", "test") for c in "rb" for i in range(15)):
        place = tmp_path / "data" / split / label
        draw_trimap(place / "trimaps" / f"{i:02d}.png", large=i < 6)
        colour = (200, 0, 0) if label == "r" else (0, 0, 200)
        Image.new("RGB", (40, 40), colour).save(place / f"{i:02d}.png")
    request = tiny_request(tmp_path / "data", model="tiny:mean-colour", name="trimaps", head="auto")
    run_audit(request, workspace)
    capsys.readouterr()
    assert main(["factors", "trimaps", "--json", "--workspace", str(workspace.root)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 30
    assert found["main"] == pytest.approx({"shape": 0, "texture": 0.4, "background": 0.6}, abs=0.1)
    rows = {r["subject"]: r["value"] for r in found["measures"] if r["measure"] == COMPOSED.name}
    assert rows["shape + texture"] == pytest.approx(0.4)
    assert rows["shape + background"] == pytest.approx(0.6)


def test_without_masks_it_says_what_is_missing(folder, workspace, capsys):
    run_audit(tiny_request(folder), workspace)
    assert main(["factors", "tiny", "--workspace", str(workspace.root)]) == 2
    said = capsys.readouterr().err
    assert "no held-out image of audit 'tiny' has an object mask" in said
    assert "add the column object_mask" in said


def test_a_box_stands_in_for_a_mask(masked, tiny_audit):
    assert lacking(tiny_audit)
    assert not lacking(masked)
    masked.images["object_mask"] = ""
    assert lacking(masked)
    for side, value in (("x_min", 16.0), ("y_min", 16.0), ("x_max", 32.0), ("y_max", 32.0)):
        masked.images[side] = value
    assert not lacking(masked)
