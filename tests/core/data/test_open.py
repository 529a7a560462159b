import os

import pytest

from core.data.check import check_data
from core.data.open import open_data
from core.errors import DataError
from tests.core.data.data_fixture import rows, save, touch

# Folders


def test_bare_classes_are_all_train_and_sorted(tmp_path, listed):
    touch(tmp_path / "d", "b/2.jpg", "b/1.PNG", "a/deep/er/x.TiFf", "a/y.jpe", "a/notes.txt")
    table = listed(tmp_path / "d")
    assert rows(table, "label", "path", "split") == [
        ("a", "a/deep/er/x.TiFf", "train"),
        ("a", "a/y.jpe", "train"),
        ("b", "b/1.PNG", "train"),
        ("b", "b/2.jpg", "train"),
    ]
    assert table.root == tmp_path / "d"
    assert table.source == str(tmp_path / "d")
    assert table.frame.index.tolist() == [0, 1, 2, 3]
    assert table.frame.columns.tolist() == ["image_id", "path", "label", "split"]
    assert table.attributes == table.repeated == ()
    assert table.notes == ("Left out, no image by its ending: 1 .txt.",)


def test_split_layout_in_any_letter_case(tmp_path, listed):
    touch(tmp_path, "d/Train/a/1.jpg", "d/Train/b/1.jpg", "d/VAL/a/1.jpg", "d/odd/b/1.jpg")
    table = listed(tmp_path / "d")
    assert rows(table, "path", "label", "split") == [
        ("Train/a/1.jpg", "a", "train"),
        ("VAL/a/1.jpg", "a", "val"),
        ("Train/b/1.jpg", "b", "train"),
        ("odd/b/1.jpg", "b", "odd"),
    ]


def test_held_out_folders_without_train_are_splits(tmp_path, listed):
    touch(tmp_path, "d/val/a/1.jpg", "d/Test/a/1.jpg", "d/Test/b/1.jpg")
    table = listed(tmp_path / "d")
    assert rows(table, "path", "label", "split") == [
        ("Test/a/1.jpg", "a", "test"),
        ("val/a/1.jpg", "a", "val"),
        ("Test/b/1.jpg", "b", "test"),
    ]


def test_a_class_called_test_is_a_class(tmp_path, listed):
    touch(tmp_path, "d/test/x/1.jpg", "d/toast/x/1.jpg")
    assert listed(tmp_path / "d").labels == ["test", "toast"]


def test_class_called_train_is_a_class(tmp_path, listed):
    touch(tmp_path, "d/train/1.jpg", "d/train/2.jpg", "d/tram/1.jpg", "d/tram/2.jpg")
    table = listed(tmp_path / "d")
    assert table.labels == ["train", "tram"]
    assert set(table.frame["split"]) == {"train"}


def test_hidden_names_are_left_out(tmp_path, listed):
    touch(tmp_path, "d/a/1.jpg", "d/a/2.jpg", "d/a/.3.jpg", "d/.cache/1.jpg", "d/a/.x/1.jpg")
    assert listed(tmp_path / "d").frame["path"].tolist() == ["a/1.jpg", "a/2.jpg"]


def test_notes_name_empty_single_and_unlabelled(tmp_path, listed):
    touch(tmp_path, "d/a/1.jpg", "d/b/1.jpg", "d/b/2.jpg", "d/loose.jpg")
    (tmp_path / "d/void").mkdir()
    notes = "\n".join(listed(tmp_path / "d").notes)
    assert "No image in the class: void." in notes
    assert "Only one image in the class: a." in notes
    assert "outside of any class folder: loose.jpg." in notes


def test_links_in_a_circle_end(tmp_path, listed):
    touch(tmp_path, "d/a/1.jpg", "d/a/2.jpg", "d/b/1.jpg", "d/b/2.jpg")
    (tmp_path / "d/a/up").symlink_to(tmp_path / "d")
    (tmp_path / "d/a/again").symlink_to(tmp_path / "d/a")
    (tmp_path / "d/b/self").symlink_to(tmp_path / "d/b/self")
    table = listed(tmp_path / "d")
    assert table.frame["path"].tolist() == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
    notes = "\n".join(table.notes)
    assert "already read: a/again, a/up." in notes
    assert "a broken link: b/self." in notes


def test_linked_class_folder_elsewhere_is_followed(tmp_path, listed):
    touch(tmp_path, "elsewhere/1.jpg", "elsewhere/2.jpg", "d/a/1.jpg", "d/a/2.jpg")
    (tmp_path / "d/z").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "d").frame["path"].tolist()[2:] == ["z/1.jpg", "z/2.jpg"]


def test_real_class_wins_over_a_link_to_it(tmp_path, listed):
    touch(tmp_path, "d/z/1.jpg", "d/z/2.jpg")
    (tmp_path / "d/alias").symlink_to(tmp_path / "d/z")
    assert listed(tmp_path / "d").labels == ["z"]


