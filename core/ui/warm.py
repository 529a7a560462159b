"""What a fresh server does while the browser is still loading: import, and open an audit."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping


def render(kind: str, name: str, params: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Draw a picture as :mod:`core.ui.pictures` does, which the server need not load to listen."""
    from core.ui import pictures

    return pictures.render(kind, name, params)


def warm_up() -> threading.Thread:
    """Import what the first page needs and read the newest audit; returns at once."""
    thread = threading.Thread(target=_load, name="warm-up", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    from core.errors import SpurioscopeError
    from core.ui import opened, overview, shell

    audits = opened.finished_audits()
    # whatever is damaged is said on the page that needs it
    with contextlib.suppress(SpurioscopeError, OSError, ValueError):
        if audits:
            overview.prepare(opened.open_audit(audits[0]["id"]))
    import plotly.graph_objects

    from core.ui import cards, components, map, ranking  # the pages after it

    del shell, cards, components, map, ranking, plotly
