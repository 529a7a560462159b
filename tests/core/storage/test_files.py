"""The workspace: atomic writes, names, fingerprints, locks, damaged files."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import WorkspaceError
from core.storage import files as store
from core.storage.files import read_frame, read_frames, read_json, write_frame, write_json
from core.storage.table_columns import in_one_piece, read_with_lists
from core.storage.workspace import Workspace, check_name, differences, fingerprint
from tests.core.run_fixture import manifest_facts


def make_audit(workspace: Workspace, name: str, **more: object) -> str:
    audit_id = workspace.new_id(name, {"x": 1})
    manifest = manifest_facts(id=audit_id, name=name, **more)
    write_json(workspace.folder(audit_id) / "manifest.json", manifest)
    return audit_id


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def stopped() -> None:
        with store.replacing(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_never_appears(tmp_path: Path) -> None:
    def stopped() -> None:
        with store.replacing_folder(tmp_path / "f") as folder:
            (folder / "x").write_text("1")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_nan_becomes_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": np.float32(1.5), "z": (1, Path("p"))})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": 1.5, "z": [1, "p"]}


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(WorkspaceError, match=r"the disk of .* is full .* free some space"),
        store.disk_errors(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_is_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match="cannot write to .* choose another"):
        Workspace(tmp_path / "w").require_writable()


def test_a_file_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(WorkspaceError, match="cannot write to"):
        Workspace(tmp_path / "w").require_writable()


def test_find_by_name_and_prefix(workspace: Workspace) -> None:
    first, second = make_audit(workspace, "one"), make_audit(workspace, "two")
    assert workspace.find("one").id == first
    assert workspace.find(second[:6]).name == "two"
    with pytest.raises(WorkspaceError, match="'three' names no audit in .*; audits there: "):
        workspace.find("three")


def test_an_audit_of_another_format_is_refused(workspace: Workspace) -> None:
    make_audit(workspace, "old", format=0)
    with pytest.raises(WorkspaceError, match="written in format 0"):
        workspace.find("old")


def test_rename_and_delete(workspace: Workspace) -> None:
    first = make_audit(workspace, "one")
    make_audit(workspace, "two")
    assert workspace.rename("one", "uno").id == first
    with pytest.raises(WorkspaceError, match="'two' exists already"):
        workspace.rename("uno", "two")
    workspace.delete("uno")
    assert [m.name for m in workspace.manifests()] == ["two"]


def test_an_audit_being_computed_is_not_deleted(workspace: Workspace) -> None:
    folder = workspace.folder(make_audit(workspace, "busy"))
    with (
        store.locked(folder / "lock", "busy"),
        pytest.raises(WorkspaceError, match="is being computed; cancel it first"),
    ):
        workspace.delete("busy")
    assert not store.is_locked(folder / "lock")


def test_a_killed_process_gives_its_lock_back(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from core.storage.files import locked\n"
        "with locked(Path(sys.argv[1]), 'x'):\n print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert store.is_locked(tmp_path / "lock")
    process.kill()
    process.wait()
    assert not store.is_locked(tmp_path / "lock")


@pytest.mark.parametrize("name", ["", " a", "a/b", "../x", ".hidden", "-x", "a\x00b", "x" * 121])
def test_bad_names(name: str) -> None:
    with pytest.raises(WorkspaceError, match="cannot be the name of an audit"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "Ärger (2)", "x" * 120, "a b.c-d_e"])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


def test_names_of_files_that_are_not_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": "bad\udcff"})
    assert read_json(tmp_path / "a.json") == {"path": "bad\udcff"}
    assert fingerprint({"path": "bad\udcff"}) != fingerprint({"path": "bad\udcfe"})


def test_somebody_asking_does_not_refuse_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not store.is_locked(path)
        threading.Timer(0.1, asking.close).start()
        with store.locked(path, "held"):
            assert store.is_locked(path)
        assert not store.is_locked(path)


def test_without_shared_locks_asking_takes_the_lock_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    path = tmp_path / "lock"
    assert not store.is_locked(path)
    with store.locked(path, "held"):
        assert store.is_locked(path)
        with pytest.raises(WorkspaceError, match="held"), store.locked(path, "held"):
            pass
    assert not store.is_locked(path)


def test_fingerprints_and_differences() -> None:
    a, b = {"model": "x", "size": (1, 2)}, {"model": "y", "size": [1, 2]}
    assert fingerprint(a) != fingerprint(b)
    assert differences(a, b) == ["model was x, now y"]
    assert differences(a, {"size": [1, 2], "model": "x"}) == []


def test_a_damaged_manifest_hides_only_its_audit(workspace: Workspace) -> None:
    make_audit(workspace, "good")
    bad = workspace.audits / "bad" / "manifest.json"
    bad.parent.mkdir()
    bad.write_text("{")
    assert [m.name for m in workspace.manifests()] == ["good"]


def test_tables_and_arrays_round_trip(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "ü"]})
    store.write_frame(tmp_path / "t.parquet", frame)
    assert store.read_frame(tmp_path / "t.parquet").equals(frame)
    store.write_array(tmp_path / "a.npy", np.arange(3))
    assert store.read_array(tmp_path / "a.npy", mapped=True).tolist() == [0, 1, 2]


def test_many_tables_are_read_as_one_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    frames = [
        pd.DataFrame({"image_id": [f"{i}{k}" for k in range(i)], "reason": [None] * i})
        for i in (2, 1, 3)
    ]
    frames[2]["reason"] = "blue"
    paths = [tmp_path / f"{i}.parquet" for i in range(3)]
    for path, frame in zip(paths, frames, strict=True):
        write_frame(path, frame)
    whole, lengths = read_frames(paths)
    assert lengths == [2, 1, 3]
    one_by_one = pd.concat([read_frame(path) for path in paths], ignore_index=True)
    assert whole["image_id"].tolist() == one_by_one["image_id"].tolist()
    assert whole["reason"].fillna("").tolist() == ["", "", "", "blue", "blue", "blue"]
    paths[1].write_bytes(b"PAR1")
    with pytest.raises(
        WorkspaceError, match=r"1\.parquet is no table, or only a part of one; run the same"
    ):
        read_frames(paths)


def test_an_array_is_a_list_in_a_document_whatever_its_size() -> None:
    given = {"none": np.array([]), "one": np.array(["a"]), "two": np.array([1.0, np.nan])}
    given |= {"square": np.eye(2, dtype=np.int64), "number": np.float64(2)}
    assert store.plain(given) == {
        **{"none": [], "one": ["a"], "two": [1.0, None]},
        **{"square": [[1, 0], [0, 1]], "number": 2.0},
    }


def test_a_table_whose_lists_stayed_in_arrow_is_written_again(tmp_path: Path) -> None:
    first, again = tmp_path / "first.parquet", tmp_path / "again.parquet"
    write_frame(first, pd.DataFrame({"kind": ["a", "b"], "ids": [["x"], ["y", "z"]]}))
    write_frame(again, read_with_lists(first, "ids", ["kind"]))
    assert again.read_bytes() == first.read_bytes()
    assert [list(ids) for ids in read_frame(again)["ids"]] == [["x"], ["y", "z"]]


def test_what_differs_is_named_within_what_is_nested() -> None:
    digest = "0123456789abcdef" * 2
    old = {"reading": {"mean": [0.48500001, 0.4], "std": [1.0]}, "weights": digest}
    new = {"reading": {"mean": [0.5, 0.4], "std": [1.0]}, "weights": digest[::-1]}
    assert differences(old, new) == [
        "reading mean was [0.485, 0.4], now [0.5, 0.4]",
        "weights was 0123456789ab, now fedcba987654",
    ]


def test_a_table_that_was_read_in_pieces_is_put_together(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a", "bc", None, "d"], "width": [1, 2, 3, 4]})
    pieces = pd.concat([table[:2], table[2:]], ignore_index=True)
    assert pieces["path"].array.__arrow_array__().num_chunks == 2
    whole = in_one_piece(pieces)
    assert whole["path"].array.__arrow_array__().num_chunks == 1
    pd.testing.assert_frame_equal(whole, table)
