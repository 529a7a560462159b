"""Manifests: columns, moves, errors."""

import numpy as np
import pandas as pd
import pytest

from core.data.open import open_data
from core.errors import DataError
from tests.core.data.data_fixture import rows, touch


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
        "image_id",
        "path",
        "label",
        "split",
        "object_mask",
        "x_min",
        "y_min",
        "x_max",
        "y_max",
        "place",
        "n",
    ]
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
        ("path|label\nx/1.jpg|a\n", r"no column path and label; its columns are: path\|label"),
        ("path,kind\nx/1.jpg,a\n", "no column label; its columns are: path, kind. Rename"),
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
        ("path,label\nx/1.jpg,a\nx/2.jpg,a,b\n", "rows 2 have more cells than the header"),
        ("", "cannot be read as a table: No columns to parse"),
    ],
)
def test_manifest_errors_name_rows_and_remedy(manifest, text, message):
    with pytest.raises(DataError, match=message):
        manifest(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "img_filename,y,place,split\nx/1.jpg,0,1,0\nx/2.jpg,1,1,1\nx/3.jpg,1,0,2\n",
            [("x/1.jpg", "0", "train"), ("x/2.jpg", "1", "val"), ("x/3.jpg", "1", "test")],
        ),
        (
            "path;label;n\nx/1.jpg;a;1,5\n;;\nx/2.jpg;b;2,5\n;;\n",
            [("x/1.jpg", "a", "train"), ("x/2.jpg", "b", "train")],
        ),
        ("path\tlabel\nx/1.jpg\ta, b\n", [("x/1.jpg", "a, b", "train")]),
        ("Filename,Class,Phase\nx\\1.jpg,007,Training\n", [("x/1.jpg", "007", "train")]),
        (
            "path,label,split\nx/1.jpg,a,tr\nx/2.jpg,a,dev\nx/3.jpg,a,holdout\n",
            [
                ("x/1.jpg", "a", "train"),
                ("x/2.jpg", "a", "val"),
                ("x/3.jpg", "a", "holdout"),
            ],
        ),
    ],
    ids=["Waterbirds", "Excel", "tabs", "Windows", "splits"],
)
def test_tables_as_people_write_them(manifest, text, expected):
    table = manifest(text)
    assert rows(table, "path", "label", "split") == expected
    assert "label" not in table.attributes


def test_what_was_understood_of_a_table_is_said(manifest):
    notes = "\n".join(
        manifest(
            "img_filename;y;split;n\nx\\1.jpg;0;0;1,5\nx/2.jpg;0;1;2\n;;;\nx/no.jpg;0;1;2"
        ).notes
    )
    assert "read so: img_filename as path, y as label." in notes
    assert "Splits of the manifest are read so: 0 as train, 1 as val." in notes
    assert "1 empty row is left out" in notes
    assert "Backslashes of 1 path are" in notes
    assert "Of 3 files looked at, 1 is not there: x/no.jpg." in notes


def test_numbers_of_spreadsheets_are_numbers(manifest):
    table = manifest("path;label;n\nx/1.jpg;a;1,5\nx/2.jpg;b;2,25\n")
    assert table.frame["n"].tolist() == [1.5, 2.25]


def test_two_labels_of_one_image_are_said(manifest):
    notes = manifest("path,label\nx/1.jpg,a\nx/1.jpg,b\nx/2.jpg,b\n").notes
    assert any("1 image is listed with two labels, of which the first" in n for n in notes)


def test_text_as_excel_calls_unicode(tmp_path, listed):
    touch(tmp_path, "1.jpg")
    (tmp_path / "m.csv").write_bytes("path\tlabel\n1.jpg\tKüche\n".encode("utf-16"))
    assert listed(tmp_path / "m.csv").labels == ["Küche"]


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("xmin,ymin,xmax,ymax", "2,1,7,4"),
        ("x,y,w,h", "2,1,5,3"),
        ("cx,cy,w,h", "4.5,2.5,5,3"),
        ("Left,Top,Right,Bottom", "2,1,7,4"),
    ],
)
def test_boxes_of_other_conventions(manifest, columns, cells):
    table = manifest(f"path,label,{columns}\nx/1.jpg,a,{cells}\nx/2.jpg,a,,,,\n")
    box = table.frame[["x_min", "y_min", "x_max", "y_max"]].to_numpy()
    np.testing.assert_array_equal(box, [[2, 1, 7, 4], [np.nan] * 4])
    assert table.attributes == ()
    assert any("Boxes are read from the columns" in note for note in table.notes)


def test_manifest_in_another_encoding(tmp_path, listed):
    (tmp_path / "m.csv").write_bytes("path,label\nx.jpg,Küche\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"m\.csv is not UTF-8 text .* save it as UTF-8"):
        listed(tmp_path / "m.csv")


def test_parquet_that_is_none(tmp_path, listed):
    (tmp_path / "m.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"m\.parquet cannot be read as a table"):
        listed(tmp_path / "m.parquet")


# torchvision, with small classes in the place of real ones


def test_the_order_of_the_classes_is_kept(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    own = pd.Categorical(["owl", "cat", "owl"], ["owl", "emu", "cat"])
    frame = pd.DataFrame({"path": ["1.jpg", "2.jpg", "3.jpg"], "label": own})
    frame.to_parquet(tmp_path / "m.parquet")
    found = open_data(str(tmp_path / "m.parquet"), workspace=tmp_path / "w")
    assert found.order == ("owl", "emu", "cat")
    assert rows(found, "label") == [("cat",), ("owl",), ("owl",)]
    frame.astype(str).to_csv(tmp_path / "m.csv", index=False)
    assert open_data(str(tmp_path / "m.csv"), workspace=tmp_path / "w").order == ()
    (tmp_path / "classes.txt").write_text("owl\ncat\n")
    assert open_data(str(tmp_path / "m.csv"), workspace=tmp_path / "w").order == ("owl", "cat")


def test_bytes_of_parquet_are_text(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    frame = pd.DataFrame({"path": ["1.jpg", "2.jpg"], "label": ["Käse".encode(), b"cat"]})
    frame.to_parquet(tmp_path / "m.parquet")
    found = open_data(str(tmp_path / "m.parquet"), workspace=tmp_path / "w")
    assert found.labels == ["Käse", "cat"]
