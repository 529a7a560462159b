"""Masks and boxes in the conventions that people's data follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.data.mask_values import read_values
from core.data.masks import read_mask
from core.data.regions import are_fractions, in_pixels, region_notes
from core.errors import DataError
from core.types import ImageTable

INSIDE = np.zeros((24, 32), bool)
INSIDE[6:18, 8:24] = True
BORDER = np.zeros_like(INSIDE)
BORDER[5:19, 7:25] = True
BORDER &= ~INSIDE


def levels(inside: int, outside: int, border: int, kind: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.where(INSIDE, inside, np.where(BORDER, border, outside)).astype(kind))


def compressed(tmp_path: Path) -> Image.Image:
    Image.fromarray((INSIDE * 255).astype(np.uint8)).save(tmp_path / "m.jpg", quality=60)
    return Image.open(tmp_path / "m.jpg")


def palette(image: Image.Image) -> Image.Image:
    indexed = image.convert("P")
    indexed.putdata(np.asarray(image).flatten().tolist())
    indexed.putpalette([0, 0, 0, 128, 0, 0] + [9, 9, 9] * 253 + [224, 224, 192])
    return indexed


@pytest.mark.parametrize(
    ("image", "rule"),
    [
        (levels(1, 2, 3), "1 of object 1, background 2 and border 3"),
        (levels(255, 0, 128), "255 of background 0, unknown and object 255"),
        (levels(7, 0, 255), "every class but 0, without the border 255"),
        (palette(levels(1, 0, 255)), "every class but 0, without the border 255"),
        (levels(255, 0, 100), "more than half of white"),
        (levels(300, 0, 20, np.int32), "more than half of white"),
        (levels(250, 5, 9), "more than half of white"),
    ],
    ids=["trimap", "matting", "VOC", "VOC palette", "soft", "16 bit", "grey on grey"],
)
def test_conventions(image: Image.Image, rule: str) -> None:
    found = read_values(image)
    assert found.rule == rule
    assert np.array_equal(found.inside, INSIDE)


def test_what_compression_leaves_behind_is_outside(tmp_path: Path) -> None:
    found = read_values(compressed(tmp_path)).inside
    assert (found != INSIDE).mean() < 0.02
    colours = read_values(compressed(tmp_path).convert("RGB")).inside
    assert (colours != INSIDE).mean() < 0.02


def table(root: Path, **columns: list[object]) -> ImageTable:
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (32, 24)).save(root / name)
    frame = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "label": "a", "split": "train", **columns})
    return ImageTable("d", root, frame)


def test_how_masks_are_read_is_said(tmp_path: Path) -> None:
    levels(1, 2, 3).save(tmp_path / "m.png")
    Image.new("L", (32, 24), 255).save(tmp_path / "all.png")
    notes = region_notes(table(tmp_path, object_mask=["m.png", "all.png"]))
    assert "Inside a mask (object_mask) is 1 of object 1, background 2 and border 3 or" in notes[0]
    assert "Of 2 masks looked at (object_mask), 1 cover the whole image." in notes
    Image.new("L", (32, 24)).save(tmp_path / "none.png")
    notes = region_notes(table(tmp_path, object_mask=["none.png", "gone.png"]))
    assert "1 cover nothing of it, 1 cannot be read (mask" in notes[1]
    with pytest.raises(DataError, match=r"gone\.png: the file does not exist"):
        region_notes(table(tmp_path, object_mask=["gone.png", ""]))


def test_a_mask_of_something_else_is_refused(tmp_path: Path) -> None:
    levels(255, 0, 0).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="32 x 24 pixels, its image 24 x 32: .* turned upright"):
        read_mask(tmp_path / "m.png", (24, 32))
    with pytest.raises(DataError, match="another part of it"):
        read_mask(tmp_path / "m.png", (32, 32))
    assert read_mask(tmp_path / "m.png", (65, 48)).shape == (48, 65)


def test_boxes_as_shares_become_pixels(tmp_path: Path) -> None:
    sides = {"x_min": [0.25, np.nan], "y_min": [0.25, np.nan], "x_max": [0.75, np.nan]}
    found = table(tmp_path, **sides, y_max=[0.75, np.nan])
    assert are_fractions(found.frame)
    pixels = in_pixels(found.frame.assign(width=32, height=24))
    assert pixels.loc[0, ["x_min", "y_min", "x_max", "y_max"]].tolist() == [8, 6, 24, 18]
    assert region_notes(found) == (
        "Boxes are read as shares of width and height: no side of any lies beyond 1.",
    )


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((100, 100, 200, 200), "1 lie outside of their image"),
        ((10, 10, 90, 20), "1 reach beyond their image"),
        ((0, 0, 32, 24), "1 cover the whole image"),
    ],
)
def test_boxes_that_cannot_be_are_told(tmp_path: Path, box: tuple[float, ...], what: str) -> None:
    names = ("x_min", "y_min", "x_max", "y_max")
    sides = {name: [side, np.nan] for name, side in zip(names, box, strict=True)}
    (note,) = region_notes(table(tmp_path, **sides))
    assert f"Of 1 box looked at, {what}: are they pixels" in note
