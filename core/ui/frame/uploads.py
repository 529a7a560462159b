"""What is taken in over Streamlit's upload route, which any client can call without the page.

Streamlit bounds one file (``server.maxUploadSize``) and keeps it in memory until its session ends,
however many there are, whether or not a page asked for one and whether or not anybody signed in.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config, runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.storage.roles import read_only
from core.ui.frame.access import has_signed_in

ROUTE = "/_stcore/upload_file/"
TAKING = ("PUT", "POST", "PATCH")
"""Methods that bring something."""

FILES = 4
"""Files that one session may hold; the page asks for one at a time."""

KEPT = 10
"""Files of the largest size that all sessions may hold, those on their way included."""


class Uploads:
    """ASGI middleware that refuses a file before a byte of it is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self._coming = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or not _brings_file(scope):
            await self.app(scope, receive, send)
            return
        if refusal := _refusal(scope, self._coming):
            await _refuse(send, *refusal)
            return
        self._coming += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._coming -= 1


def taken(file: UploadedFile) -> bytes:
    """Content of a file that a page asked for, which is not kept for a second run of the page."""
    content = file.getvalue()
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
    return content


def _brings_file(scope: Scope) -> bool:
    return ROUTE in scope["path"] and scope["method"] in TAKING


def _refusal(scope: Scope, coming: int) -> tuple[int, str] | None:
    """Status and sentence, or None if the file may come."""
    if read_only():
        return 403, "Nothing can be changed in a presentation."
    if not has_signed_in(Request(scope).cookies):
        return 403, "Sign in first."
    mine, all_bytes = _held(scope["path"].partition(ROUTE)[2].partition("/")[0])
    if mine >= FILES:
        return 429, "This page holds several files already. Reload it, then choose one."
    largest = int(config.get_option("server.maxUploadSize")) * 2**20
    if all_bytes + coming * largest > (KEPT - 1) * largest:
        return 503, "Too many files are being looked at. Try again in a minute."
    return None


def _held(session: str) -> tuple[int, int]:
    """Files of one session, and bytes of all."""
    if not runtime.exists():
        return 0, 0
    storage = getattr(runtime.get_instance().uploaded_file_mgr, "file_storage", {})
    kept = {name: list(files.values()) for name, files in list(storage.items())}
    return len(kept.get(session, ())), sum(len(f.data) for files in kept.values() for f in files)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
