"""Tags: the log, the standing state, undo, several people and processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy

from benchmarks import tagstore
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.errors import InputError, WorkspaceError
from core.storage.workspace import Workspace
from core.tags import database
from core.tags.entries import NewTag
from core.tags.log import TagStore
from core.types import Subtype, Tag


@pytest.fixture
def store(workspace: Workspace) -> TagStore:
    return TagStore.open(workspace)


def standing(store: TagStore, who: str | None = None) -> dict[tuple[str, int], Tag | None]:
    return {(e.annotator, e.component): e.tag for e in store.current("a1", who)}


def test_the_newest_tag_stands(store: TagStore) -> None:
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.CORE)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.SPURIOUS)
    store.add("bob", "a1", CandidateKey("wolf", PCA, 3), Tag.UNSURE)
    store.add("ann", "a2", CandidateKey("wolf", PCA, 3), Tag.CORE)
    assert standing(store) == {("ann", 3): Tag.SPURIOUS, ("bob", 3): Tag.UNSURE}
    assert len(store.history("a1")) == 3


def test_undo_goes_back_step_by_step(store: TagStore) -> None:
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.CORE)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.SPURIOUS)
    store.add("ann", "a1", CandidateKey("wolf", NEURON, 3), Tag.UNSURE)
    assert store.undo("ann", "a1").tag is None
    assert store.undo("ann", "a1").tag is Tag.CORE
    assert standing(store) == {("ann", 3): Tag.CORE}
    assert store.undo("ann", "a1").tag is None
    assert store.undo("ann", "a1") is None
    assert standing(store) == {}
    assert len(store.history("a1")) == 6


def test_a_tag_after_an_undo_can_be_undone(store: TagStore) -> None:
    store.add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    store.undo("ann", "a1")
    store.add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.SPURIOUS)
    assert store.undo("ann", "a1").tag is None
    assert store.undo("ann", "a1") is None


def test_undo_brings_back_everything_that_was_said(store: TagStore) -> None:
    said = {"subtype": Subtype.BACKGROUND, "confidence": 4, "reason": "snow"}
    store.add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.SPURIOUS, **said)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    back = store.undo("ann", "a1")
    assert (back.subtype, back.confidence, back.reason) == tuple(said.values())
    assert store.undo("ann", "a1").reason is None


def test_what_cannot_be_said_together(store: TagStore) -> None:
    with pytest.raises(InputError, match="belongs to the tag spurious"):
        store.add("a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE, subtype=Subtype.BACKGROUND)
    with pytest.raises(InputError, match="confidence 6: give 1"):
        store.add("a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE, confidence=6)


def test_undo_leaves_other_people_alone(store: TagStore) -> None:
    store.add("ann", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert store.undo("bob", "a1") is None
    assert standing(store) == {("ann", 1): Tag.CORE}


def test_no_name_is_anonymous(store: TagStore) -> None:
    assert store.add("  ", "a1", CandidateKey("wolf", PCA, 0), Tag.CORE).annotator == "anonymous"


def test_processes_tagging_at_once_lose_nothing(store: TagStore, workspace: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from core.tags.log import TagStore\n"
        "from core.storage.workspace import Workspace; from core.types import Subtype, Tag\n"
        "from core.candidates.key import CandidateKey\n"
        "s = TagStore.open(Workspace(Path(sys.argv[1])))\n"
        "for i in range(10): s.add(sys.argv[2], 'a1', CandidateKey('wolf', 'pca', i), Tag.CORE)"
    )
    root = Path(__file__).resolve().parents[3]
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(workspace.root), f"p{i}"], cwd=root)
        for i in range(4)
    ]
    assert [process.wait() for process in running] == [0] * 4
    assert len(store.history("a1")) == 40


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    with pytest.raises(WorkspaceError, match="cannot (write to|open the tags)"):
        TagStore.open(Workspace(tmp_path / "w"))


def test_tags_of_an_older_version_are_kept(workspace: Workspace) -> None:
    workspace.root.mkdir()
    with sqlite3.connect(workspace.root / "tags.sqlite") as old:
        old.execute(
            "CREATE TABLE tag_events (id INTEGER PRIMARY KEY, at TEXT, annotator TEXT, "
            "audit_id TEXT, label TEXT, kind TEXT, component INTEGER, tag TEXT)"
        )
        old.execute("INSERT INTO tag_events VALUES (1, 't', 'ann', 'a1', 'wolf', 'pca', 2, 'core')")
    store = TagStore.open(workspace)
    store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.SPURIOUS, confidence=2)
    assert standing(store) == {("ann", 2): Tag.CORE, ("ann", 3): Tag.SPURIOUS}
    assert store.current("a1")[1].confidence == 2
    with sqlite3.connect(workspace.root / "tags.sqlite") as new:
        numbers = [row[0] for row in new.execute("SELECT number FROM tag_migrations")]
    assert numbers == list(range(1, len(database.MIGRATIONS) + 1))


def test_every_entry_names_the_one_before_it(store: TagStore) -> None:
    first = store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.CORE)
    store.add("bob", "a1", CandidateKey("wolf", PCA, 3), Tag.CORE)
    second = store.add("ann", "a1", CandidateKey("wolf", PCA, 3), Tag.SPURIOUS)
    third = store.undo("ann", "a1")
    assert (first.previous, second.previous, third.previous) == (None, first.id, second.id)
    store.add_many("a1", [NewTag("ann", "wolf", "pca", 3, "unsure")])
    assert store.history("a1")[-1].previous == third.id


def test_a_migration_that_fails_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(connection: object) -> None:
        raise sqlalchemy.exc.OperationalError("ALTER", {}, Exception("no space"))

    migrations = (*database.MIGRATIONS[:2], fails)
    monkeypatch.setattr(database, "MIGRATIONS", migrations)
    with pytest.raises(WorkspaceError, match="cannot open the tags"):
        TagStore.open(workspace)
    with sqlite3.connect(workspace.root / "tags.sqlite") as left:
        assert left.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    assert TagStore.open(workspace).add("a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE).id == 1


def test_tags_of_a_newer_version_are_left_alone(workspace: Workspace) -> None:
    workspace.root.mkdir()
    with sqlite3.connect(workspace.root / "tags.sqlite") as new:
        new.execute("CREATE TABLE tag_migrations (number INTEGER PRIMARY KEY, at TEXT)")
        new.execute("INSERT INTO tag_migrations VALUES (99, 't')")
    with pytest.raises(WorkspaceError, match="newer version .migration 99.*update Spurioscope"):
        TagStore.open(workspace)


def test_a_damaged_database_is_a_sentence(workspace: Workspace) -> None:
    workspace.root.mkdir()
    (workspace.root / "tags.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(WorkspaceError, match="cannot open the tags in .*restore the file"):
        TagStore.open(workspace)


def test_killed_while_tagging() -> None:
    for line in (*tagstore.at_once(2, 10), *tagstore.killed(2, 40)):
        assert line.holds is not False, line.row()
