"""Every path of an audit is spelt once, in core/storage/layout.py."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.storage import layout

ROOT = Path(__file__).resolve().parents[3]

MODULES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*(ROOT / "core").rglob("*.py"), *(ROOT / "pages").glob("*.py")])
    if path.parent.name != "storage"
]

FILES = {
    inside.name.rpartition("/")[2]
    for kind in vars(layout).values()
    if isinstance(kind, type) and issubclass(kind, layout.Files)
    for inside in vars(kind).values()
    if isinstance(inside, layout.Inside) and "." in inside.name
}
"""Names of files of an audit."""

FOLDERS = {*layout.PASS, *layout.ON_DEMAND, layout.HEAD, layout.CLASSES}
FOLDERS |= {layout.PICTURES, "lock", "image"}

ENDINGS = (".npy", ".parquet", ".json", ".lock")

OTHERS = {
    "core/audits/export.py": "arrays inside the archive that --out names",
    "core/commands/explain.py": "what is written into the folder that --out names",
    "core/commands/terminal.py": "the progress of a job, of the workspace",
    **{
        f"core/demos/{name}.py": "what a drawn data set says of itself"
        for name in ("catalogue", "listed")
    },
    "core/models/hugging_face.py": "a processor in a folder that another library wrote",
    "core/jobs/jobs.py": "files of a job, of the workspace",
    "core/jobs/runner.py": "files of a job, of the workspace",
    "core/report/appendix.py": "tables inside the appendix that --appendix names",
}
"""Modules that make up names of files which are none of an audit, and what they are."""


def test_the_layout_knows_the_files_of_an_audit() -> None:
    assert {"manifest.json", "summary.json", "oof.npy", "key.json", "rows.parquet"} <= FILES


def spelt(path: Path) -> list[str]:
    """Names of files and folders of an audit that a module spells, as ``line: name``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [f"{line}: {name}" for line, name in _names(tree)]


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            last = node.values[-1]
            if isinstance(last, ast.Constant) and re.fullmatch(
                r"[\w.-]*(\.npy|\.parquet|\.json|\.lock)", str(last.value)
            ):
                yield node.lineno, ast.unparse(node)
        said = isinstance(node, ast.Constant) and id(node) not in documentation
        if isinstance(node, ast.Constant) and said and node.value in FILES:
            yield node.lineno, str(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            name = node.right.value if isinstance(node.right, ast.Constant) else None
            if name in FOLDERS or str(name).endswith(ENDINGS):
                yield node.lineno, str(name)


@pytest.mark.parametrize("name", MODULES)
def test_no_other_room_spells_a_path_of_an_audit(name: str) -> None:
    if name not in OTHERS:
        assert spelt(ROOT / name) == []


def test_the_exceptions_are_needed() -> None:
    assert [name for name in OTHERS if not spelt(ROOT / name)] == []


def test_no_two_things_of_an_audit_have_one_path(tmp_path: Path) -> None:
    files = layout.AuditFiles(tmp_path)
    paths = [
        getattr(files, name)
        for name, kind in vars(layout.AuditFiles).items()
        if isinstance(kind, layout.Inside)
    ]
    paths += [files.plan("000"), files.carried_to(0), files.outcome("noise", "k", 0)]
    paths += [files.outcome("noise", "k"), files.measure("gap", "k"), files.cost("k")]
    assert len({str(getattr(path, "folder", path)) for path in paths}) == len(paths)


def test_a_shard_says_which_slice_it_is(tmp_path: Path) -> None:
    shard = layout.AuditFiles(tmp_path).shard("001", 12)
    assert (shard.folder.name, shard.plan, shard.number) == ("001-00012", "001", 12)
