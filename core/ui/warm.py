"""What a fresh server does before its first page: import what listening takes, then the rest.

A browser that waits for the first page keeps a core busy itself, so what is saved here is seen: no
collection of garbage while thousands of modules are imported, which frees nothing; nothing beside
the server until it listens; no look at every module for whether Python is interactive.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

FIRST = threading.Event()
"""Set when the first page was drawn: what later pages need must not slow that one down."""
PATIENCE = 10.0
"""Seconds after which the rest is loaded although nobody came."""
PICTURES = 2.0
"""Seconds that a browser takes to fetch the scripts and pictures of the page that was drawn."""
LISTENING = 0.1
"""Seconds from the end of the start-up to the first answer."""


def begin() -> None:
    """Called first in a server that starts, before the rest of the app is imported."""
    from streamlit import delta_generator

    gc.disable()
    # "use streamlit run": told once per process, after a search of all modules for who started it
    delta_generator._use_warning_has_been_displayed = True


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Say where the app is, and load what its first page needs once it listens."""
    import asyncio

    from core.ui.frame.access import announced

    async with announced(app):
        asyncio.get_running_loop().call_later(LISTENING, warm_up)
        yield


def render(kind: str, name: str, params: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Draw as :mod:`core.ui.frame.pictures`, which the server need not load to listen."""
    from core.ui.frame import pictures

    return pictures.render(kind, name, params)


def warm_up() -> threading.Thread:
    """Import what the first page needs and read the newest audit; returns at once."""
    thread = threading.Thread(target=_load, name="warm-up", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    try:
        _load_first()
        if FIRST.wait(PATIENCE):
            time.sleep(PICTURES)
    finally:
        gc.freeze()  # what was loaded stays: no later collection need look at it
        gc.enable()
    _load_later()


def _load_first() -> None:
    from core.errors import SpurioscopeError
    from core.ui.frame import opened, shell
    from core.ui.overview import overview

    # whatever is damaged is said on the page that needs it
    with contextlib.suppress(SpurioscopeError, OSError, ValueError):
        if audits := opened.finished_audits():
            overview.prepare(opened.open_audit(audits[0].id))
    del shell


def _load_later() -> None:
    """What the pages after the first need."""
    import plotly.graph_objects

    from core.ui import ranking
    from core.ui.components import components
    from core.ui.frame import cards
    from core.ui.map import map

    del cards, components, map, ranking, plotly
