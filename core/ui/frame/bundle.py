"""Streamlit's own scripts, styles and fonts, of which a first page asks for more than a hundred.

Streamlit answers each by several turns of a thread: to look it up, to open it, to read every 64
KiB. While a fresh server imports what its first page needs, every turn waits for the interpreter.
Here they are listed once, and each is answered in one turn.
"""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config, file_util

KINDS = ("js", "css", "media")
"""Folders of Streamlit's build whose files never change: their names hold a digest."""
UNCHANGING = {"cache-control": "public, immutable, max-age=31536000"}
CONDITIONS = {b"range", b"if-none-match", b"if-modified-since", b"if-range"}
"""Headers of requests for something else than a whole file, which are left to Streamlit."""


class Bundle:
    """ASGI middleware that answers requests for whole files of Streamlit's build.

    A request names an entry of the listing, never a path: whatever is not listed goes on to
    Streamlit, and so does everything where the build lies elsewhere than expected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.listed = app, listing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file of the build, or pass the request on."""
        file = self.listed.get(scope["path"]) if _asks_for_file(scope) else None
        if file is None:
            await self.app(scope, receive, send)
            return
        try:
            content = file.read_bytes()
        except OSError:  # an installation that changed under the app: Streamlit says what it says
            await self.app(scope, receive, send)
            return
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        await Response(content, media_type=kind, headers=UNCHANGING)(scope, receive, send)


def listing() -> dict[str, Path]:
    """Every unchanging file of Streamlit's build by the path that a browser asks for."""
    build = Path(file_util.get_static_dir()) / "static"
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    prefix = f"/{base}/static" if base else "/static"
    return {
        f"{prefix}/{kind}/{entry.name}": Path(entry.path)
        for kind in KINDS
        if (build / kind).is_dir()
        for entry in os.scandir(build / kind)
        if entry.is_file()
    }


def _asks_for_file(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and not CONDITIONS & {name for name, _ in scope["headers"]}
    )
