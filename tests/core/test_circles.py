"""No module needs itself, over others, to do its work; imports inside functions count."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pytest

from tests.core.test_layers import MODULES, ROOT, imports

Needs = dict[str, set[str]]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needs(paths: list[Path]) -> Needs:
    """What every module imports of the others; ``from a import b`` is the module a.b, or a."""
    known = {name_of(path) for path in paths}
    found: Needs = {}
    for path in paths:
        names = {name if name in known else name.rpartition(".")[0] for name in imports(path)}
        found[name_of(path)] = (names & known) - {name_of(path)}
    return found


def circle(graph: Needs) -> list[str]:
    """The modules of a circle, each needed by the next; empty where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_needs_itself_over_others() -> None:
    assert circle(needs(MODULES)) == []


@pytest.mark.parametrize("lazily", [False, True])
def test_a_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazily: bool) -> None:
    monkeypatch.setattr("tests.core.test_circles.ROOT", tmp_path)
    (tmp_path / "a.py").write_text("import b\n")
    (tmp_path / "b.py").write_text("def f():\n    import a\n" if lazily else "import a\n")
    assert set(circle(needs([tmp_path / "a.py", tmp_path / "b.py"]))) == {"a", "b"}
    (tmp_path / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n"
    )
    assert circle(needs([tmp_path / "a.py", tmp_path / "b.py"])) == []
