"""CSV files that a spreadsheet opens: nothing in them runs, and everything comes back."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.__main__ import main
from core.audits.run import run_audit
from core.report.appendix import _both
from core.report.appendix import archive as zipped
from core.storage.spreadsheet import csv_bytes, guarded, unguarded, write_csv
from core.storage.workspace import Workspace
from core.tags.entries import NewTag
from core.tags.exchange import export_tags, read_tags
from core.tags.log import TagStore
from tests.conftest import tiny_request

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = [
    *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "=", "-", "-e5"),
    *('=HYPERLINK("http://x")', "=cmd|' /C calc'!A0", "'=1", "''=1", "'-5", "-5-5", "+٣"),
]
HARMLESS = ["a=b", " =1", "'tis", "'", "''", "", "-5", "+0.5", "-.5e-3", "1e9", "1-2", "ü"]


@pytest.mark.parametrize("text", HOSTILE)
def test_formulas_get_an_apostrophe_that_comes_off_again(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text == unguarded(text)


def test_numbers_stay_numbers() -> None:
    table = pd.DataFrame({"gap": [-0.5, np.nan], "n": [-1, 2], "said": ["-0.5", None]})
    table["sure"] = pd.array([-1, None], dtype="Int64")
    back = pd.read_csv(io.BytesIO(csv_bytes(table)))
    assert back["gap"].iloc[0] == back["said"].iloc[0] == -0.5
    assert back["n"].tolist() == [-1, 2]
    assert csv_bytes(table).decode().splitlines()[1] == "-0.5,-1,-0.5,-1"


@pytest.mark.parametrize("dtype", [object, "str", "category", "string"])
def test_texts_are_guarded_however_pandas_holds_them(dtype: object) -> None:
    table = pd.DataFrame({"=label": pd.Series(["=1", None, "a"], dtype=dtype)})
    assert csv_bytes(table).decode().splitlines() == ["'=label", "'=1", '""', "a"]
    assert table.columns.tolist() == ["=label"]
    assert table["=label"].iloc[0] == "=1"


def test_tables_with_two_columns_of_a_name_and_with_none(tmp_path: Path) -> None:
    table = pd.DataFrame([["=1", "=2"]], columns=["a", "a"])
    assert csv_bytes(table).decode().splitlines() == ["a,a", "'=1,'=2"]
    write_csv(pd.DataFrame({"a": []}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "a\n"


def test_a_carriage_return_ends_no_row() -> None:
    content = csv_bytes(pd.DataFrame({"said": ["a\r=1+1"], "n": [-1]}))
    assert content == b'"said","n"\n"a\r=1+1",-1\n'
    assert pd.read_csv(io.BytesIO(content))["said"].tolist() == ["a\r=1+1"]


def test_names_of_files_that_are_no_text_are_written() -> None:
    assert csv_bytes(pd.DataFrame({"path": ["caf\udce9"]}, dtype=object)) == b"path\ncaf\\udce9\n"


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_an_export_of_hostile_tags_comes_back_as_it_was(
    workspace: Workspace, tmp_path: Path, suffix: str
) -> None:
    names = [text for text in [*HOSTILE, *HARMLESS] if text]
    rows = [
        NewTag(text, text, "pca", number, "core", reason=text, at="2024")
        for number, text in enumerate(names)
    ]
    store = TagStore.open(workspace)
    store.add_many("a1", rows)
    before = store.current("a1")
    assert [entry.reason for entry in before] == names
    out = tmp_path / f"tags{suffix}"
    export_tags(before, out, annotators=True)
    if suffix == ".csv":
        with out.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert [cell for cell in cells if guarded(unguarded(cell)) != cell] == []
        assert "=1+1" not in cells
    found = read_tags(out, outputs=names, n_features=9, annotator="x").rows
    assert store.add_many("a1", found) == 0
    store.add_many("a2", found)
    wanted = {(e.annotator, e.label, e.component, e.tag, e.reason, e.at) for e in before}
    again = store.current("a2")
    assert {(e.annotator, e.label, e.component, e.tag, e.reason, e.at) for e in again} == wanted


def test_the_images_of_an_audit_are_guarded(
    folder: Path,
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for split in ("train", "test"):
        (folder / split / "red").rename(folder / split / "=red")
    run_audit(tiny_request(folder), workspace)
    out = tmp_path / "images.csv"
    where = ["--workspace", str(workspace.root), "--out", str(out)]
    assert main(["export", "tiny", "images", *where]) == 0, capsys.readouterr().err
    assert set(pd.read_csv(out)["label"]) == {"blue", "'=red"}


def test_the_appendix_of_a_report_is_guarded() -> None:
    content = zipped(_both("tags", pd.DataFrame({"reason": ["=1"]})))
    with zipfile.ZipFile(io.BytesIO(content)) as held:
        assert held.read("tags.csv") == b"reason\n'=1\n"
        assert pd.read_parquet(io.BytesIO(held.read("tags.parquet")))["reason"].iloc[0] == "=1"


def test_no_module_writes_csv_past_it() -> None:
    """The demos write manifests, of names of their own; a fingerprint is nobody's file."""
    known = {"core/storage/spreadsheet.py", "core/report/document.py"}
    found = set()
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "pages").glob("*.py")]:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        if (".to_csv(" in text or "csv.writer" in text) and "/demos/" not in name:
            found.add(name)
    assert found == known
