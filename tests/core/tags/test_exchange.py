"""Files of tags that are odd: names that look like nothing, numbers that are none, empty ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import CARRIED, PCA
from core.errors import InputError, WorkspaceError
from core.storage.workspace import Workspace
from core.tags.exchange import OURS, WORKERS, Imported, export_tags, read_tags
from core.tags.log import TagStore
from core.tags.votes import ADJUDICATION, GOLD
from core.types import Tag

OUTPUTS = ["cat", "dog"]
SIZES = {"cat": {PCA: 4, CARRIED: 1}}
"""Class "dog" was not audited."""


@pytest.fixture
def store(workspace: Workspace) -> TagStore:
    return TagStore.open(workspace)


def read(path: Path, **more: Any) -> Imported:
    given = {"outputs": OUTPUTS, "n_features": 9, "annotator": "somebody", "sizes": SIZES}
    return read_tags(path, **{**given, **more})


def ours(path: Path, **change: Any) -> Path:
    row = dict.fromkeys(OURS) | {"label": "cat", "kind": "pca", "component": 1, "tag": "core"}
    frame = pd.DataFrame([row | change], columns=OURS)
    frame.to_csv(path, index=False)
    return path


def workers(path: Path, rows: list[dict[str, Any]]) -> Path:
    row = dict.fromkeys(WORKERS) | {"Input.class_index": 0, "Input.feature_index": 3}
    row |= {"Answer.main": "main_object", "WorkerId": "w"}
    pd.DataFrame([row | change for change in rows], columns=WORKERS).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("text", ["NA", "null", "None", "nan", "a,b\n", '"', "ü"])
def test_texts_come_back_as_they_were(
    store: TagStore, tmp_path: Path, suffix: str, text: str
) -> None:
    store.add(text, "a1", CandidateKey("cat", PCA, 1), Tag.CORE, reason=text)
    out = tmp_path / f"tags{suffix}"
    export_tags(store.current("a1"), out, annotators=True)
    (row,) = read(out).rows
    assert (row.annotator, row.reason) == (text.strip(), text)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_no_tags_are_a_table_too(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"tags{suffix}"
    assert export_tags([], out, annotators=False) == 0
    assert read(out).rows == []


def test_special_annotators_are_not_turned_into_people(store: TagStore, tmp_path: Path) -> None:
    for who in ("Zoe", GOLD, ADJUDICATION, "Ann"):
        store.add(who, "a1", CandidateKey("cat", PCA, 1), Tag.CORE)
    export_tags(store.current("a1"), tmp_path / "t.csv", annotators=False)
    said = {row.annotator for row in read(tmp_path / "t.csv").rows}
    assert said == {GOLD, ADJUDICATION, "person 1", "person 2"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"component": 4}, r"entry 1: pca 4 of class 'cat' does not exist; the class has 4"),
        ({"component": 1, "kind": "carried"}, r"carried 1 of class 'cat' does not exist"),
        ({"label": "dog"}, r"pca 1 of class 'dog' does not exist"),
        ({"component": 1.7}, r"row 2: component 1.7 does not exist"),
        ({"component": "inf"}, r"component inf does not exist"),
        ({"component": "1e30"}, r"component 1e\+30 does not exist"),
        ({"component": 9, "kind": "neuron"}, r"component 9 does not exist \(features: 0 to 8"),
        ({"confidence": 2.5}, r"confidence 2.5 is not 1, 2, 3, 4 or 5"),
        ({"confidence": 9}, r"confidence 9 is not"),
    ],
)
def test_what_does_not_exist_is_refused(tmp_path: Path, change: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read(ours(tmp_path / "t.csv", **change))


def test_any_neuron_of_any_output_may_be_tagged(tmp_path: Path) -> None:
    (row,) = read(ours(tmp_path / "T.CSV", label="dog", kind="neuron", component=8)).rows
    assert (row.label, row.component, row.annotator) == ("dog", 8, "somebody")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"cat": [True]}, r"True of class 'cat' is no component"),
        ({"cat": [10**30]}, r"is no component"),
        ({"²": [1]}, r"'²' is no class"),
        ({"cat": [4]}, r"pca 4 of class 'cat' does not exist"),
    ],
)
def test_class_lists_with_what_does_not_exist(tmp_path: Path, content: Any, match: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=match):
        read(tmp_path / "c.json")


def test_a_lone_surrogate_is_no_text(store: TagStore, tmp_path: Path) -> None:
    row = {"label": "cat", "kind": "pca", "component": 1, "tag": "core", "reason": "\ud800"}
    (tmp_path / "t.json").write_text(json.dumps({"tags": [row]}), encoding="utf-8")
    assert store.add_many("a1", read(tmp_path / "t.json").rows) == 1
    assert store.current("a1")[0].reason == "?"


def test_a_folder_is_no_file_of_tags(tmp_path: Path) -> None:
    (tmp_path / "tags.parquet").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path / "tags.parquet")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("t.json", b"{", r"no JSON file in UTF-8 .*damaged .first at line 1, column 2.; save"),
        ("t.json", b'{"tags": []' + b"\xff}", "is no JSON file in UTF-8"),
        ("t.json", b'{"cat": [1], "cat": [2]}', "no JSON file in UTF-8 that says everything once"),
        ("t.json", b"[" * 99999, "is no JSON file"),
        ("t.json", b"[1]", "expected"),
        ("t.csv", b"", "is no CSV file"),
        ("t.csv", b"a,b\n1,2,3\n1,2,3,4\n", "is no CSV file"),
        ("t.csv", b"\xff\xfe,b\n", "is no CSV file in UTF-8"),
        ("t.csv", b"a\x1b[2J,b\n1,2\n", r"columns a\\x1b\[2J, b are no known table"),
        ("t.parquet", b"PAR1 no PAR1", "is no Parquet file"),
        ("t.parquet", b"", "is no Parquet file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=match):
        read(tmp_path / name)


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read .file name too long."):
        read(Path(f"/tmp/{'x' * 300}"))
    with pytest.raises(WorkspaceError, match="cannot make the file /proc/t.csv; choose another"):
        export_tags([], Path("/proc/t.csv"), annotators=False)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t.json cannot be read \(no such file or directory\)"):
        read(tmp_path / "t.json")


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("kind", ["pca"], r"kind \"\['pca'\]\" is not pca"),
        ("tag", {"a": 1}, r"tag \"\{'a': 1\}\" is not core"),
        ("component", True, "component 'True' does not exist"),
        ("component", "x" * 999, "component 'x{79}… does not exist"),
        ("at", "2024" * 9, "at '2024.*' is no moment: it is too long"),
    ],
)
def test_cells_that_are_neither_number_nor_text(
    tmp_path: Path, suffix: str, column: str, value: Any, match: str
) -> None:
    row = {"label": "cat", "kind": "pca", "component": 1, "tag": "core", column: value}
    path = tmp_path / f"t{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps({"tags": [row]}))
    else:
        pd.DataFrame([row]).to_parquet(path)
    with pytest.raises(InputError, match=match):
        read(path)


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,kind,component,tag,tag\ncat,pca,1,core,spurious\n")
    with pytest.raises(InputError, match="column tag stands twice; leave one"):
        read(tmp_path / "t.csv")
    rows = pa.Table.from_arrays([pa.array(["cat"])] * 2, names=["tag", "tag"])
    pq.write_table(rows, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="that says everything once"):
        read(tmp_path / "t.parquet")


def test_tables_with_an_index_of_their_own_are_read_row_by_row(tmp_path: Path) -> None:
    row = dict.fromkeys(WORKERS) | {"Input.class_index": 0, "Input.feature_index": 3}
    row |= {"Answer.main": "main_object", "WorkerId": "w", "Input.wordnet_id": "n01440764"}
    pd.DataFrame([row, row], index=[7, 3]).to_parquet(tmp_path / "w.parquet")
    found = read(tmp_path / "w.parquet", outputs=["n00000001", "n00000002"])
    assert found.warnings[0].startswith("2 rows name another WordNet id")


def test_a_mark_of_byte_order_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"cat": [1]}', encoding="utf-8-sig")
    path = ours(tmp_path / "t.csv")
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(read(tmp_path / "t.json").rows) == len(read(path).rows) == 1


@pytest.mark.parametrize("column", ["Input.class_index", "Input.feature_index"])
def test_worker_numbers_are_whole(tmp_path: Path, column: str) -> None:
    with pytest.raises(InputError, match=rf"{column} 0.5 is no"):
        read(workers(tmp_path / "w.csv", [{column: 0.5}]))


def test_a_confidence_that_is_none_is_said(tmp_path: Path) -> None:
    found = read(workers(tmp_path / "w.csv", [{"Answer.confidence": c} for c in (5, 9, None)]))
    assert [row.confidence for row in found.rows] == [5, None, None]
    (warning,) = found.warnings
    assert warning.startswith("1 row has a confidence that is not 1, 2, 3, 4 or 5")


def test_the_same_file_twice_changes_nothing(store: TagStore, tmp_path: Path) -> None:
    rows = [{"WorkerId": None}, {"WorkerId": None, "Answer.main": "background"}]
    found = read(workers(tmp_path / "w.csv", rows))
    assert {row.annotator for row in found.rows} == {"somebody"}
    assert store.add_many("a1", found.rows) == 1
    assert store.add_many("a1", found.rows) == 0
    (standing,) = store.current("a1")
    assert standing.tag is Tag.SPURIOUS  # of two answers of one person the last counts


def test_a_table_without_workers_names_the_one_who_imports(tmp_path: Path) -> None:
    path = workers(tmp_path / "w.csv", [{}])
    pd.read_csv(path).drop(columns="WorkerId").to_csv(path, index=False)
    (row,) = read(path).rows
    assert row.annotator == "somebody"


def test_the_log_can_be_read(
    tiny_audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "workspace" / "audits" / tiny_audit.id
    shutil.copytree(tiny_audit.folder, folder)
    workspace = Workspace(tmp_path / "workspace")
    store, label = TagStore.open(workspace), tiny_audit.classes[0].label
    store.add(
        "Ann", tiny_audit.id, CandidateKey(label, PCA, 0), Tag.CORE, confidence=4, reason="fur"
    )
    store.add("Ann", tiny_audit.id, CandidateKey(label, PCA, 0), Tag.SPURIOUS)
    store.undo("Ann", tiny_audit.id)
    command = ["tags", "list", tiny_audit.name, "--history", "--workspace", str(workspace.root)]
    assert main(command) == 0
    lines = capsys.readouterr().out.strip().splitlines()[-3:]
    assert [line.rpartition("component 1: ")[2] for line in lines] == [
        "core, fur, sure 4 of 5",
        "spurious",
        "core, fur, sure 4 of 5, undoes 2",
    ]
    assert main([*command, "--json"]) == 0
    history = json.loads(capsys.readouterr().out)["history"]
    assert [entry["previous"] for entry in history] == [None, 1, 2]
    assert main(["tags", "list", tiny_audit.name, "--workspace", str(workspace.root)]) == 0
    assert "fur" not in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_tables_as_spreadsheets_save_them(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = [["label", "kind", "component", "annotator", "tag", "subtype", "confidence", "reason"]]
    rows += [["wolf", "neuron", "3", "ann", "spurious", "background", "4", "snow"]]
    rows += [[""] * 8] * 3
    text = "\r\n".join(separator.join(row) for row in rows)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found = read_tags(tmp_path / "t.csv", outputs=["wolf"], n_features=9, annotator="me")
    (row,) = found.rows
    assert (row.label, row.component, row.annotator, row.confidence) == ("wolf", 3, "ann", 4)
    marks = {";": "Semicolons", "\t": "Tabs"}.get(separator)
    said = [f"{marks} are read as what stands between cells."] if marks else []
    assert list(found.notes) == [*said, "3 empty rows are left out."]
