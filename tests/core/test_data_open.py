import json
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.data.check import check_data
from core.data.export import Item, export_once
from core.data.open import open_data
from core.errors import DataError, WorkspaceError


def save(path, size=(4, 3), color=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def touch(root, *names):
    """Listing never decodes, so empty files will do."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def listed(tmp_path):
    def open_it(source, **options):
        return open_data(str(source), workspace=tmp_path / "workspace", **options)

    return open_it


def rows(table, *columns):
    return list(table.frame[list(columns)].itertuples(index=False, name=None))


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
    assert table.attributes == table.notes == table.repeated == ()


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
        ("s3://bucket", r"does not exist; give a folder .* demo:NAME"),
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
    names = [f"{split}/{label}/{i}.jpg" for split in ("train", "val") for label in "ab"
             for i in range(20)]  # fmt: skip
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


# Manifests


@pytest.fixture
def manifest(tmp_path, listed):
    """Write a manifest beside three images and open it."""
    touch(tmp_path / "m", "x/1.jpg", "x/2.jpg", "x/3.jpg")

    def open_it(text, name="m.csv", **options):
        (tmp_path / "m" / name).write_text(text, "utf-8")
        return listed(tmp_path / "m" / name, **options)

    return open_it


def test_manifest_labels_stay_text(manifest):
    table = manifest("path,label\nx/1.jpg,007\nx/2.jpg,NA\nx/3.jpg,1.0\n")
    assert rows(table, "path", "label", "split") == [
        ("x/1.jpg", "007", "train"),
        ("x/3.jpg", "1.0", "train"),
        ("x/2.jpg", "NA", "train"),
    ]


def test_manifest_columns_and_attributes(manifest):
    table = manifest(
        "\ufeffplace,path,label,split,object_mask,x_min,y_min,x_max,y_max,n,Unnamed: 0\n"
        "land,x/1.jpg,a,Train,k/1.png,1,2,3,4,5,0\n"
        ",./x//2.jpg,a,val,,,,,,6,1\n"
    )
    assert table.frame.columns.tolist() == [
        "image_id", "path", "label", "split", "object_mask",
        "x_min", "y_min", "x_max", "y_max", "place", "n",
    ]  # fmt: skip
    assert table.attributes == ("place", "n")
    assert rows(table, "path", "split", "object_mask") == [
        ("x/1.jpg", "train", "k/1.png"),
        ("x/2.jpg", "val", ""),
    ]
    assert table.frame["n"].dtype == np.int64
    assert table.frame["place"].isna().tolist() == [False, True]
    assert np.isnan(table.frame["x_min"]).tolist() == [False, True]
    assert any("left out: Unnamed: 0" in note for note in table.notes)


def test_parquet_keeps_types(tmp_path, listed):
    touch(tmp_path, "1.jpg", "2.jpg")
    frame = pd.DataFrame(
        {"path": ["1.jpg", "2.jpg"], "label": [7, 8], "flag": [True, False]}, index=[5, 9]
    )
    frame.to_parquet(tmp_path / "m.PARQUET")
    table = listed(tmp_path / "m.PARQUET")
    assert rows(table, "path", "label", "flag") == [("1.jpg", "7", True), ("2.jpg", "8", False)]
    assert table.frame["flag"].dtype == bool


def test_absolute_paths_become_relative(tmp_path, manifest):
    table = manifest(f"path,label\n{tmp_path}/m/x/1.jpg,a\nx/2.jpg,a\n")
    assert table.frame["path"].tolist() == ["x/1.jpg", "x/2.jpg"]


def test_manifest_of_moved_data(tmp_path, manifest):
    touch(tmp_path, "moved/y/1.jpg")
    table = manifest("path,label\ny/1.jpg,a\n", data_root=tmp_path / "moved")
    assert table.root == tmp_path / "moved"
    assert (table.root / table.frame["path"][0]).exists()


def test_repeated_paths_keep_the_first(manifest):
    table = manifest("path,label,split\nx/1.jpg,a,train\nx/1.jpg,b,test\n./x/1.jpg,a,train\n")
    assert rows(table, "path", "label") == [("x/1.jpg", "a")]
    assert table.repeated == (
        ("x/1.jpg", "also as split test / label b"),
        ("x/1.jpg", "also as split train / label a"),
    )


def test_manifest_without_train_is_noted(manifest):
    table = manifest("path,label,split\nx/1.jpg,a,test\nx/2.jpg,a,test\n")
    assert table.notes == ("No image is in the split 'train'; the splits are test.",)


HEAD = "path,label,x_min,y_min,x_max,y_max\nx/1.jpg,a,1,1,2,2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path;label\nx/1.jpg;a\n", "no column path and label; its columns are: path;label"),
        ("path,class\nx/1.jpg,a\n", "no column label; its columns are: path, class. Rename"),
        ("path,label\nx/1.jpg,\nx/2.jpg,a\nx/3.jpg,  \n", "rows 1, 3 have no label; fill them in"),
        ("path,label\nx/1.jpg,a\n,a\n", "rows 2 have no path"),
        ("path,label,split\nx/1.jpg,a,\nx/2.jpg,a,val\n", "rows 1 have no split; fill them in"),
        ("path,label,split\n" + "x/1.jpg,a,\n" * 8, "rows 1, 2, 3, 4, 5 and 3 more have no split"),
        ("path,label,x_min\nx/1.jpg,a,1\n", "has only x_min of a box; give all of"),
        (HEAD + "x/2.jpg,a,1,1,,2\n", "rows 2 have a part of a box"),
        (HEAD + "x/2.jpg,a,1,5,2,5\n", "rows 2 have an empty box; x_max must exceed"),
        (HEAD + "x/2.jpg,a,1,5,wide,7\n", "rows 2 have no number as x_max"),
        (
            "path,label\nno/1.jpg,a\nno/2.jpg,a\n",
            "no file such as no/1.jpg exists below .*data root",
        ),
        ("path,label\n", "has a header but no rows"),
        ("", "cannot be read as a table: No columns to parse"),
    ],
)
def test_manifest_errors_name_rows_and_remedy(manifest, text, message):
    with pytest.raises(DataError, match=message):
        manifest(text)


def test_manifest_in_another_encoding(tmp_path, listed):
    (tmp_path / "m.csv").write_bytes("path,label\nx.jpg,Küche\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"m\.csv is not UTF-8 text .* save it as UTF-8"):
        listed(tmp_path / "m.csv")


def test_parquet_that_is_none(tmp_path, listed):
    (tmp_path / "m.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"m\.parquet cannot be read as a table"):
        listed(tmp_path / "m.parquet")


# torchvision, with small classes in the place of real ones


@pytest.fixture
def zoo(monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")

    def install(cls, name=None):
        monkeypatch.setattr(datasets, name or cls.__name__, cls, raising=False)

    return install


def refuse(split, *known):
    if split not in known:
        raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {known}.")


class Wnids:
    """Like Imagenette: samples, wnids, split train/val."""

    def __init__(self, root, split="train", size="full", download=False):
        refuse(split, "train", "val")
        base = Path(root) / "full" / split
        if not base.exists():
            if not download:
                raise RuntimeError("Dataset not found. You can use download=True to download it.")
            touch(base, "n01440764/1.jpg", "n02979186/1.jpg")
        self.wnids = ["n01440764", "n02979186"]
        self.classes = [("tench", "Tinca tinca"), ("cassette player",)]
        self._samples = [(str(base / wnid / "1.jpg"), i) for i, wnid in enumerate(self.wnids)]

    def __len__(self):
        return len(self._samples)


class Pets:
    """Like OxfordIIITPet: parallel lists, split trainval/test."""

    def __init__(self, root, split="trainval", download=False):
        refuse(split, "trainval", "test")
        folder = Path(root) / "images"
        self._images = [folder / f"{split}{i}.jpg" for i in range(3)]
        self._labels = [0, 1, 1]
        self.classes = ["Abyssinian", ("Boxer", "dog")]

    def __len__(self):
        return 3


class Tiny:
    """Like CIFAR10: arrays in memory, train True/False."""

    made = 0

    def __init__(self, root, train=True, download=False):
        type(self).made += 1
        self.train = train
        self.classes = ["T-shirt/top", ".hidden", "100%"]

    def __len__(self):
        return 6 if self.train else 3

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        return Image.new("L", (8, 8), index), index % 3


class NoClass:
    def __init__(self, root):
        self.root = root

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return Image.new("RGB", (8, 8)), {"boxes": [1, 2, 3, 4]}


def test_torchvision_files_are_used_in_place(tmp_path, listed, zoo):
    zoo(Wnids)
    with pytest.raises(DataError, match=r"Wnids is not in .*; use torchvision:Wnids\?download=1"):
        listed("torchvision:Wnids")
    table = listed("torchvision:Wnids?download=1")
    assert table.root == tmp_path / "workspace/data/torchvision/full"
    assert rows(table, "path", "label", "split") == [
        ("train/n01440764/1.jpg", "n01440764", "train"),
        ("val/n01440764/1.jpg", "n01440764", "val"),
        ("train/n02979186/1.jpg", "n02979186", "train"),
        ("val/n02979186/1.jpg", "n02979186", "val"),
    ]
    assert table.source == "torchvision:Wnids?download=1"


def test_demo_imagenette_is_torchvisions(tmp_path, listed, zoo):
    zoo(Wnids, "Imagenette")
    table = listed("demo:imagenette")
    assert table.source == "demo:imagenette"
    assert table.labels == ["n01440764", "n02979186"]


def test_torchvision_trainval_counts_as_train(tmp_path, listed, zoo):
    zoo(Pets)
    table = listed(f"torchvision:Pets?root={tmp_path}/a+b")
    assert table.frame["split"].value_counts().to_dict() == {"train": 3, "test": 3}
    assert table.labels == ["Abyssinian", "Boxer, dog"]
    assert table.root == tmp_path / "a+b/images"
    assert table.source == f"torchvision:Pets?root={tmp_path}/a+b"


def test_torchvision_arrays_are_exported_once(tmp_path, listed, zoo):
    zoo(Tiny)
    Tiny.made = 0
    table = listed("torchvision:Tiny")
    assert Tiny.made == 2
    assert table.labels == [".hidden", "100%", "T-shirt/top"]
    assert table.frame["split"].value_counts().to_dict() == {"train": 6, "test": 3}
    export = tmp_path / "workspace/data/torchvision-Tiny"
    assert table.root == export
    assert (export / "train/T-shirt%2Ftop/000003.png").is_file()
    again = listed("torchvision:Tiny")
    assert Tiny.made == 2
    assert again.frame.equals(table.frame)
    assert [p.name for p in export.parent.iterdir()] == ["torchvision-Tiny"]


def test_real_cifar10_is_exported(tmp_path, listed, monkeypatch):
    cifar = pytest.importorskip("torchvision.datasets").CIFAR10
    base = tmp_path / "c" / cifar.base_folder
    base.mkdir(parents=True)
    for name, _ in [*cifar.train_list, *cifar.test_list]:
        batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 9]}
        (base / name).write_bytes(pickle.dumps(batch))
    names = {"label_names": ["airplane", *"bcdefghi", "truck"]}
    (base / "batches.meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr(cifar, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    table = listed(f"torchvision:CIFAR10?root={tmp_path}/c")
    assert table.labels == ["airplane", "truck"]
    assert table.frame["split"].value_counts().to_dict() == {"train": 10, "test": 2}
    assert check_data(table).unreadable == ()


def test_real_image_folder_and_fake_data(tmp_path, listed):
    pytest.importorskip("torchvision")
    save(tmp_path / "f/a/1.png")
    save(tmp_path / "f/b/1.png")
    table = listed(f"torchvision:ImageFolder?root={tmp_path}/f")
    assert rows(table, "path", "label") == [("a/1.png", "a"), ("b/1.png", "b")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("torchvision:CIFAR1", r"has no data set CIFAR1; did you mean .*CIFAR10"),
        ("torchvision:imagenete", r"no data set imagenete; did you mean .*Imagenet"),
        ("torchvision:xyzzy", r"no data set xyzzy; see torchvision's list"),
        ("torchvision:CIFAR10?size=3", r"does not know the option size; use root=DIR"),
        ("torchvision:CIFAR10?download=yes", r"download=yes; give 0 or 1"),
        ("torchvision:CIFAR10?download", r"options look like \?key=value"),
        ("torchvision:", r"names no data set; give a folder"),
        ("torchvision:DatasetFolder", r"needs more than a root folder"),
        ("torchvision:CIFAR10", r"CIFAR10 is not in .*; use torchvision:CIFAR10\?download=1"),
        ("torchvision:Food101", r"Food101 is not in .*; use torchvision:Food101\?download=1"),
        ("torchvision:ImageNet", r"cannot download it: fetch it yourself and give root=DIR"),
        ("torchvision:NoClass", r"does not give each image one class \(its target is a dict\)"),
    ],
)
def test_torchvision_errors(listed, zoo, source, message):
    zoo(NoClass)
    with pytest.raises(DataError, match=message):
        listed(source)


def test_failed_export_leaves_nothing(tmp_path):
    def items():
        yield Item("train", "a", "0.png", b"x")
        raise DataError("half way")

    with pytest.raises(DataError, match="half way"):
        export_once(tmp_path / "data/e", items(), total=2, report=lambda _: None)
    assert list((tmp_path / "data").iterdir()) == []


def test_workspace_that_is_a_file(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(WorkspaceError, match="cannot be written: .*choose another workspace"):
        export_once(tmp_path / "data/e", [], total=0, report=lambda _: None)


# The hub and demos, with small modules in the place of real ones


def hub_module(tmp_path):
    class Image_:
        def __init__(self, decode=True):
            self.decode = decode

    Image_.__name__ = "Image"

    class ClassLabel:
        def int2str(self, index):
            return ["cat", "dog"][index]

    class Part(list):
        features = {"image": Image_(), "label": ClassLabel(), "text": object()}

        def cast_column(self, name, feature):
            assert not feature.decode
            return self

    jpeg = save(tmp_path / "one.jpg").read_bytes()
    png = save(tmp_path / "two.png").read_bytes()
    part = Part(
        [
            {"image": {"bytes": jpeg, "path": None}, "label": 0, "text": "x"},
            {"image": {"bytes": None, "path": str(tmp_path / "two.png")}, "label": 1, "text": "y"},
            {"image": {"bytes": png, "path": "z.PNG"}, "label": -1, "text": "y"},
        ]
    )
    module = types.ModuleType("datasets")
    module.load_dataset = lambda name: {"train": part, "test": part}
    return module, jpeg


def test_hub_exports_the_original_bytes(tmp_path, listed, monkeypatch):
    module, jpeg = hub_module(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", module)
    table = listed("hf:me/pets")
    assert rows(table, "path", "label", "split") == [
        ("test/cat/000000.jpeg", "cat", "test"),
        ("train/cat/000000.jpeg", "cat", "train"),
        ("test/dog/000001.png", "dog", "test"),
        ("train/dog/000001.png", "dog", "train"),
    ]
    assert (table.root / "train/cat/000000.jpeg").read_bytes() == jpeg
    assert "1 images of the split train have no label and were left out." in table.notes
    assert listed("hf:me/pets?label=text").labels == ["x", "y"]
    with pytest.raises(DataError, match="which column holds the label.* image, label, text; use"):
        listed("hf:me/pets?label=no")
    with pytest.raises(DataError, match="does not know the option split"):
        listed("hf:me/pets?split=train")


def test_hub_without_the_library(listed, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="needs the package datasets; .*pip install datasets"):
        listed("hf:me/pets")


def test_demo_manifest_with_planted_truth(tmp_path, listed, monkeypatch):
    def prepare(name, *, workspace, report, **options):
        folder = workspace / "data" / name
        touch(folder, "1.png")
        (folder / "m.csv").write_text(f"path,label,strength\n1.png,a,{options['strength']}\n")
        (folder / "planted.json").write_text(json.dumps({"a": {"cue": "strength"}}))
        return folder / "m.csv"

    module = types.ModuleType("core.data.demos")
    module.prepare = prepare
    monkeypatch.setitem(sys.modules, "core.data.demos", module)
    table = listed("demo:stripes?strength=3")
    assert table.source == "demo:stripes?strength=3"
    assert table.planted == {"a": {"cue": "strength"}}
    assert table.frame["strength"].tolist() == [3]
    assert table.root == tmp_path / "workspace/data/stripes"


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
