"""Databases of tags that other programs or a disk have spoilt: always a sentence, never a guess."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from benchmarks.attack_tags import attack
from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import InputError, WorkspaceError
from core.storage.workspace import Workspace
from core.tags import database, failures, journal
from core.tags.entries import NewTag
from core.tags.exchange import export_tags
from core.tags.log import TagStore
from core.types import Tag

COLUMNS = [column.name for column in database.EVENTS.columns]


@pytest.fixture
def file(workspace: Workspace) -> Path:
    """A database with three tags of two people."""
    store = TagStore.open(workspace)
    for who, component in (("ann", 1), ("ann", 2), ("bob", 1)):
        store.add(who, "a1", CandidateKey("wolf", PCA, component), Tag.CORE)
    return closed(store)


def closed(store: TagStore) -> Path:
    """End a store, so that the next one opens the file as a new process does."""
    store.engine.dispose()
    database.engine_of.cache_clear()
    return Path(str(store.engine.url.database))


def edit(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def loosen(file: Path) -> None:
    """A table without types and constraints takes any value."""
    names = ", ".join(COLUMNS)
    edit(
        file,
        "ALTER TABLE tag_events RENAME TO was",
        f"CREATE TABLE tag_events ({names.replace('id', 'id INTEGER PRIMARY KEY', 1)})",
        f"INSERT INTO tag_events SELECT {names} FROM was",
    )


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("kind", "'Pca 1'", r"entry 2: kind 'Pca 1' is no kind of candidates"),
        ("kind", "NULL", r"kind None is no kind"),
        ("tag", "'unclear'", r"tag 'unclear' is not core, spurious, unsure"),
        ("tag", "''", r"tag '' is not core"),
        ("subtype", "'shadow'", r"subtype 'shadow' is not separate_object"),
        ("subtype", "'background'", r"subtype 'background' belongs to the tag spurious"),
        ("confidence", "'high'", r"confidence 'high' is not 1, 2, 3, 4, 5"),
        ("confidence", "9", r"confidence 9 is not"),
        ("component", "'two'", r"component 'two' is no number from 0 on"),
        ("component", "1.5", r"component 1.5 is no number"),
        ("component", "9223372036854775807", r"component 9223372036854775807 is no number"),
        ("annotator", "NULL", r"annotator None is no name"),
        ("label", "x'ff'", r"label b'\\xff' is no text"),
        ("reason", "CAST(x'c328' AS TEXT)", r"reason '\\udcc3\(' is no text"),
        ("label", "'wo' || char(0) || 'lf'", r"label 'wo\\x00lf' is no text"),
        ("at", "12", r"at 12 is no text"),
        ("undoes", "'x'", r"undoes 'x' is no entry"),
    ],
)
def test_a_row_that_means_nothing_is_named(
    workspace: Workspace, file: Path, column: str, value: str, match: str
) -> None:
    loosen(file)
    edit(file, f"UPDATE tag_events SET {column} = {value} WHERE id = 2")
    store = TagStore.open(workspace)
    with pytest.raises(WorkspaceError, match=match) as caught:
        store.current("a1")
    assert "tags.sqlite: 1 entry cannot be understood" in str(caught.value)
    assert "restore them from a backup, or correct or delete these rows" in str(caught.value)
    good, faults = store.log("a1")
    assert ([entry.id for entry in good], [fault.id for fault in faults]) == ([1, 3], [2])
    store.add("cid", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert len(store.current("a1", "cid")) == 1


def test_every_row_that_means_nothing_is_counted(workspace: Workspace, file: Path) -> None:
    edit(file, "UPDATE tag_events SET tag = 'x'")
    with pytest.raises(WorkspaceError, match=r"3 entries .*entry 1.*entry 2.*entry 3"):
        TagStore.open(workspace).history("a1")


def test_a_list_shows_what_can_be_read_and_says_what_cannot(
    tiny_audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(tiny_audit.folder, root / "audits" / tiny_audit.id)
    store, label = TagStore.open(Workspace(root)), tiny_audit.classes[0].label
    for component in (0, 1):
        store.add("ann", tiny_audit.id, CandidateKey(label, PCA, component), Tag.CORE)
    edit(closed(store), "UPDATE tag_events SET kind = 'so rt' WHERE component = 1")
    where = [tiny_audit.name, "--workspace", str(root)]
    assert main(["tags", "list", *where]) == 0
    said = capsys.readouterr().out
    assert "component 1    core" in said
    assert "warning: 1 entry cannot be understood (entry 2: kind 'so rt'" in said
    for command in (["agreement"], ["export", "--out", str(tmp_path / "t.csv")]):
        assert main(["tags", command[0], *where, *command[1:]]) == 2
        assert "1 entry cannot be understood" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("DROP TABLE tag_events", "there is no table tag_events; restore"),
        ("ALTER TABLE tag_events RENAME COLUMN kind TO sort", "has no column kind; restore"),
        ("UPDATE tag_migrations SET number = -7 WHERE number = 1", "holds -7, which is no number"),
        ("UPDATE tag_events SET audit_id = x'ff'", "3 entries belong to no audit"),
        ("UPDATE tag_events SET audit_id = CAST(x'ff' AS TEXT)", "3 entries belong to no audit"),
        (
            "CREATE TRIGGER t BEFORE INSERT ON tag_events BEGIN SELECT RAISE(IGNORE); END",
            "a rule .a trigger. in the database kept 1 of 1 new entries out",
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON tag_events BEGIN SELECT RAISE(ABORT, 'secret'); END",
            "the tag could not be saved in .*not those of this program; restore",
        ),
    ],
)
def test_tables_that_are_not_as_they_were(
    workspace: Workspace, file: Path, statement: str, match: str
) -> None:
    edit(file, statement)
    with pytest.raises(WorkspaceError, match=match) as caught:
        TagStore.open(workspace).add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert "secret" not in str(caught.value)


def test_an_import_that_a_trigger_keeps_out_is_said(workspace: Workspace, file: Path) -> None:
    edit(
        file,
        "CREATE TRIGGER t BEFORE INSERT ON tag_events WHEN NEW.component = 8 "
        "BEGIN SELECT RAISE(IGNORE); END",
    )
    store = TagStore.open(workspace)
    with pytest.raises(WorkspaceError, match="kept 1 of 2 new entries out"):
        store.add_many("a1", [NewTag("cid", "wolf", "pca", number, "core") for number in (7, 8)])
    assert len(store.history("a1")) == 3


def test_a_view_is_no_log(workspace: Workspace, file: Path) -> None:
    edit(
        file,
        "ALTER TABLE tag_events RENAME TO was",
        "CREATE VIEW tag_events AS SELECT * FROM was",
    )
    with pytest.raises(WorkspaceError, match="there is no table tag_events"):
        TagStore.open(workspace)


def test_another_programs_database_is_left_alone(workspace: Workspace, file: Path) -> None:
    file.unlink()
    edit(file, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(WorkspaceError, match="belongs to another program; restore"):
        TagStore.open(workspace)
    with closing(sqlite3.connect(file)) as held:
        assert held.execute("SELECT name FROM sqlite_master").fetchall() == [("songs",)]


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("empty", "is empty: the tags that were in it are lost; restore"),
        ("folder", "is no file, so that no tags can be in it"),
        ("pipe", "is no file, so that no tags can be in it"),
        ("zeros", "the file is no database, or is damaged; restore"),
        ("half", "the file is damaged; restore the file from a backup"),
    ],
)
def test_something_else_in_the_place_of_the_file(
    workspace: Workspace, file: Path, what: str, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BEGINS", 0.1)
    content = file.read_bytes()
    file.unlink()
    if what == "folder":
        file.mkdir()
    elif what == "pipe":
        os.mkfifo(file)
    else:
        contents = {"empty": b"", "zeros": bytes(9000), "half": content[: len(content) // 2]}
        file.write_bytes(contents[what])
    with pytest.raises(WorkspaceError, match=match):
        TagStore.open(workspace)


@pytest.mark.parametrize("place", ["/proc/nothing", "/dev/null", f"/tmp/{'x' * 300}"])
def test_places_where_no_file_can_be(place: str) -> None:
    with pytest.raises(WorkspaceError, match="cannot (make the folder|write to)"):
        TagStore.open(Workspace(Path(place)))


def test_zeros_in_the_middle_are_found(workspace: Workspace, file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = content.rindex(b"ann") - 100
    content[place : place + 200] = bytes(200)
    file.write_bytes(content)
    with pytest.raises(WorkspaceError, match="is damaged|cannot be understood"):
        TagStore.open(workspace).history("a1")


def test_a_database_that_another_program_holds(
    workspace: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT", 0.1)
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorkspaceError, match="another program holds it; close that program"):
            TagStore.open(workspace)


def test_tags_are_not_written_to_a_file_that_is_gone(workspace: Workspace, file: Path) -> None:
    store = TagStore.open(workspace)
    store.current("a1")
    file.unlink()
    with pytest.raises(WorkspaceError, match="with the tags is gone; put it back"):
        store.add("ann", "a1", CandidateKey("wolf", PCA, 4), Tag.CORE)
    assert not file.exists()


def test_a_backup_that_is_put_back_is_taken_up(workspace: Workspace, file: Path) -> None:
    shutil.copyfile(file, file.with_name("backup"))
    store = TagStore.open(workspace)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 4), Tag.CORE)
    for end in ("", "-wal", "-shm"):
        Path(f"{file}{end}").unlink()
    file.with_name("backup").rename(file)
    assert len(store.history("a1")) == 3
    store.add("ann", "a1", CandidateKey("wolf", PCA, 5), Tag.CORE)
    with closing(sqlite3.connect(file)) as held:
        assert held.execute("SELECT count(*) FROM tag_events").fetchone() == (4,)


def test_a_database_that_others_make_just_now_is_waited_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate, left = database.migrate, [1, 2]

    def busy(engine: sqlalchemy.Engine) -> None:
        if left:
            left.pop()
            said = sqlite3.OperationalError("at once, in spite of any patience")
            said.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise sqlalchemy.exc.OperationalError("PRAGMA", {}, said)
        migrate(engine)

    monkeypatch.setattr(database, "migrate", busy)
    TagStore.open(workspace).add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    monkeypatch.setattr(database, "WAIT", 0.0)
    left.append(1)
    database.engine_of.cache_clear()
    with pytest.raises(WorkspaceError, match="another program holds it"):
        TagStore.open(workspace)
    assert (workspace.root / "tags.sqlite").stat().st_size


def with_log(workspace: Workspace, folder: Path) -> Path:
    """A database of whose tags the newest stand in the log only, as after a crash."""
    store = TagStore.open(workspace)
    for component in range(3):
        store.add("ann", "a1", CandidateKey("wolf", PCA, component), Tag.CORE)
    folder.mkdir()
    for name in ("tags.sqlite", "tags.sqlite-wal"):
        shutil.copyfile(workspace.root / name, folder / name)
    closed(store)
    return folder / "tags.sqlite-wal"


def test_a_whole_log_is_read(workspace: Workspace, tmp_path: Path) -> None:
    log = with_log(workspace, tmp_path / "copy")
    assert len(TagStore.open(Workspace(log.parent)).history("a1")) == 3


def test_a_log_that_was_begun_again_is_whole(workspace: Workspace) -> None:
    store = TagStore.open(workspace)
    for component in range(40):
        store.add("ann", "a1", CandidateKey("wolf", PCA, component), Tag.CORE)
    with closing(sqlite3.connect(workspace.root / "tags.sqlite")) as other:
        other.execute("PRAGMA wal_checkpoint(RESTART)")
    store.add("bob", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert not journal.spoilt((workspace.root / "tags.sqlite-wal").read_bytes())


@pytest.mark.parametrize("place", [0, 9, 17, 32 + 4, 32 + 9, 32 + 17, 32 + 24 + 99, 5000])
def test_a_damaged_log_is_never_passed_over(
    workspace: Workspace, tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.0)
    log = with_log(workspace, tmp_path / "copy")
    content = bytearray(log.read_bytes())
    content[place] ^= 0xFF
    log.write_bytes(content)
    for _ in range(2):
        with pytest.raises(WorkspaceError, match="tags.sqlite-wal, which is damaged; restore both"):
            TagStore.open(Workspace(log.parent))
    assert log.read_bytes() == content


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root and the program mount")
    yield folder
    database.engine_of.cache_clear()
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Use a disk up, but for some bytes."""
    path = folder / "filling"
    left = shutil.disk_usage(folder).free - leave
    path.write_bytes(bytes(left))
    return path


