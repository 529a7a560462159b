"""Data of torchvision, the hub and the demos."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.check import check_data
from core.data.copies import Item, export_once, read_export
from core.data.decode import read_image
from core.data.source import Asked
from core.data.zoo import read_torchvision
from core.errors import DataError, WorkspaceError
from tests.core.data.data_fixture import rows, save, touch
from tests.core.data.foreign_errors import BROKEN, FOREIGN


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


def test_every_root_has_an_export_of_its_own(tmp_path, listed, zoo):
    zoo(Tiny)
    Tiny.made = 0
    roots = [listed(f"torchvision:Tiny{root}").root for root in ("", "?root=/a", "?root=/b")]
    assert len(set(roots)) == 3
    assert Tiny.made == 6
    assert listed("torchvision:Tiny?root=/c/../a").root == roots[1]
    assert Tiny.made == 6


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
        ("torchvision:VisionDataset", r"VisionDataset is no data set .*; name another"),
        ("torchvision:ImageNet", r"cannot download it: fetch it yourself and give root=DIR"),
        ("torchvision:NoClass", r"does not give each image one class \(its target is a dict\)"),
    ],
)
def test_torchvision_errors(listed, zoo, source, message):
    zoo(NoClass)
    with pytest.raises(DataError, match=message):
        listed(source)


class Made:
    """A data set made of given items; exceptions among them are raised."""

    items: list = []
    classes = ["a", "b"]

    def __init__(self, root):
        self.root = root

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


def made(*items, **attributes):
    return type("Made", (Made,), {"items": list(items), **attributes})


def picture(mode="RGB", size=(4, 3)):
    return Image.new(mode, size)


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_one_image_that_breaks_a_library_is_left_out(listed, zoo, error):
    zoo(made((picture(), 0), error, (picture(), 1)))
    for _ in range(2):  # the second from the export
        table = listed("torchvision:Made")
        assert rows(table, "path", "label") == [
            ("train/a/000000.png", "a"),
            ("train/b/000002.png", "b"),
        ]
        (note,) = [note for note in table.notes if "left out" in note]
        assert note.startswith("1 image of the split train that could not be read, left out; the")
        assert FOREIGN not in note


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_a_constructor_that_fails_does_so_in_our_words(listed, zoo, error):
    def fail(self, root):
        raise error

    zoo(made(__init__=fail))
    with pytest.raises(DataError, match="torchvision:Made .*; ") as raised:
        listed("torchvision:Made")
    assert FOREIGN not in str(raised.value)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "its data set gives no image and class for it"),
        ((picture(),), "its data set gives no image and class for it"),
        ((None, 0), "it is a NoneType, not an image"),
        ((picture(), 1.5), "one class .its target is a float"),
        ((picture(size=(0, 3)), 0), "the image has 0 pixels"),
        ((np.zeros((4, 3, 5), np.uint8), 0), "an array of 4 x 3 x 5 values of the type uint8 is"),
        ((np.zeros((4, 3, 3), float), 0), "an array of 4 x 3 x 3 values of the type float64 is"),
    ],
)
def test_an_item_that_is_no_image_is_left_out(listed, zoo, item, reason):
    zoo(made((picture(), 0), item))
    table = listed("torchvision:Made")
    assert len(table.frame) == 1
    assert re.search(reason, " ".join(table.notes))
    zoo(made(item), "Other")
    with pytest.raises(DataError, match=f"holds no image that can be read .1 tried.: .*{reason}"):
        listed("torchvision:Other")


def test_an_image_without_a_class_is_left_out(listed, zoo):
    zoo(made((picture(), 0), (picture(), None)))
    assert (
        "1 image of the split train without a label, left out." in listed("torchvision:Made").notes
    )


def test_no_data_set_is_read_to_its_end_for_nothing(listed, zoo):
    zoo(made(*[(picture(), {})] * 3000))
    with pytest.raises(DataError, match=r"1,000 tried.*its target is a dict"):
        listed("torchvision:Made")


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("F", (4, 3), 0.5), 128),
        (np.full((4, 3), 0.5), 128),
        (Image.new("I", (4, 3), 2**31 - 1), 128),
        (Image.new("CMYK", (4, 3), (0, 0, 0, 127)), 128),
        (np.full((4, 3, 1), 128, np.uint8), 128),
    ],
)
def test_levels_of_other_modes_stay(listed, zoo, image, grey):
    zoo(made((image, 0)))
    table = listed("torchvision:Made")
    shown = np.asarray(read_image(table.root / table.frame["path"][0]).image)
    assert abs(shown.astype(int) - grey).max() <= 1


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["dog", "cat", "dog"], ["cat", "dog (0)", "dog (2)"]),
        (["dog", "dog (0)", "dog"], ["dog (0) (1)", "dog (0)", "dog (2)"]),
        (["dog", ("a", "b"), "a, b"], ["dog", "a, b (1)", "a, b (2)"]),
        (["2", "cat"], ["2", "cat", "class number 2"]),
        (["", "cat", "dog"], ["0", "cat", "dog"]),
    ],
)
def test_no_two_classes_become_one(listed, zoo, classes, labels):
    zoo(made(*[(picture(), index) for index in range(3)], classes=classes))
    table = listed("torchvision:Made")
    assert table.labels == sorted(labels)
    apart = any(
        "Classes that share a name are kept apart by their numbers" in n for n in table.notes
    )
    assert apart == (len({str(name) for name in labels if "(" in name}) > 0)


@pytest.mark.parametrize(
    "lists",
    [
        {"samples": [1, 2]},
        {"samples": [("/x/0.jpg",), None]},
        {"samples": [("relative.jpg", 0), ("relative.jpg", 1)]},
        {"samples": [("/x/0.jpg", 0)]},
        {"_images": ["/x/0.jpg", "/x/1.jpg"], "_labels": [0]},
        {"_images": ["/x/0.jpg", None], "_labels": [0, 1]},
    ],
)
def test_odd_lists_of_files_are_not_trusted(listed, zoo, lists):
    zoo(made((picture(), 0), (picture(), 1), **lists))
    assert listed("torchvision:Made").frame["path"].tolist() == [
        "train/a/000000.png",
        "train/b/000001.png",
    ]


def test_a_file_with_an_odd_target_is_left_out(tmp_path, listed, zoo):
    files = [(str(tmp_path / "0.jpg"), 0), (str(tmp_path / "1.jpg"), {})]
    zoo(made(None, None, samples=files))
    table = listed("torchvision:Made")
    assert rows(table, "path", "label") == [("0.jpg", "a")]
    assert "its target is a dict" in " ".join(table.notes)


def test_a_test_split_whose_first_image_is_broken_stays(listed, zoo):
    def choose(self, root, train=True):
        self.items = [OSError(FOREIGN), (picture(), 0)]

    zoo(made(__init__=choose))
    table = listed("torchvision:Made")
    assert table.frame["split"].tolist() == ["test", "train"]


def test_a_root_of_nobody(tmp_path):
    with pytest.raises(DataError, match="CIFAR10 is not in .*~nouser/x"):
        read_torchvision(Asked("CIFAR10", tmp_path, {"root": "~nouser/x"}))


def test_a_download_into_a_file(tmp_path, listed):
    (tmp_path / "file").touch()
    with pytest.raises(
        WorkspaceError, match="file cannot be made .file exists.; give another root"
    ):
        listed(f"torchvision:CIFAR10?root={tmp_path}/file&download=1")


def test_exported_splits_stay_splits(tmp_path):
    items = [Item("fold1", "a/b", "0.png", b"x"), Item("Fold2", "a/b", "0.png", b"x")]
    export_once(tmp_path / "e", items, total=2, report=lambda _: None, notes=["one\ntwo"])
    listing = read_export(tmp_path / "e", report=lambda _: None)
    assert sorted(listing.frame["split"]) == ["Fold2", "fold1"]
    assert set(listing.frame["label"]) == {"a/b"}
    assert listing.notes == ("one two",)


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


def test_demo_manifest_with_planted_truth(tmp_path, listed, monkeypatch):
    def prepare(name, *, workspace, report, **options):
        folder = workspace / "data" / name
        touch(folder, "1.png")
        (folder / "m.csv").write_text(f"path,label,strength\n1.png,a,{options['strength']}\n")
        (folder / "planted.json").write_text(json.dumps({"a": {"cue": "strength"}}))
        return folder / "m.csv"

    monkeypatch.setattr("core.demos.catalogue.prepare", prepare)
    table = listed("demo:stripes?strength=3")
    assert table.source == "demo:stripes?strength=3"
    assert table.planted == {"a": {"cue": "strength"}}
    assert table.frame["strength"].tolist() == [3]
    assert table.root == tmp_path / "workspace/data/stripes"