def test_unicode_and_longest_names(tmp_path, listed):
    long = "ü" * 125 + "x.jpg"
    assert len(long.encode()) == 255
    touch(tmp_path, f"d/猫 и/{long}", "d/猫 и/a\nb.jpg", "d/猫 и/ü,\"'.jpg")
    table = listed(tmp_path / "d")
    assert table.labels == ["猫 и"]
    assert f"猫 и/{long}" in set(table.frame["path"])
    assert len(table.frame) == 3


def test_undecodable_names_are_noted_and_skipped(tmp_path, listed):
    touch(tmp_path, "d/a/1.jpg", "d/a/2.jpg")
    try:
        (tmp_path / "d/a" / os.fsdecode(b"bad\xff.jpg")).touch()
        (tmp_path / "d" / os.fsdecode(b"cls\xfe")).mkdir()
    except OSError:
        pytest.skip("this file system takes only valid text as names")
    table = listed(tmp_path / "d")
    assert len(table.frame) == 2
    note = next(note for note in table.notes if "not valid text" in note)
    assert "a/bad\\xff.jpg" in note
    assert "cls\\xfe" in note
    note.encode()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", r"'.*nowhere' does not exist; give a folder"),
        ("https://host/photos", r"is no folder: give a manifest of this machine"),
        ("file.txt", r"file\.txt is neither a folder nor a manifest; give a folder"),
        ("void", r"void has no image in a class folder; expected CLASS/IMAGE"),
        ("nowhere.csv", r"nowhere\.csv' does not exist"),
    ],
)
def test_sources_that_are_none(tmp_path, listed, source, message):
    (tmp_path / "file.txt").touch()
    (tmp_path / "void/a").mkdir(parents=True)
    full = source if ":" in source else tmp_path / source
    with pytest.raises(DataError, match=message):
        listed(full)


def test_image_ids_survive_a_move(tmp_path, listed):
    touch(tmp_path, "d/a/1.jpg", "d/a/2.jpg")
    before = listed(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "moved")
    after = listed(tmp_path / "d", data_root=tmp_path / "moved")
    assert before.frame.equals(after.frame)
    assert before.frame["image_id"].tolist() == ["00b28d7e6a132eb3", "fe31899e6b1f174e"]
    assert after.source == before.source
    assert after.root == tmp_path / "moved"


def test_missing_data_root(tmp_path, listed):
    with pytest.raises(DataError, match="is no folder; give the one the data moved to"):
        listed(tmp_path, data_root=tmp_path / "no")


def test_relative_source_becomes_absolute(tmp_path, monkeypatch):
    touch(tmp_path, "d/a/1.jpg")
    monkeypatch.chdir(tmp_path)
    table = open_data("d", workspace=tmp_path)
    assert table.source == str(tmp_path / "d")
    assert table.root == tmp_path / "d"


def test_limit_is_stable_when_images_are_added(tmp_path, listed):
    names = [
        f"{split}/{label}/{i}.jpg"
        for split in ("train", "val")
        for label in "ab"
        for i in range(20)
    ]
    touch(tmp_path / "d", *names)
    full = listed(tmp_path / "d").frame
    small = listed(tmp_path / "d", limit_per_class=5).frame
    assert small.groupby(["split", "label"]).size().tolist() == [5] * 4
    for group, frame in full.groupby(["split", "label"]):
        kept = small[(small["split"] == group[0]) & (small["label"] == group[1])]
        assert set(kept["image_id"]) == set(sorted(frame["image_id"])[:5])
    touch(tmp_path / "d", *[f"train/a/new{i}.jpg" for i in range(20)])
    again = listed(tmp_path / "d", limit_per_class=5).frame
    old = set(again["path"]) & set(full["path"])
    assert old <= set(small["path"])
    with pytest.raises(DataError, match="limit per class is 0; give 1 or more"):
        listed(tmp_path / "d", limit_per_class=0)


def test_progress_ends_complete(tmp_path):
    touch(tmp_path, "d/a/1.jpg", "d/b/1.jpg")
    seen = []
    open_data(str(tmp_path / "d"), workspace=tmp_path, report=seen.append)
    assert [(p.done, p.total, p.unit) for p in seen] == [(1, 2, "folders"), (2, 2, "folders")]


# The check before starting


def test_check_counts_and_finds(tmp_path, listed):
    for i in range(4):
        save(tmp_path / f"d/train/a/{i}.png", color=(i, 0, 0))
    save(tmp_path / "d/val/b/copy.png", color=(3, 0, 0))
    touch(tmp_path, "d/val/b/empty.jpg", "d/val/b/empty2.jpg")
    check = check_data(listed(tmp_path / "d"))
    assert (check.images, check.classes, check.sampled) == (7, 2, 7)
    assert check.splits == {"train": 4, "val": 3}
    assert sorted(check.unreadable) == [
        ("val/b/empty.jpg", "the file is empty"),
        ("val/b/empty2.jpg", "the file is empty"),
    ]
    assert check.duplicates == (
        ("train/a/3.png", "val/b/copy.png"),
        ("val/b/empty.jpg", "val/b/empty2.jpg"),
    )
    assert check.all_compared
    assert 0 < check.seconds_per_image < 1
    assert check_data(listed(tmp_path / "d"), sample=2).sampled == 2
