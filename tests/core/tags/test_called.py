"""What people call candidates: how names are stored, which of them stand, and where they go."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import NEURON, PCA
from core.errors import InputError, WorkspaceError
from core.storage.workspace import Workspace
from core.tags import database
from core.tags.called import names_of
from core.tags.decisions import decided
from core.tags.exchange import export_tags, read_tags
from core.tags.log import TagStore
from core.tags.votes import ADJUDICATION, GOLD
from core.types import Tag
from tests.hostile import NAMES, UNSEEN

KEY = CandidateKey("wolf", PCA, 0)


@pytest.fixture
def store(workspace: Workspace) -> TagStore:
    return TagStore.open(workspace)


def title(store: TagStore, key: CandidateKey = KEY) -> str:
    return names_of(store.history("a1")).written(key)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("snow", "snow"),
        ("  beach   ball ", "beach ball"),
        ("first line\r\nsecond\tline\N{LINE SEPARATOR}third", "first line second line third"),
        ("e\N{COMBINING ACUTE ACCENT}", "é"),
        ("<b>**snow**</b>", "<b>**snow**</b>"),
        ("雪" * 80, "雪" * 80),
        (UNSEEN, "gpgnp.exe"),
        ("", None),
        (" \n\t\N{ZERO WIDTH SPACE}", None),
    ],
)
def test_names_as_they_are_stored(store: TagStore, given: str, stored: str | None) -> None:
    assert store.add("ann", "a1", KEY, Tag.SPURIOUS, called=given).called == stored
    assert store.current("a1")[0].called == stored


def test_a_name_that_is_too_long_is_refused(store: TagStore) -> None:
    with pytest.raises(InputError, match="has 81 characters; give at most 80"):
        store.add("ann", "a1", KEY, Tag.CORE, called="s" * 81)
    assert store.history("a1") == []


def test_a_name_stays_until_it_is_changed_or_taken_away(store: TagStore) -> None:
    store.add("ann", "a1", KEY, Tag.CORE, called="snow")
    assert store.add("ann", "a1", KEY, Tag.SPURIOUS).called == "snow"
    assert store.add("bob", "a1", KEY, Tag.SPURIOUS).called is None
    assert store.add("ann", "a1", CandidateKey("wolf", NEURON, 0), Tag.CORE).called is None
    assert store.add("ann", "a1", KEY, Tag.SPURIOUS, called="").called is None
    assert title(store) == "component 1"
    assert store.undo("ann", "a1").called == "snow"
    assert title(store) == "snow (component 1)"
    assert store.add("ann", "a1", KEY, None).called is None
    assert store.add("ann", "a1", KEY, Tag.CORE).called is None
    assert title(store) == "component 1"


def test_the_more_frequent_name_comes_first(store: TagStore) -> None:
    store.add("ann", "a1", KEY, Tag.SPURIOUS, called="ice")
    store.add("bob", "a1", KEY, Tag.CORE, called="snow")
    assert title(store) == "ice / snow (component 1)"
    store.add("cat", "a1", KEY, Tag.UNSURE, called="Snow")
    assert title(store) == "snow / ice (component 1)"
    store.add("bob", "a1", KEY, Tag.CORE, called="ICE")
    assert title(store) == "ice / snow (component 1)"


def test_of_equally_frequent_names_the_first_given_comes_first(store: TagStore) -> None:
    store.add("ann", "a1", KEY, Tag.SPURIOUS, called="ice")
    store.add("bob", "a1", KEY, Tag.SPURIOUS, called="snow")
    store.add("ann", "a1", KEY, Tag.CORE)
    assert title(store) == "ice / snow (component 1)"


def test_names_of_four_people_are_cut(store: TagStore) -> None:
    for name in ("ice", "snow", "white", "cold"):
        store.add(f"who says {name}", "a1", KEY, Tag.SPURIOUS, called=name)
    assert title(store) == "ice / snow / white (component 1)"


def test_known_answers_and_adjudications_name_nothing(store: TagStore) -> None:
    for who in (GOLD, ADJUDICATION):
        store.add(who, "a1", KEY, Tag.SPURIOUS, called="snow")
    assert title(store) == "component 1"


def test_a_name_begins_a_line_as_it_was_written(store: TagStore) -> None:
    store.add("ann", "a1", KEY, Tag.SPURIOUS, called="iPhone X")
    names = names_of(store.history("a1"))
    assert names.heading(KEY) == "iPhone X (component 1)"
    assert names.heading(CandidateKey("wolf", PCA, 1)) == "Component 2"


OLD = (
    "ALTER TABLE tag_events DROP COLUMN called",
    "DELETE FROM tag_migrations WHERE number = 4",
)


@pytest.fixture
def older(store: TagStore) -> Iterator[Path]:
    """The file of a log that a version without names has written."""
    store.add("ann", "a1", KEY, Tag.SPURIOUS, confidence=2)
    yield edited(store, *OLD)
    database.engine_of.cache_clear()


def edited(store: TagStore, *statements: str) -> Path:
    store.engine.dispose()
    database.engine_of.cache_clear()
    file = Path(str(store.engine.url.database))
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return file


def columns(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {row[1] for row in connection.execute("PRAGMA table_info(tag_events)")}


def test_a_log_without_names_is_brought_up_to_date(older: Path, workspace: Workspace) -> None:
    store = TagStore.open(workspace)
    (entry,) = store.current("a1")
    assert (entry.confidence, entry.called) == (2, None)
    assert store.add("ann", "a1", KEY, Tag.SPURIOUS, called="snow").called == "snow"
    assert "called" in columns(older)


def test_a_process_that_only_shows_reads_a_log_without_names(
    older: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    store = TagStore.open(workspace)
    (entry,) = store.current("a1")
    assert (entry.tag, entry.confidence, entry.called) == (Tag.SPURIOUS, 2, None)
    assert title(store) == "component 1"
    assert "called" not in columns(older)


def test_a_process_that_only_shows_makes_a_log_and_refuses_a_newer_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_READONLY", "1")
    store = TagStore.open(workspace)
    assert store.history("a1") == []
    file = edited(store, "INSERT INTO tag_migrations (number, at) VALUES (99, '')")
    with pytest.raises(WorkspaceError, match="newer version .migration 99"):
        TagStore.open(workspace)
    assert "called" in columns(file)


@pytest.mark.parametrize("value", ["'two\nlines'", "''", f"'{'s' * 81}'", "' snow'", "x'ff'"])
def test_a_stored_name_that_is_none_is_told(store: TagStore, value: str) -> None:
    store.add("ann", "a1", KEY, Tag.SPURIOUS)
    workspace = Workspace(Path(str(store.engine.url.database)).parent)
    edited(store, f"UPDATE tag_events SET called = {value}")
    with pytest.raises(WorkspaceError, match=r"entry 1: called .* is no name of one line"):
        TagStore.open(workspace).history("a1")


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet"])
def test_names_are_exported_and_imported(store: TagStore, tmp_path: Path, suffix: str) -> None:
    names = [*NAMES, "=SUM(A1)", "NA", "12", ""]
    for number, name in enumerate(names):
        key = CandidateKey("wolf", PCA, number)
        store.add("ann", "a1", key, Tag.CORE, called=name[:80])
    out = tmp_path / f"tags{suffix}"
    assert export_tags(store.current("a1"), out, annotators=True) == len(names)
    found = read_tags(out, outputs=["wolf"], n_features=9, annotator="x")
    assert store.add_many("a1", found.rows) == 0
    assert store.add_many("a2", found.rows) == len(names)
    told = [[e.called for e in store.current(audit)] for audit in ("a1", "a2")]
    assert told[0] == told[1]


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet"])
def test_files_without_names_leave_names_alone(
    store: TagStore, tmp_path: Path, suffix: str
) -> None:
    rows = pd.DataFrame({"label": ["wolf"], "kind": ["pca"], "component": [0], "tag": ["core"]})
    out = tmp_path / f"tags{suffix}"
    if suffix == ".json":
        out.write_text(json.dumps({"tags": rows.to_dict("records")}))
    else:
        rows.to_csv(out, index=False) if suffix == ".csv" else rows.to_parquet(out)
    store.add("ann", "a1", KEY, Tag.SPURIOUS, called="snow")
    found = read_tags(out, outputs=["wolf"], n_features=9, annotator="ann")
    assert store.add_many("a1", found.rows) == 1
    (entry,) = store.current("a1")
    assert (entry.tag, entry.called) == (Tag.CORE, "snow")


def test_an_empty_name_in_a_file_takes_a_name_away(store: TagStore, tmp_path: Path) -> None:
    store.add("ann", "a1", KEY, Tag.CORE, called="snow")
    out = tmp_path / "tags.csv"
    out.write_text("label,kind,component,annotator,tag,called\nwolf,pca,0,ann,core,\n")
    found = read_tags(out, outputs=["wolf"], n_features=9, annotator="x")
    assert store.add_many("a1", found.rows) == 1
    assert store.current("a1")[0].called is None


def test_a_name_in_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "tags.csv"
    out.write_text(f"label,kind,component,tag,called\nwolf,pca,0,core,{'s' * 81}\n")
    with pytest.raises(InputError, match="row 2: called 's+…? has more than 80 characters"):
        read_tags(out, outputs=["wolf"], n_features=9, annotator="x")


def test_decisions_know_the_names(tiny_audit: Audit, store: TagStore) -> None:
    key = CandidateKey(tiny_audit.classes[0].label, PCA, 0)
    store.add("ann", tiny_audit.id, key, Tag.SPURIOUS, called="snow")
    assert decided(tiny_audit, store).names.written(key) == "snow (component 1)"


def test_commands_know_the_names(
    tiny_audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/own.sqlite"
    where = ["--workspace", str(tiny_audit.folder.parent.parent), "--database", url]
    label = tiny_audit.classes[0].label
    tag = ["tags", "add", "tiny", "--class", label, "--component", "0", "--tag", "core", *where]
    assert main([*tag, "--called", "beach\nball", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["called"] == "beach ball"
    assert main(["tags", "list", "tiny", "--history", *where]) == 0
    said = capsys.readouterr().out
    assert "beach ball (component 1)" in said
    assert "component 1: core, called “beach ball”" in said
    assert main(["tags", "list", "tiny", "--json", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["called"] for row in (*told["tags"], *told["decisions"])] == ["beach ball"] * 2
    assert main([*tag, "--called", "s" * 81]) == 2
    assert "give at most 80" in capsys.readouterr().err
    assert main([*tag, "--called", "", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["called"] is None
