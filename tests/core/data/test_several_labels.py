"""Tables with several labels an image: one class against its rest, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.open import open_data
from core.data.several_labels import mark_in
from core.errors import DataError
from core.types import ImageTable
from tests.core.data.data_fixture import rows, touch

TABLES = {
    "a bar": "Image Index,Finding Labels\n1.jpg,ill|big\n2.jpg,No Finding\n3.jpg,ill\n4.jpg,big\n",
    "semicolons": "path,label\n1.jpg,ill;big\n2.jpg,No Finding\n3.jpg,ill\n4.jpg,big\n",
    "commas": 'path,label\n1.jpg,"ill, big"\n2.jpg,No Finding\n3.jpg,ill\n4.jpg,big\n',
    "rows": "path,label\n1.jpg,ill\n2.jpg,No Finding\n1.jpg,big\n3.jpg,ill\n4.jpg,big\n",
    "columns": "path,No Finding,ill,big\n1.jpg,0,1,1\n2.jpg,1,0,0\n3.jpg,0,1,\n4.jpg,0,0,1\n",
    "-1 and 1": "path,No Finding,ill,big\n1.jpg,-1,1,1\n2.jpg,1,-1,-1\n"
    "3.jpg,-1,1,-1\n4.jpg,-1,-1,1\n",
}


def opened(folder: Path, text: str, target: str = "") -> ImageTable:
    touch(folder, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (folder / "m.csv").write_text(text)
    file = str(folder / "m.csv")
    asked = f"manifest:{file}?class={target}" if target else file
    return open_data(asked, workspace=folder / "w")


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_one_class_against_its_rest(tmp_path: Path, text: str) -> None:
    table = opened(tmp_path, text, "ill")
    assert sorted(rows(table, "path", "label")) == [
        ("1.jpg", "ill"),
        ("2.jpg", "not ill"),
        ("3.jpg", "ill"),
        ("4.jpg", "not ill"),
    ]
    assert table.target == "ill"
    assert set(table.order) == {"No Finding", "ill", "big"}
    frame = table.frame.sort_values("path")
    assert [int(value == 1) for value in frame["big"]] == [1, 0, 0, 1]  # an attribute to slice by
    assert "One class against its rest: 2 of 4 images have 'ill'." in table.notes


@pytest.mark.parametrize("name", [name for name in TABLES if name != "rows"])
def test_without_a_class_it_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"one class against its rest, manifest:.*m\.csv\?class="):
        opened(tmp_path, TABLES[name])


def test_rows_are_told_and_lists_are_labels(tmp_path: Path) -> None:
    notes = opened(tmp_path, TABLES["rows"]).notes
    assert any("m.csv?class=NAME" in note for note in notes)
    lists = [["ill", "big"], ["No Finding"], ["ill"], ["big"]]
    frame = pd.DataFrame({"path": [f"{i}.jpg" for i in (1, 2, 3, 4)], "label": lists})
    frame.to_parquet(tmp_path / "m.parquet")
    with pytest.raises(DataError, match="cells hold several labels"):
        open_data(str(tmp_path / "m.parquet"), workspace=tmp_path / "w")
    asked = f"manifest:{tmp_path / 'm.parquet'}?class=big"
    found = open_data(asked, workspace=tmp_path / "w")
    assert sorted(rows(found, "label")) == [("big",), ("big",), ("not big",), ("not big",)]


def test_what_nobody_could_tell_is_left_out(tmp_path: Path) -> None:
    text = "path,ill,big\n1.jpg,-1,1\n2.jpg,0,1\n3.jpg,1,0\n4.jpg,,0\n"
    table = opened(tmp_path, text, "ill")
    assert sorted(rows(table, "path", "label")) == [
        ("2.jpg", "not ill"),
        ("3.jpg", "ill"),
        ("4.jpg", "not ill"),
    ]
    assert {
        "1 empty cell of 'ill' read as 0.",
        "1 image is left out: -1 is read as uncertain.",
    } <= set(table.notes)


def test_one_1_a_row_is_a_label(tmp_path: Path) -> None:
    text = "path,owl,cat,age\n1.jpg,1.0,0.0,3\n2.jpg,0.0,1.0,1\n3.jpg,1.0,0.0,0\n4.jpg,1,0,1\n"
    table = opened(tmp_path, text)
    assert sorted(rows(table, "path", "label")) == [
        ("1.jpg", "owl"),
        ("2.jpg", "cat"),
        ("3.jpg", "owl"),
        ("4.jpg", "owl"),
    ]
    assert table.order == ("owl", "cat")
    assert table.attributes == ("age",)
    assert "Columns of 0 and 1 are the classes: owl, cat." in table.notes
    with pytest.raises(DataError, match="no column is called label; columns of 0 and 1 may say"):
        opened(tmp_path, text.replace("age", "breed").replace(",3\n", ",pug\n"))
    with pytest.raises(DataError, match="has no column label"):
        opened(tmp_path, text.replace("owl", "train").replace("cat", "test_set"))


def test_names_with_marks_are_names() -> None:
    assert mark_in(["tench, Tinca tinca", "cat", "coach, bus"]) == ""
    assert mark_in(["cat, black", "cat, white", "dog, black", "dog, white"]) == ""
    assert mark_in(["a|b", "c"]) == ""
    assert mark_in(["a|b", "a", "b", "tench, Tinca"]) == "|"


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class 'gone'; its classes are No Finding, ill, big"):
        opened(tmp_path, TABLES["columns"], "gone")
    with pytest.raises(DataError, match=r"no class 'gone'; its classes are No Finding, big, ill"):
        opened(tmp_path, TABLES["a bar"], "gone")
    with pytest.raises(DataError, match="every image is 'ill'"):
        opened(tmp_path, "path,label\n1.jpg,ill\n2.jpg,ill|big\n3.jpg,ill|big\n", "ill")
    with pytest.raises(DataError, match="takes the option class=NAME"):
        open_data(f"manifest:{tmp_path / 'm.csv'}?of=ill", workspace=tmp_path / "w")


def test_a_name_may_hold_what_an_option_may_not(tmp_path: Path) -> None:
    text = "path,a&b=c,d\n1.jpg,1,0\n2.jpg,0,1\n3.jpg,0,0\n4.jpg,1,1\n"
    table = opened(tmp_path, text, "a%26b%3Dc")
    assert table.target == "a&b=c"
    assert np.sum(table.frame["label"] == "a&b=c") == 2
