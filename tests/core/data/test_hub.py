"""Data of the hub, with a small module in the place of the real one."""

import sys
import types

import pyarrow
import pytest

from core.errors import DataError
from tests.core.data.data_fixture import rows, save
from tests.core.data.foreign_errors import BROKEN, FOREIGN


class Pictures:
    """Like the feature ``Image`` of the package datasets."""

    def __init__(self, decode=True):
        self.decode = decode


Pictures.__name__ = "Image"


class ClassLabel:
    def int2str(self, index):
        if not 0 <= index < 2:
            raise ValueError(f"Invalid integer class label {FOREIGN}")
        return ["cat", "dog"][index]


class Part(list):
    """Rows; an exception among them is raised."""

    features = {"image": Pictures(), "label": ClassLabel(), "text": object()}

    def cast_column(self, name, feature):
        assert not feature.decode
        return self

    def __getitem__(self, index):
        row = super().__getitem__(index)
        if isinstance(row, Exception):
            raise row
        return row


def hub_module(tmp_path):
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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Install a hub that loads what it is given, or raises it."""
    module, jpeg = hub_module(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", module)

    def install(loaded):
        def load(name):
            if isinstance(loaded, Exception):
                raise loaded
            return loaded

        module.load_dataset = load
        return {"bytes": jpeg, "path": None}

    return install


def row(image, label=0, text="x"):
    return {"image": image, "label": label, "text": text}


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
    assert "1 image of the split train without a label, left out." in table.notes
    assert listed("hf:me/pets?label=text").labels == ["x", "y"]
    with pytest.raises(DataError, match="which column holds the label.* image, label, text; use"):
        listed("hf:me/pets?label=no")
    with pytest.raises(DataError, match="does not know the option split"):
        listed("hf:me/pets?split=train")


@pytest.mark.parametrize("error", BROKEN, ids=lambda e: type(e).__name__)
def test_a_hub_that_fails_does_so_in_our_words(listed, hub, error):
    hub(error)
    with pytest.raises(
        DataError, match="hf:me/pets (cannot be loaded|needs a package).*; "
    ) as raised:
        listed("hf:me/pets")
    assert FOREIGN not in str(raised.value)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (row(None), "its cell holds no image"),
        (row({"bytes": None, "path": None}), "its cell holds neither an image nor the path of one"),
        (
            row({"bytes": None, "path": "a\0b"}),
            "its cell holds neither an image nor the path of one",
        ),
        (
            row({"bytes": None, "path": "/etc/hostname"}),
            "it is a file outside of the library's own folder",
        ),
        (row({"bytes": b"", "path": None}, label=7), "no class has its number 7"),
        (row({"bytes": b"", "path": None}, label=[1]), "its label is a list, not one class"),
        (pyarrow.ArrowInvalid(FOREIGN), "a file is cut off or damaged"),
        ({}, "an entry that should be there is missing"),
    ],
)
def test_an_odd_row_of_the_hub_is_left_out(listed, hub, odd, reason):
    rows_ = Part([odd])
    good = row(hub({"train": rows_}))
    rows_ += [good]
    for _ in range(2):  # the second from the export
        table = listed("hf:me/pets")
        assert table.frame["path"].tolist() == ["train/cat/000001.jpeg"]
        assert f"could not be read, left out; the first: {reason}" in " ".join(table.notes)
        assert FOREIGN not in " ".join(table.notes)
    hub({"train": Part([odd])})
    with pytest.raises(DataError, match=f"hf:me/odd holds no image that can be read.*{reason}"):
        listed("hf:me/odd")


def test_a_file_that_the_hub_lost_is_left_out(tmp_path, listed, hub):
    lost = row({"bytes": None, "path": str(tmp_path / "lost.jpg")})
    rows_ = Part([lost])
    rows_ += [row(hub({"train": rows_}))]
    assert "the first: no such file or directory." in " ".join(listed("hf:me/pets").notes)


@pytest.mark.parametrize("label", [None, -1, float("nan"), ""])
def test_no_label_is_no_class(listed, hub, label):
    rows_ = Part()
    image = hub({"train": rows_})
    rows_ += [row(image, text="x"), row(image, text=label)]
    table = listed("hf:me/pets?label=text")
    assert table.labels == ["x"]
    assert "1 image of the split train without a label, left out." in table.notes


def test_a_hub_without_labels(tmp_path, listed, hub):
    rows_ = Part()
    rows_ += [row(hub({"train": rows_}), label=-1)]
    with pytest.raises(DataError, match="no image that can be read .1 tried.: none has a label"):
        listed("hf:me/pets")
    assert not list((tmp_path / "workspace/data").glob("*"))


def test_one_set_without_splits_is_what_is_trained_on(listed, hub):
    rows_ = Part()
    rows_ += [row(hub(rows_))]
    assert listed("hf:me/pets").frame["split"].tolist() == ["train"]


def test_splits_that_are_not_named_like_splits(listed, hub):
    one, two = Part(), Part()
    image = hub({"Fold1": one, "fold2": two})
    one += [row(image)]
    two += [row(image, label=1)]
    assert rows(listed("hf:me/pets"), "label", "split") == [("cat", "fold1"), ("dog", "fold2")]


def test_splits_that_differ_in_case(listed, hub):
    rows_ = Part()
    hub({"Train": rows_, "train": rows_, "test": rows_})
    with pytest.raises(DataError, match=r"differ in letter case alone \(Train, train\); export"):
        listed("hf:me/pets")


def test_a_column_without_images(listed, hub):
    hub({"train": Part()})
    with pytest.raises(DataError, match="column text holds no images; those that do: image; use"):
        listed("hf:me/pets?image=text")


def test_hub_without_the_library(listed, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="needs the package datasets; .*pip install datasets"):
        listed("hf:me/pets")
