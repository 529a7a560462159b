"""Folders as people lay them out: splits, masks, nesting, spellings, endings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from core.data.decode import FORMATS
from core.data.folder import SUFFIXES
from core.data.open import open_data
from core.errors import DataError
from core.types import ImageTable
from tests.core.data.data_fixture import touch


def listed(source: object, tmp_path: Path) -> ImageTable:
    return open_data(str(source), workspace=tmp_path / "w")


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Testing"),
        ("train_set", "test_set"),
        ("seg_train", "seg_test"),
        ("TrainSet", "TestSet"),
        ("tr", "te"),
        ("train2017", "test2017"),
        ("training_data", "test-data"),
    ],
    ids=str,
)
def test_splits_under_other_names(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path / "d", *(f"{split}/{label}/1.jpg" for split in names for label in "ab"))
    table = listed(tmp_path / "d", tmp_path)
    assert table.labels == ["a", "b"]
    assert set(table.frame["split"]) == {"train", "test"}


def test_dev_and_test_are_held_out_and_no_classes(tmp_path: Path) -> None:
    touch(tmp_path / "d", "dev/a/1.jpg", "dev/b/1.jpg", "test/a/1.jpg")
    table = listed(tmp_path / "d", tmp_path)
    assert (table.labels, set(table.frame["split"])) == (["a", "b"], {"val", "test"})


def test_numbers_that_hold_the_same_classes_are_splits(tmp_path: Path) -> None:
    touch(tmp_path / "d", *(f"{i}/{label}/1.jpg" for i in range(3) for label in "ab"))
    table = listed(tmp_path / "d", tmp_path)
    assert (table.labels, set(table.frame["split"])) == (["a", "b"], {"train", "val", "test"})
    touch(tmp_path / "e", "0/a/1.jpg", "1/b/1.jpg", "2/c/1.jpg")
    assert listed(tmp_path / "e", tmp_path).labels == ["0", "1", "2"]


@pytest.mark.parametrize(
    "names", [("trainer", "tester"), ("train", "tram"), ("dev", "cat")], ids=str
)
def test_classes_that_sound_like_splits_are_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path / "d", *(f"{name}/1.jpg" for name in names))
    assert listed(tmp_path / "d", tmp_path).labels == sorted(names)


def test_a_split_inside_itself_and_inside_one_folder(tmp_path: Path) -> None:
    names = [f"archive/seg_{s}/seg_{s}/{label}/1.jpg" for s in ("train", "test") for label in "ab"]
    touch(tmp_path / "d", *names)
    table = listed(tmp_path / "d", tmp_path)
    assert (table.labels, set(table.frame["split"])) == (["a", "b"], {"train", "test"})
    assert sorted(table.frame["path"]) == sorted(names)
    assert any("the folder archive, which is no class" in note for note in table.notes)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}/1.jpg", "masks/{}/1.png"),
        ("{}/images/1.jpg", "{}/masks/1.png"),
        ("{}/1.jpg", "{}/1_mask.png"),
        ("{}/1.jpg", "{}/masks/1.png"),
        ("train/{}/images/1.png", "train/{}/masks/1_mask.png"),
    ],
    ids=["beside", "inside", "suffix", "below", "both"],
)
def test_masks_beside_images_are_masks(tmp_path: Path, image: str, mask: str) -> None:
    touch(tmp_path / "d", *(name.format(label) for name in (image, mask) for label in "ab"))
    table = listed(tmp_path / "d", tmp_path)
    assert table.labels == ["a", "b"]
    assert table.frame["path"].tolist() == [image.format(label) for label in "ab"]
    assert table.frame["object_mask"].tolist() == [mask.format(label) for label in "ab"]
    assert any("Masks beside 2 of 2 images" in note for note in table.notes)


def test_two_folders_deep_is_told_and_can_be_chosen(tmp_path: Path) -> None:
    touch(tmp_path / "d", *(f"{name}/1.jpg" for name in ("canis/lupus", "canis/rufus", "ursus/x")))
    table = listed(tmp_path / "d", tmp_path)
    assert table.labels == ["canis", "ursus"]
    assert any("classes=inner" in note for note in table.notes)
    inner = listed(f"folder:{tmp_path / 'd'}?classes=inner", tmp_path)
    assert inner.labels == ["lupus", "rufus", "x"]
    with pytest.raises(DataError, match="classes=outer or classes=inner"):
        listed(f"folder:{tmp_path / 'd'}?classes=both", tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        listed(f"folder:{tmp_path / 'e'}?classes=inner", tmp_path)


def test_unicode_forms_are_one_and_spellings_are_told(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "café")
    apart = unicodedata.normalize("NFD", "café")
    touch(tmp_path / "d", f"train/{composed}/1.jpg", f"test/{apart}/1.jpg", "train/Big cat/1.jpg")
    touch(tmp_path / "d", "test/big_cat/1.jpg")
    table = listed(tmp_path / "d", tmp_path)
    assert table.labels == ["Big cat", "big_cat", composed]
    notes = "\n".join(table.notes)
    assert f"Unicode form alone are one: {composed}." in notes
    assert "'Big cat' / 'big_cat'; are they the same?" in notes
    assert "held-out ones are labelled with: big_cat." in notes


def test_every_ending_that_the_decoder_reads_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()
    endings = {
        e.lstrip(".") for e, kind in Image.registered_extensions().items() if kind in FORMATS
    }
    assert endings == SUFFIXES
    for place, ending in enumerate(("gif", "ppm", "pgm", "jfif", "jp2", "avif", "webp")):
        path = tmp_path / "d" / "a" / f"{place}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if ending == "pgm" else "RGB", (8, 8)).save(path)
    monkeypatch.setattr("core.data.optional_formats.is_there", lambda kind: False)
    touch(tmp_path / "d", "a/x.heic", "a/y.HEIC", "a/notes", "b/1.txt")
    table = listed(tmp_path / "d", tmp_path)
    assert len(table.frame) == 7
    assert any("ending: 2 .heic, 1 .txt, 1 without ending." in note for note in table.notes)
