"""Documents as values: read, written as they were, and refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal

import pytest

from core.audits.audit_summary import Summary
from core.audits.audited import AuditedClass
from core.config import FORMAT
from core.errors import WorkspaceError
from core.storage.audit_manifest import Manifest
from core.storage.files import as_bytes, read_value, write_json
from core.storage.json_values import JsonValue, Mismatch, called, later
from core.storage.layout import AuditFiles
from core.storage.workspace import Workspace, fingerprint, read_manifest
from tests.core.run_fixture import manifest_facts
from tests.golden import make


@dataclass(frozen=True)
class Part(JsonValue):
    name: str
    size: float = nan


@dataclass(frozen=True)
class Whole(JsonValue):
    n: int
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part] = later(None)
    way: Literal["left", "right"] = "left"
    long_name: float | str = called("long name", "")
    found: Part | None = later(None)


LEAST: dict[str, Any] = {"n": 1, "parts": [{"name": "a", "size": 2}, {"name": "b", "size": None}]}


@pytest.fixture(scope="module")
def stored() -> Iterator[list[Path]]:
    """Folders of audits that an earlier commit made."""
    with make.opened() as root:
        yield sorted((root / "workspace" / "audits").iterdir())


def test_entries_become_values() -> None:
    whole = Whole.from_json({**LEAST, "by_name": {"c": {"name": "c"}}, "long name": 3})
    assert (whole.n, whole.parts[0], whole.way) == (1, Part("a", 2), "left")
    assert isnan(whole.parts[1].size)
    assert (whole.by_name["c"].name, whole.long_name, whole.found) == ("c", 3, None)
    with pytest.raises(FrozenInstanceError):
        whole.n = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": "1"}, "n is of another kind"),
        ({"n": True}, "n is of another kind"),
        ({"parts": {}}, "parts is no list"),
        ({"parts": [1]}, r"parts\[\] is no object"),
        ({"parts": [{}]}, r"parts\[\]\.name is missing"),
        ({"by_name": []}, "by_name is no object"),
        ({"by_name": {"c": {"name": 1}}}, r"by_name\.c\.name is of another kind"),
        ({"way": "up"}, "way is none of left, right"),
        ({"long name": []}, "long name is of another kind"),
        ({"found": 1}, "found is of another kind"),
    ],
)
def test_what_is_odd_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Mismatch, match=said):
        Whole.from_json({**LEAST, **change})


def test_what_is_no_object_is_said() -> None:
    with pytest.raises(Mismatch, match="it is no object"):
        Whole.from_json([])


def test_a_document_is_written_as_it_was_read() -> None:
    for document in (
        LEAST,
        {"later": {"b": 1, "a": [None]}, **LEAST},
        {"found": None, "way": "left", "parts": [], "n": 0, "long name": 1.5},
    ):
        assert as_bytes(Whole.from_json(document)) == as_bytes(document)


def test_what_is_made_here_has_every_entry_but_those_of_later() -> None:
    whole = Whole(1, ())
    assert whole.to_json() == {"n": 1, "parts": [], "way": "left", "long name": ""}
    assert replace(whole, found=Part("c")).to_json()["found"] == {"name": "c", "size": whole_nan()}


def whole_nan() -> Any:
    return pytest.approx(nan, nan_ok=True)


def test_a_change_comes_after_what_was_there() -> None:
    whole = replace(Whole.from_json({"x": 1, **LEAST}), n=2, way="right")
    assert list(whole.to_json()) == ["x", "n", "parts", "way"]
    assert whole.to_json()["n"] == 2
    assert list(Whole.from_json(LEAST).with_entries(way="left").to_json()) == ["n", "parts", "way"]


def test_manifests_of_before_are_written_as_they_are(stored: list[Path]) -> None:
    assert len(stored) == 4
    for folder in stored:
        path = folder / "manifest.json"
        assert as_bytes(read_manifest(folder)) == path.read_bytes()
        other = {"new": [1], **json.loads(path.read_text("utf-8")), "x": {"y": None}}
        other["compute"]["cores"] = 8
        assert as_bytes(Manifest.of_folder(other, folder.name)) == as_bytes(other)


def test_summaries_and_classes_of_before_are_written_as_they_are(stored: list[Path]) -> None:
    for folder in stored:
        files = AuditFiles(folder)
        summary = read_value(files.summary, Summary)
        assert as_bytes(summary) == files.summary.read_bytes()
        for facts in summary.classes:
            path = files.of_class(facts.class_idx).facts
            assert as_bytes(read_value(path, AuditedClass)) == path.read_bytes()
        other = {"new": [1], **json.loads(files.summary.read_text("utf-8")), "x": {"y": None}}
        other["classes"][0] = {"z": 1, **other["classes"][0], "accuracy": None}
        assert as_bytes(Summary.from_json(other)) == as_bytes(other)


def test_a_fingerprint_is_of_the_parts_as_they_are_stored(stored: list[Path]) -> None:
    for folder in stored:
        parts = json.loads((folder / "manifest.json").read_text("utf-8"))["parts"]
        assert fingerprint(read_manifest(folder).parts) == fingerprint(parts)


def test_a_manifest_of_before_lacks_what_came_later(tmp_path: Path) -> None:
    write_json(tmp_path / "x" / "manifest.json", manifest_facts())
    found = read_manifest(tmp_path / "x")
    assert (found.compute.hardware, found.compute.tried, found.data.moved) == (True, (), None)
    assert (found.mitigation, found.parts.weights) == (None, "unknown")


@pytest.mark.parametrize("more", [{}, {"model": "x", "compute": None}, {"data": {"where": 1}}])
def test_another_format_is_listed_and_refused_in_a_sentence(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    workspace = Workspace(tmp_path)
    facts = {"format": FORMAT + 1, "name": "newer", "created": "2030", **more}
    write_json(workspace.files("n").manifest, facts)
    assert [m.name for m in workspace.manifests()] == ["newer"]
    with pytest.raises(WorkspaceError, match=f"written in format {FORMAT + 1}, this version reads"):
        workspace.find("newer")
    assert workspace.delete("newer").format == FORMAT + 1
