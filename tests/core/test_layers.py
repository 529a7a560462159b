"""The house: which room may import which, and habits that are cheap to check."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOOR = {
    **{"types": 0, "errors": 0, "config": 0, "glossary": 0, "markdown": 0},
    **{"statistics": 1, "storage": 1},
    **{"data": 2, "models": 2, "jobs": 2},
    **{"demos": 3, "features": 3},
    "candidates": 4,
    "explain": 5,
    "audits": 6,
    "tags": 7,
    **{"trials": 8, "quality": 8},
    "measures": 9,
    "corrections": 10,
    "report": 11,
    "commands": 12,
    "__main__": 13,
    "ui": 14,
}
"""Height of every room of core; imports go down or stay in the room, never up."""

MODULES = sorted((ROOT / "core").rglob("*.py"))
APP = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """Modules imported at run time; those only for types are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    nodes = ast.iter_child_nodes(tree) if top_only else ast.walk(tree)
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "core").parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_never_go_up(path: Path) -> None:
    if room(path) == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "core" and len(parts) > 1 and parts[1] in FLOOR:
            assert FLOOR[parts[1]] <= FLOOR[room(path)], f"{path.name} imports {name}"
            same_floor = FLOOR[parts[1]] == FLOOR[room(path)] and parts[1] != room(path)
            assert not same_floor or FLOOR[parts[1]] < 2, (
                f"{path.name} imports its neighbour {name}"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_ui_knows_streamlit(path: Path) -> None:
    if room(path) != "ui":
        assert not [n for n in imports(path) if n.split(".")[0] == "streamlit"]


@pytest.mark.parametrize("path", MODULES + APP, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_print_no_bare_except_no_star_import(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print" or path.name == "__main__.py"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names)


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__"}
    assert rooms <= set(FLOOR)


def test_the_corridor_has_few_doors() -> None:
    assert len({room(path) for path in MODULES} - {"__init__"}) <= 24


def storey(path: Path) -> str:
    """Folder of core/ui a module lies in, or its own name: of a page that is one file."""
    parts = path.relative_to(ROOT / "core" / "ui").parts
    return parts[0].removesuffix(".py")


PAGES = {path.stem for path in (ROOT / "pages").glob("*.py")}
UI = [path for path in MODULES if room(path) == "ui" and storey(path) != "__init__"]


def test_no_two_modules_bear_one_name() -> None:
    """Within the folder of a page a file is called as what it shows of it, or as the page."""
    outside = [path for path in MODULES if path not in UI or storey(path) not in PAGES]
    names = [path.stem for path in outside if path.name not in ("__init__.py", "__main__.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("path", UI, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_stands_in_the_frame_and_the_frame_on_the_kit(path: Path) -> None:
    mine = storey(path)
    seen = {name.split(".")[2] for name in imports(path) if name.startswith("core.ui.")}
    pages = (seen & PAGES) - {mine}
    assert seen <= PAGES | {"kit", "frame", "warm"}
    if mine == "kit":
        assert seen <= {"kit"}
    elif mine == "frame":
        assert not pages, "the frame knows no page"
    elif mine != "warm":
        assert mine in PAGES
        assert pages <= SHOWS.get(mine, set()), f"{mine} imports pages: {sorted(pages)}"


SHOWS = {
    "findings": {"report"},
    "report": {"measures"},
    "image": {"components"},
    "mitigate": {"new_audit"},
}
"""Pages that show, or start, a piece of another one; warm.py loads all of them in advance."""


def test_no_room_differs_from_another_by_its_ending() -> None:
    rooms = sorted({room(path) for path in MODULES} - {"__init__", "__main__"})
    stems = [name.rstrip("s")[:6] for name in rooms]
    assert len(set(stems)) == len(stems)


def test_every_page_is_registered() -> None:
    shell = (ROOT / "core" / "ui" / "frame" / "shell.py").read_text(encoding="utf-8")
    for path in (ROOT / "pages").glob("*.py"):
        assert f"pages/{path.name}" in shell


EVERY_PAGE = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in UI]
"""Modules of the pages, and what they import where they show something that was found."""


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("core.__main__, core.commands.parser", "torch timm pandas streamlit sklearn scipy plotly"),
        (
            "core.ui.frame.shell, core.ui.overview.overview",
            "torch timm sklearn scipy.stats statsmodels captum",
        ),
        (
            ", ".join([*EVERY_PAGE, "core.trials.crop_words", "core.measures.universal_figures"]),
            "torch timm captum",
        ),
    ],
    ids=["command line", "first page", "every page"],
)
def test_what_starts_imports_nothing_heavy(modules: str, heavy: str) -> None:
    import subprocess
    import sys

    code = f"import sys, {modules}; print(*[m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


SCRIPTS = [*sorted((ROOT / "benchmarks").glob("*.py")), *sorted((ROOT / "docs").glob("*.py"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_no_test_runs_imports_only_what_there_is(path: Path) -> None:
    """Benchmarks and the script of the screenshots import most things where they run."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "core":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                there = hasattr(module, alias.name) or importlib.util.find_spec(
                    f"{node.module}.{alias.name}"
                )
                assert there, f"{node.module} has no {alias.name}"


def test_tests_stand_in_the_room_of_what_they_test() -> None:
    """Beside the folders are only those of the house itself and of the rooms that are one file."""
    tests = ROOT / "tests" / "core"
    files = {path.stem.removeprefix("test_") for path in tests.glob("test_*.py")}
    rooms = {path.name for path in tests.iterdir() if list(path.glob("test_*.py"))}
    assert rooms <= set(FLOOR)
    assert files <= set(FLOOR) | {"layers", "circles", "portable"}
