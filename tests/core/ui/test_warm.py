"""A server that starts: what is imported before it listens, and that collections come back."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from streamlit import delta_generator, env_util

from core.errors import InputError
from core.ui import warm
from core.ui.frame import access

ROOT = Path(__file__).resolve().parents[3]
LATER = ("pandas", "pyarrow", "torch", "sqlalchemy", "scipy", "sklearn", "core.audits.audit")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(delta_generator, "_use_warning_has_been_displayed", False)
    monkeypatch.setattr(warm, "FIRST", threading.Event())
    monkeypatch.setattr(warm, "PATIENCE", 0.0)
    yield
    gc.enable()
    gc.unfreeze()


def test_a_server_listens_before_what_its_pages_need_is_imported() -> None:
    code = f"import sys, app; print([name for name in {LATER!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_start_looks_at_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(env_util, "is_repl", lambda: asked.append(1))
    delta_generator._maybe_print_use_warning()
    assert asked == [1]  # what a first element does without it
    delta_generator._use_warning_has_been_displayed = False
    warm.begin()
    delta_generator._maybe_print_use_warning()
    assert asked == [1]


@pytest.mark.parametrize("error", [None, InputError("damaged"), RuntimeError("unforeseen")])
def test_collections_come_back_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    seen = []

    def first() -> None:
        seen.append(gc.isenabled())
        if error:
            raise error

    monkeypatch.setattr(warm, "_load_first", first)
    monkeypatch.setattr(warm, "_load_later", lambda: seen.append(gc.isenabled()))
    warm.begin()
    if error:
        with pytest.raises(type(error)):
            warm._load()
    else:
        warm._load()
    assert gc.isenabled()
    assert seen == [False] if error else [False, True]


def test_the_start_up_ends_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    @asynccontextmanager
    async def announced(_):
        events.append("announced")
        yield

    monkeypatch.setattr(access, "announced", announced)
    monkeypatch.setattr(warm, "warm_up", lambda: events.append("loading"))
    monkeypatch.setattr(warm, "LISTENING", 0.0)

    async def start() -> None:
        async with warm.lifespan(None):
            events.append("started")
            await asyncio.sleep(0.05)

    asyncio.run(start())
    assert events == ["announced", "started", "loading"]


def test_a_start_that_is_refused_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    @asynccontextmanager
    async def refused(_):
        raise SystemExit(2)
        yield

    monkeypatch.setattr(access, "announced", refused)
    monkeypatch.setattr(warm, "warm_up", lambda: events.append("loading"))

    async def start() -> None:
        async with warm.lifespan(None):
            raise AssertionError("started")

    with pytest.raises(SystemExit):
        asyncio.run(start())
    assert events == []


def test_arguments_that_nobody_reads_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``streamlit run app.py -- --workspace DIR`` would open another workspace in silence."""
    said: list[str] = []
    monkeypatch.setattr(access, "say", said.append)
    monkeypatch.setenv("SPURIOSCOPE_WORKSPACE", str(tmp_path))

    async def start() -> None:
        async with access.announced(None):
            pass

    monkeypatch.setattr(sys, "argv", [str(tmp_path / "app.py"), "--workspace", "my work"])
    with pytest.raises(SystemExit):
        asyncio.run(start())
    assert "it was given --workspace 'my work'): set SPURIOSCOPE_WORKSPACE" in said[0]
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "app.py")])
    asyncio.run(start())
    assert said[1].startswith("Spurioscope at ")
