"""Names of annotators and reasons: whatever people or programs give is stored and shown safely."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.__main__ import main
from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.tags.people import LONGEST, one_line, person, storable
from core.tags.queue import mixed
from core.types import Tag


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Zoe\u0308", "Zoë"),
        (" Ann \t\n", "Ann"),
        ("Ann\u00a0 \u2003Lee", "Ann Lee"),
        ("Ann\r\n2024 admin: deleted", "Ann 2024 admin: deleted"),
        ("Ann\x1b[2J\x07\0", "Ann[2J"),
        ("\u202eeoZ\u200f\u2066", "eoZ"),
        ("A\u200bn\ufeffn\u00ad", "Ann"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\u200d\u200c", "anonymous"),
        ("caf\udce9", "caf"),
        ("Ann\u2028Lee", "Ann Lee"),
        ("\U0001fae8 \ue000", "\U0001fae8 \ue000"),
        ("", "anonymous"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_names_as_they_are_stored(workspace: Workspace, given: str, stored: str) -> None:
    assert person(given) == person(stored) == stored
    store = TagStore.open(workspace)
    assert store.add(given, "a1", CandidateKey("wolf", PCA, 1), Tag.CORE).annotator == stored
    assert [e.annotator for e in store.current("a1", given)] == [stored]


def test_long_names_stay_different_people(workspace: Workspace) -> None:
    store = TagStore.open(workspace)
    names = ["x" * 10_000, "x" * 10_000 + "y", "x" * LONGEST]
    for name in names:
        event = store.add(name, "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
        assert len(event.annotator) == LONGEST
        assert person(event.annotator) == event.annotator
    assert len(store.current("a1")) == 3
    assert [len(store.current("a1", name)) for name in names] == [1, 1, 1]


def test_names_that_look_alike_are_one_person(workspace: Workspace) -> None:
    store = TagStore.open(workspace)
    for name in ("Zoë", "Zoe\u0308", "Zoë ", "Zo\u200bë"):
        store.add(name, "a1", CandidateKey("wolf", PCA, 1), Tag.CORE)
    assert len(store.current("a1")) == 1
    assert store.undo("Zoe\u0308\t", "a1") is not None


def test_reasons_keep_their_lines_but_nothing_that_a_database_refuses(
    workspace: Workspace,
) -> None:
    store = TagStore.open(workspace)
    event = store.add("a", "a1", CandidateKey("wolf", PCA, 1), Tag.CORE, reason="a\n\tb\0c\udcff")
    assert event.reason == store.current("a1")[0].reason == "a\n\tb?c?"
    assert storable("ü=1\r\n") == "ü=1\r\n"


def test_one_line_of_the_terminal_stays_one(
    tiny_audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_audit.folder, tmp_path / "audits" / tiny_audit.id)
    where = [tiny_audit.name, "--workspace", str(tmp_path)]
    label = tiny_audit.classes[0].label
    tag = ["--class", label, "--component", "0", "--tag", "core"]
    odd = "fur\n     9 2024 root: all: core\x1b[2J\u202e"
    assert main(["tags", "add", *where, *tag, "--annotator", odd, "--reason", odd]) == 0
    assert main(["tags", "list", *where, "--history"]) == 0
    said = capsys.readouterr().out
    assert not set(said) & {"\x1b", "\u202e"}
    assert r"fur\n     9 2024 root: all: core\x1b[2J\u202e" in said
    assert not [line for line in said.splitlines() if line.startswith("     9")]


def test_a_line_shows_what_is_hidden() -> None:
    shown = r"a\nb\x1b\u202e\u2028\udce9ü" + "\u200d"
    assert one_line("a\nb\x1b\u202e\u2028\udce9ü\u200d") == shown


@pytest.mark.parametrize("who", ["", "caf\udce9", "\u202e", "Ann "])
def test_everybody_has_a_queue(who: str) -> None:
    assert sorted(mixed(range(20), [3, 4], who)) == list(range(20))
