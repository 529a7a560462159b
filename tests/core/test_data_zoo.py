"""Data of torchvision, the hub and the demos."""

import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.check import check_data
from core.data.export import Item, export_once
from core.errors import DataError, WorkspaceError
from tests.core.data_fixture import rows, save, touch


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
    module.config = types.SimpleNamespace(HF_CACHE_HOME=str(tmp_path))
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