FULL = r"the disk is full \(0 MiB free\); .*free some space or choose another --workspace"


def test_a_full_disk_keeps_what_was_tagged(small_disk: Path) -> None:
    workspace = Workspace(small_disk / "w")
    store = TagStore.open(workspace)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    filling = fill(small_disk)
    row = NewTag("cid", "wolf", "pca", 0, "core", reason="x" * 9000)
    with pytest.raises(WorkspaceError, match=FULL) as caught:
        store.add_many("a1", [replace(row, component=number) for number in range(50)])
    assert "nothing of this was saved, everything saved before is kept" in str(caught.value)
    with pytest.raises(WorkspaceError, match=FULL):
        store.add("ann", "a1", CandidateKey("wolf", PCA, 2), Tag.CORE, reason="x" * 9000)
    filling.unlink()
    assert len(store.current("a1")) == 1
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.CORE)


@pytest.mark.parametrize("leave", [0, 8192, 40960])
def test_no_room_for_a_database(small_disk: Path, leave: int) -> None:
    workspace = Workspace(small_disk / "w")
    workspace.root.mkdir()
    filling = fill(small_disk, leave)
    with pytest.raises(WorkspaceError, match=r"is full \(0 MiB free\).*free some space"):
        TagStore.open(workspace)
    filling.unlink()
    assert TagStore.open(workspace).history("a1") == []


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_no_room_for_an_export(small_disk: Path, workspace: Workspace, suffix: str) -> None:
    store = TagStore.open(workspace)
    for number in range(20):
        store.add(
            "ann", "a1", CandidateKey("wolf", PCA, number), Tag.CORE, reason=str(number) * 9000
        )
    fill(small_disk, 8192)
    with pytest.raises(WorkspaceError, match=r"is full \(0 MiB free\)"):
        export_tags(store.current("a1"), small_disk / f"t{suffix}", annotators=True)
    assert [path.name for path in small_disk.iterdir()] == ["filling"]


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (sqlite3.SQLITE_FULL, r"the disk is full \(\d+ MiB free\); the tag was not saved, every"),
        (sqlite3.SQLITE_IOERR_WRITE, r"or a quota is used up \(\d+ MiB free\); the tag was not"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "it may not be written; make the file and its folder"),
        (sqlite3.SQLITE_NOTADB, "the file is no database, or is damaged; restore"),
        (sqlite3.SQLITE_PROTOCOL, "the file is damaged or of another kind; restore"),
    ],
)
def test_every_code_of_sqlite_is_a_sentence(tmp_path: Path, code: int, match: str) -> None:
    said = sqlite3.OperationalError("secret words")
    said.sqlite_errorcode = code
    url = sqlalchemy.URL.create("sqlite", database=str(tmp_path / "t" / "tags.sqlite"))
    error = sqlalchemy.exc.OperationalError("SELECT secret", {}, said)
    told = failures.told(url, "cannot write to", "the tag was not saved")
    with pytest.raises(WorkspaceError, match=match) as caught, told:
        raise error
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("component", [-1, 2**31, 2**70])
def test_numbers_that_no_database_holds_are_refused(workspace: Workspace, component: int) -> None:
    with pytest.raises(InputError, match=f"component {component}: give a number from 0 to"):
        TagStore.open(workspace).add("a", "a1", CandidateKey("wolf", PCA, component), Tag.CORE)


def test_nothing_damaged_is_read_wrongly_or_told_in_foreign_words() -> None:
    found = attack(seed=1, count=60)
    assert (found.raw, found.silent) == ([], [])
    assert found.tries == 2 * (60 + 6) + 60
