"""Pictures over HTTP: addresses that never change their content, drawn when first asked for."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from streamlit import config

from core.errors import InputError
from core.ui.frame.access import has_signed_in

Render = Callable[[str, str, Mapping[str, str]], tuple[bytes, str] | None]
"""(kind, name, parameters) to (content, content type), or None where there is no such picture."""

PREFIX = "pictures"
"""First part of every address. "media", "static" and "component" are taken by Streamlit itself."""

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_KEPT = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",  # other sites may not show private photos
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
_NOT_KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_logger = logging.getLogger(__name__)


def media_url(kind: str, name: str, params: Mapping[str, str] | None = None) -> str:
    """Address of a picture, absolute on this server, below `server.baseUrlPath` if that is set.

    Browsers keep the answer for a year, so `name` or `params` must contain everything that the
    picture depends on.

    Raises
    ------
    InputError
        If a part of the address is not made of letters, digits and "._-", or starts with a dot.
    """
    params = params or {}
    if not _is_safe(kind, name, params):
        raise InputError(
            f"Cannot make an address of {kind!r}, {name!r}, {dict(params)!r}: every part must be "
            'made of letters, digits, ".", "_" and "-", and must not start with a dot.'
        )
    query = f"?{urlencode(params)}" if params else ""
    return f"{_base()}/{kind}/{name}{query}"


def media_routes(render: Render, *, workers: int | None = None) -> list[Route]:
    """Routes that answer `media_url` addresses with what `render` returns.

    Parameters
    ----------
    render : called in a thread, only with names made of harmless parts. None is answered with 404,
        an exception with 500 and an entry in the log.
    workers : pictures drawn at the same time; by default one per processor. The limit leaves
        Streamlit's own threads free to serve the page.
    """
    limiter = CapacityLimiter(workers or os.cpu_count() or 1)

    async def answer(request: Request) -> Response:
        kind, name = request.path_params["kind"], request.path_params["name"]
        params = dict(request.query_params)
        if not _is_safe(kind, name, params):
            return _refusal(404, "There is no such picture.")
        if not has_signed_in(request.cookies):
            return _refusal(403, "Sign in to see the pictures.")
        try:
            drawn = await to_thread.run_sync(render, kind, name, params, limiter=limiter)
        except Exception:
            _logger.exception("Drawing the picture %s/%s failed", kind, name)
            return _refusal(500, "The picture could not be drawn. The log of the app says why.")
        if drawn is None:
            return _refusal(404, "There is no such picture.")
        return _picture(request, *drawn)

    return [Route(f"{_base()}/{{kind}}/{{name:path}}", answer, methods=["GET", "HEAD"])]


def _picture(request: Request, content: bytes, content_type: str) -> Response:
    etag = f'"{blake2b(content, digest_size=16).hexdigest()}"'
    headers = {**_KEPT, "ETag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    headers |= {"Content-Type": content_type, "Content-Length": str(len(content))}
    return Response(b"" if request.method == "HEAD" else content, headers=headers)


def _refusal(status: int, sentence: str) -> Response:
    return PlainTextResponse(sentence, status, headers=_NOT_KEPT)


def _is_safe(kind: str, name: str, params: Mapping[str, str]) -> bool:
    parts = [kind, *name.split("/"), *params.keys(), *params.values()]
    return all(map(_is_part, parts))


@lru_cache(maxsize=2048)
def _is_part(text: str) -> bool:
    return _PART.fullmatch(text) is not None and ".." not in text


def _base() -> str:
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}/{PREFIX}" if base else f"/{PREFIX}"
