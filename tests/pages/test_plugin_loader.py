"""How what other packages add is loaded: said, skipped, taken back, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.__main__ import main
from core.commands import plugins
from core.corrections.methods import METHODS
from core.data.source import SOURCES
from core.storage.workspace import Workspace
from tests.pages.conftest import Install

ROOT = Path(__file__).resolve().parents[2]


def test_what_was_loaded_and_what_was_skipped_is_said(
    install: Install, capsys: pytest.CaptureFixture[str], empty: Workspace
) -> None:
    found = install(
        corrections="broken:twice",
        attributions="broken:leaving",
        sources="labelled_lines:add",
        measures="no_such_module",
        candidates="broken:NOTHING",
    )
    assert [p.group.rpartition(".")[2] for p in found if p.failure] == [
        *("candidates", "measures", "corrections", "attributions"),
    ]
    why = {p.group.rpartition(".")[2]: p.failure for p in found}
    assert why["corrections"] == (
        "InputError: there is a method 'spufix' already; choose another name"
    )
    assert why["attributions"] == "SystemExit: no licence"
    assert why["candidates"].endswith("is neither a module nor a callable that registers itself")
    assert why["measures"].startswith("ModuleNotFoundError: No module named")
    assert "labelled-lines" in SOURCES
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert all(line.startswith("warning: the plug-in spurioscope.") for line in said)
    assert "broken of extras 2.5 was skipped: InputError: there is a method" in said[2]

    assert main(["doctor", "--workspace", str(empty.root)]) == 0
    out = capsys.readouterr().out
    adds = "adds source of data labelled-lines"
    assert f"plug-in            spurioscope.sources: labelled_lines of extras 2.5 {adds}\n" in out
    assert "spurioscope.measures: no_such_module of extras 2.5 was skipped: Module" in out
    assert main(["doctor", "--json", "--workspace", str(empty.root)]) == 0
    told = json.loads(capsys.readouterr().out)["plugins"]
    assert [plugin["package"] for plugin in told] == ["extras 2.5"] * 5


def test_what_fails_half_way_leaves_nothing(install: Install) -> None:
    before = list(METHODS)
    (found,) = install(corrections="broken:half")
    assert found.failure == "KeyError: 'half way'"
    assert found.adds == ()
    assert list(METHODS) == before


def test_a_process_of_its_own_loads_them(install: Install) -> None:
    """As every command and every job is one."""
    install(corrections="hushed_class:add", sources="broken:leaving")
    done = subprocess.run(
        [sys.executable, "-m", "core", "mitigate", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "hushed-class    Hush the cue in its class." in done.stdout
    assert done.stderr.count("was skipped: SystemExit: no licence") == 1


def test_the_app_loads_them_once(install: Install, empty: Workspace) -> None:

    install(corrections="hushed_class:add")
    del METHODS._all()["hushed-class"]
    plugins._loaded.cache_clear()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30).run()
    assert not app.exception
    assert "hushed-class" in METHODS
    assert not app.run().exception
    assert [p.failure for p in plugins.load()] == [""]
