"""Only core/storage opens and writes files of ours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

MODULES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "core").rglob("*.py"))
    if path.parent.name != "storage"
]

READERS_AND_WRITERS = {
    *("np.save", "np.savez", "np.savez_compressed", "np.load", "np.memmap", "json.load"),
    *("json.loads", "json.dump", "pd.read_parquet", "pd.read_csv", "pd.read_json", "open"),
    *("torch.load", "torch.save", "os.open", "shutil.copyfile", "shutil.copy"),
}
"""Functions that read or write a file or its content."""

METHODS = {
    *("write_bytes", "write_text", "read_bytes", "read_text", "to_parquet", "to_csv"),
    *("open",),
}
"""Methods that do so, of paths and tables."""

OPENERS = {"Audit", "Image", "TagStore", "archive", "file", "webbrowser", "zipfile"}
"""What has a method ``open`` that opens something else: an audit, tags, a picture, a record."""

THEIRS = {
    "core/audits/export.py": "the file that --out names",
    "core/commands/image_groups.py": "the list of images that a user names",
    "core/commands/reports.py": "the report that --out names",
    "core/corrections/audit_generator.py": "the images that --out names",
    "core/corrections/card.py": "the card beside an exported model",
    "core/corrections/package.py": "an exported model",
    "core/data/check.py": "images that a visitor points at",
    "core/data/copies.py": "images of a library, exported once, and the notes on them",
    "core/data/decode.py": "images of a data set",
    "core/data/foreign.py": "what the process that decodes answers",
    "core/data/hub.py": "images of a hub",
    "core/data/manifest.py": "the list of images that a user wrote",
    "core/data/parquet_pictures.py": "what another library says of a table of images",
    "core/demos/catalogue.py": "what a data set says of itself",
    "core/demos/listed.py": "the list of a data set that is drawn",
    "core/demos/solar.py": "a data set that is laid out",
    "core/jobs/jobs.py": "logs and locks of processes, written line by line",
    "core/jobs/runner.py": "the memory that the system grants",
    "core/measures/published_line.py": "a table of accuracies that a user has",
    "core/measures/rules.py": "the rules that a user wrote",
    "core/models/archive.py": "checkpoints of a user",
    "core/models/array_pickle.py": "weights inside a package",
    "core/models/hugging_face.py": "a folder that another library wrote",
    "core/models/squeezenet.py": "weights inside a package",
    "core/models/weights.py": "checkpoints of a user",
    "core/report/appendix.py": "the appendix that a user names",
    "core/report/document.py": "a table as text, inside the page",
    "core/report/formats.py": "exports for other tools",
    "core/report/pdf.py": "pages for the browser that prints them",
    "core/tags/exchange.py": "tags that a user takes along or brings",
    "core/tags/journal.py": "the log of a database",
    "core/ui/kit/component.py": "assets of the pages",
    "core/ui/frame/bundle.py": "scripts, styles and fonts of Streamlit's build",
    "core/ui/frame/drawn.py": "pictures that can be drawn again and have no digest",
    "core/ui/mitigate/effect.py": "a download",
}
"""Modules that read or write what is no file of an audit, and what it is."""


def opened(path: Path) -> list[str]:
    """Calls that read or write files, as ``line: call``."""
    return [
        f"{node.lineno}: {said}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and (said := _opens(node.func))
    ]


def _opens(function: ast.expr) -> str:
    said = ast.unparse(function)
    if said in READERS_AND_WRITERS:
        return said
    if isinstance(function, ast.Attribute) and function.attr in METHODS:
        other = function.attr == "open" and ast.unparse(function.value) in OPENERS
        return "" if other else said
    return ""


@pytest.mark.parametrize("name", MODULES)
def test_only_storage_opens_and_writes_files_of_ours(name: str) -> None:
    if name not in THEIRS:
        assert opened(ROOT / name) == []


def test_the_exceptions_are_needed() -> None:
    assert [name for name in THEIRS if not opened(ROOT / name)] == []
