"""Damage of stored files: what opening one notices, and in whose words it is said."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import WorkspaceError
from core.storage import digests
from core.storage import files as store
from core.storage.files import (
    read_array,
    read_frame,
    read_json,
    write_array,
    write_frame,
    write_json,
)
from core.storage.workspace import Workspace
from tests.core.run_fixture import manifest_facts

LARGE = digests.SMALL + 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an audit that holds an array, a table and a document."""
    inside = tmp_path / "audits" / "x"
    write_json(inside / "manifest.json", manifest_facts())
    write_array(inside / "a.npy", np.arange(600, dtype=np.float32))
    write_frame(inside / "t.parquet", pd.DataFrame({"a": range(500), "b": "text"}))
    write_json(inside / "d.json", {"words": ["w"] * 300})
    return inside


READ: dict[str, Callable[[Path], object]] = {
    "a.npy": read_array,
    "t.parquet": read_frame,
    "d.json": lambda path: read_json(path, {}),
}


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("damage", [half, zeroed, flipped, os.unlink], ids=lambda d: d.__name__)
def test_damage_of_a_small_file_is_noticed_when_it_is_opened(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    READ[name](folder / name)
    damage(folder / name)
    with pytest.raises(WorkspaceError, match=rf"{name} is (damaged: it|missing).*; run the same"):
        READ[name](folder / name)


def test_damage_of_a_large_file_is_noticed_in_its_length_and_first_block(folder: Path) -> None:
    write_array(folder / "l.npy", np.zeros(LARGE, np.uint8))
    for damage in (half, lambda path: path.write_bytes(b"\0" + path.read_bytes()[1:])):
        damage(folder / "l.npy")
        with pytest.raises(WorkspaceError, match=r"l\.npy is damaged"):
            read_array(folder / "l.npy", mapped=True)
        write_array(folder / "l.npy", np.zeros(LARGE, np.uint8))
    flipped(folder / "l.npy")
    assert len(read_array(folder / "l.npy", mapped=True)) == LARGE
    assert digests.fault(folder / "l.npy", wholly=True)


def test_files_without_a_digest_open_as_before(folder: Path) -> None:
    (folder / digests.NAME).unlink()
    flipped(folder / "a.npy")
    assert read_array(folder / "a.npy").shape == (600,)


def test_damaged_digests_are_said(folder: Path) -> None:
    rows = ('{"a.npy": []}', '{"a.npy": [[1, 2]]}', '{"a.npy": [[1, 2, 3]]}', '{"a.npy": 1}')
    for content in ("{", "[]", "[" * 100_000, *rows):
        (folder / digests.NAME).write_text(content)
        with pytest.raises(WorkspaceError, match=r"cannot be checked, since digests\.json beside"):
            read_array(folder / "a.npy")


def test_a_digest_that_is_damaged_itself_is_noticed_by_a_whole_check(folder: Path) -> None:
    path = folder / digests.NAME
    for part in range(3):
        known = json.loads(path.read_text())
        kept = known["a.npy"][0][part]
        known["a.npy"][0][part] = 7 if part == 0 else "0" * 32
        path.write_text(json.dumps(known))
        assert digests.fault(folder / "a.npy", wholly=True, again=True)
        known["a.npy"][0][part] = kept
        path.write_text(json.dumps(known))
    assert not digests.fault(folder / "a.npy", wholly=True, again=True)


def test_no_digest_is_kept_outside_an_audit(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", np.arange(3))
    with store.replacing_folder(tmp_path / "f") as inside:
        (inside / "x").write_text("1")
    assert not list(tmp_path.rglob(digests.NAME))


def test_a_sealed_folder_has_its_own_digests_and_a_copy_is_checked_like_it(folder: Path) -> None:
    with store.replacing_folder(folder / "classes" / "00000") as inside:
        np.save(inside / "a.npy", np.arange(9))
    copy = folder.parent.parent / "copy"
    os.rename(folder, copy)
    flipped(copy / "classes" / "00000" / "a.npy")
    with pytest.raises(WorkspaceError, match=r"a\.npy is damaged"):
        read_array(copy / "classes" / "00000" / "a.npy")
    write_array(copy / "classes" / "00000" / "a.npy", np.arange(8))
    assert len(read_array(copy / "classes" / "00000" / "a.npy")) == 8


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_process_killed_between_a_file_and_its_digest_leaves_it_sound(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The digest is written before and after the file gets its name; either may be the last."""
    steps = []

    def killed(do: Callable[..., None]) -> Callable[..., None]:
        def step_by_step(*arguments: object) -> None:
            steps.append(do)
            if len(steps) == step:
                raise KeyboardInterrupt
            do(*arguments)

        return step_by_step

    with monkeypatch.context() as patch:
        patch.setattr("core.storage.digests._write", killed(digests._write))
        patch.setattr("core.storage.digests.os.replace", killed(os.replace))
        with pytest.raises(KeyboardInterrupt):
            write_json(folder / "d.json", {"words": "others"})
    assert read_json(folder / "d.json")["words"] in ("others", ["w"] * 300)
    write_json(folder / "d.json", {"words": "last"})
    assert read_json(folder / "d.json") == {"words": "last"}
    assert len(json.loads((folder / digests.NAME).read_text())["d.json"]) == 1


def test_many_writers_lose_no_digest(folder: Path) -> None:
    def write(number: int) -> None:
        for value in range(5):
            write_json(folder / f"{number}.json", {"value": value})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"{n}.json" for n in range(6)} < set(digests.known(folder))
    for number in range(6):
        assert read_json(folder / f"{number}.json") == {"value": 4}


def test_what_is_deleted_on_purpose_is_not_missed(folder: Path) -> None:
    store.remove(folder / "a.npy")
    assert not store.there(folder / "a.npy")
    os.unlink(folder / "d.json")
    assert store.there(folder / "d.json")


# Words of ours, whatever is in a file without a digest


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x80\x04.", b"PAR1" * 9, b"{", b"[" * 99_999]
    + [b"\xff" * 400, b"NaN", b"[1, 2]", b'"text"', b"null"],
    ids=lambda content: repr(content[:8]),
)
@pytest.mark.parametrize("name", READ)
def test_foreign_content_is_said_in_our_words(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WorkspaceError) as error:
        READ[name](tmp_path / name)
    words = str(error.value)
    assert words.startswith(str(tmp_path / name))
    assert words.endswith("run the same audit or mitigate command again to mend it")
    assert not any(word in words for word in ("pickle", "Arrow", "Error", "unsafe", "mmap"))


@pytest.mark.parametrize("cut", [10, 60, 100, 127, 129, 500])
@pytest.mark.parametrize("mapped", [False, True])
def test_half_an_array_is_said_in_our_words(tmp_path: Path, cut: int, mapped: bool) -> None:
    np.save(tmp_path / "a.npy", np.arange(600))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:cut])
    with pytest.raises(WorkspaceError, match=r"a\.npy is no array, or only a part of one"):
        read_array(tmp_path / "a.npy", mapped=mapped)


def test_objects_and_other_forms_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(WorkspaceError, match="is no array"):
        read_array(tmp_path / "o.npy")
    np.save(tmp_path / "a.npy", np.arange(6))
    for wanted in ({"ndim": 2}, {"kinds": "f"}):
        with pytest.raises(WorkspaceError, match="an array of another form than expected"):
            read_array(tmp_path / "a.npy", **wanted)


def test_missing_columns_and_entries_are_named(tmp_path: Path) -> None:
    write_frame(tmp_path / "t.parquet", pd.DataFrame({"a": [1]}))
    with pytest.raises(WorkspaceError, match=r"t\.parquet lacks the column 'b'; run the same"):
        read_frame(tmp_path / "t.parquet", needed=["a", "b"])
    with pytest.raises(WorkspaceError, match=r"t\.parquet"):
        read_frame(tmp_path / "t.parquet", ["b"])
    write_json(tmp_path / "d.json", {"a": {"b": True}, "l": [1, "x"]})
    for shape, said in (
        ({"c": int}, "c is missing"),
        ({"a": {"b": int}}, r"a\.b is of another kind"),
        ({"a": {"c": int}}, r"a\.c is missing"),
        ({"l": [int]}, r"l\[\] is of another kind"),
        (str, "it is of another kind"),
    ):
        with pytest.raises(WorkspaceError, match=said):
            read_json(tmp_path / "d.json", shape)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("format", "1"), ("format", True), ("name", 3), ("created", None), ("model", {"notes": []})]
    + [("data", []), ("compute", {"batch_size": "4"}), ("preprocess", {}), ("parts", 1)],
)
def test_a_manifest_with_odd_entries_hides_only_its_audit(
    tmp_path: Path, entry: str, value: object
) -> None:
    workspace = Workspace(tmp_path)
    write_json(workspace.folder("good") / "manifest.json", manifest_facts(name="good"))
    write_json(workspace.folder("odd") / "manifest.json", manifest_facts(**{entry: value}))
    assert [m.name for m in workspace.manifests()] == ["good"]
    with pytest.raises(WorkspaceError, match="audits there: good; 1 more cannot be read: run the"):
        workspace.find("a")
