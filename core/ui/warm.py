"""What a fresh server does while the browser is still loading: import, and open an audit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping

FIRST = threading.Event()
"""Set when the first page was drawn: what later pages need must not slow that one down."""
PATIENCE = 10.0
"""Seconds after which the rest is loaded although nobody came."""


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
    from core.errors import SpurioscopeError
    from core.ui.frame import opened, shell
    from core.ui.overview import overview

    # whatever is damaged is said on the page that needs it
    with contextlib.suppress(SpurioscopeError, OSError, ValueError):
        if audits := opened.finished_audits():
            overview.prepare(opened.open_audit(audits[0].id))
    if FIRST.wait(PATIENCE):
        time.sleep(1.0)  # its pictures are still being fetched
    import plotly.graph_objects

    from core.ui import ranking  # the pages after it
    from core.ui.components import components  # the pages after it
    from core.ui.frame import cards  # the pages after it
    from core.ui.map import map  # the pages after it

    del shell, cards, components, map, ranking, plotly
