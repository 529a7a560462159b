"""Who reaches the app and what they may do: known hosts, folders to read, one line at start.

A page of another site can make a browser send requests here, and a name that suddenly resolves to
127.0.0.1 (DNS rebinding) makes such a page look like one of ours. So only known names are answered,
on HTTP and on the websocket: localhost, the given ``server.address`` and those in
``$SPURIOSCOPE_HOSTS`` (separated by commas).
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config
from streamlit.runtime.secrets import secrets_singleton

from core.errors import InputError, SpurioscopeError
from core.storage.guard import CONFINED, folders
from core.storage.roles import role
from core.storage.workspace import Workspace

WILDCARDS = {"", "0.0.0.0", "::"}
"""Addresses that listen on every interface."""

REFUSAL = (
    "This app does not answer to that name. If it is the app's own, start it with "
    "SPURIOSCOPE_HOSTS=NAME."
)


class KnownHosts:
    """ASGI middleware that answers only requests whose Host, and Origin if any, are known.

    An Origin that is known stands for the Host towards Streamlit, which would otherwise ask a
    public service for this machine's address to compare them (a proxy may rewrite the Host).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host, origin = _text(headers.get(b"host")), headers.get(b"origin")
        if not is_known(host) or (origin is not None and not is_known_origin(_text(origin), host)):
            await _refuse(scope, send)
            return
        if origin is not None and scope["type"] == "websocket":
            netloc = origin.partition(b"://")[2]
            kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {**scope, "headers": [*kept, (b"host", netloc)]}
        await self.app(scope, receive, send)


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "unknown host"})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": REFUSAL.encode()})


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")


def is_known_origin(origin: str, host: str) -> bool:
    """Whether the page that asks is one of ours: of the host asked, or of a name that was given."""
    scheme, _, netloc = origin.partition("://")
    name = _hostname(netloc)
    return scheme in ("http", "https") and bool(name) and name in {_hostname(host), *_named()}


def _hostname(netloc: str) -> str:
    """The host without its port, in one spelling; empty where there is none."""
    netloc = netloc.strip()
    if _number(netloc) is not None:  # an IPv6 address without its brackets
        return netloc.lower()
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def is_known(netloc: str) -> bool:
    """Whether the app answers to a host, with or without a port.

    Any number of the machine counts where the app listens on every interface: a number, unlike a
    name, cannot be pointed elsewhere.
    """
    name = _hostname(netloc)
    number = _number(name)
    if number is not None:
        return number.is_loopback or _address() in WILDCARDS or name in _named()
    return name == "localhost" or name in _named()


def _number(name: str) -> Any:
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        return None


def _address() -> str:
    return str(config.get_option("server.address") or "").lower()


def _named() -> set[str]:
    """Names that whoever started the app gave it."""
    listed = os.environ.get("SPURIOSCOPE_HOSTS", "").split(",")
    return {_hostname(name) for name in (*listed, _address())} - WILDCARDS


def served_here_only() -> bool:
    """Whether only this machine can reach the app, as far as the settings say."""
    number = _number(_address())
    here = _address() == "localhost" or (number is not None and number.is_loopback)
    return here and not os.environ.get("SPURIOSCOPE_HOSTS", "").strip()


def providers() -> list[str]:
    """Providers of sign-in that ``.streamlit/secrets.toml`` names; empty: only the default."""
    section = secrets_singleton.get("auth") or {}
    return [name for name, facts in section.items() if hasattr(facts, "items")]


def signs_in() -> bool:
    """Whether people sign in here: ``.streamlit/secrets.toml`` has a section ``auth``."""
    return bool(secrets_singleton.load_if_toml_exists() and secrets_singleton.get("auth"))


def account() -> str | None:
    """Who is signed in, in words; empty before that; None where nobody signs in here."""
    if not signs_in():
        return None
    if not st.user.get("is_logged_in"):
        return ""
    return str(st.user.get("email") or st.user.get("name") or st.user.get("sub") or "unnamed")


def has_signed_in(cookies: Mapping[str, str]) -> bool:
    """Whether a request that runs no page comes from somebody signed in, where people sign in."""
    from streamlit.web.server.starlette import starlette_websocket as websocket

    if not signs_in():
        return True
    return bool(websocket._get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE))


USER_COOKIE = "_streamlit_user"
"""Cookie that Streamlit signs when somebody has signed in."""


def confine() -> None:
    """Let this process and its jobs read only below ``$SPURIOSCOPE_DATA`` if it serves others."""
    if not served_here_only():
        os.environ.setdefault(CONFINED, os.environ.get("SPURIOSCOPE_DATA", ""))


def sentence() -> str:
    """What a visitor can do under the settings of this process."""
    who = "only this machine reaches it" if served_here_only() else "others can reach it"
    who += ", and signs in first" if signs_in() else ""
    may = {
        "view": "look at every audit",
        "tag": "look at every audit and tag",
        "run": f"look at every audit, tag, and start audits of {_readable()}",
    }[role()]
    return f"{who}; a visitor may {may}"


def _readable() -> str:
    if served_here_only():
        return "whatever this account can read"
    named = ", ".join(map(str, folders()))
    return f"what lies in {named}" if named else "the demos alone (no SPURIOSCOPE_DATA is set)"


@asynccontextmanager
async def announced(_: Any) -> AsyncIterator[None]:
    """Say at start where the app is and who may do what, in one line."""
    confine()
    address = "localhost" if _address() in {*WILDCARDS, "localhost"} else _address()
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    url = f"http://{address}:{config.get_option('server.port')}/{base}"
    try:
        _take_no_arguments()
        workspace = Workspace.default()
    except SpurioscopeError as error:  # before anybody has opened a page
        say(f"cannot start: {error}")
        raise SystemExit(error.exit_code) from None
    say(f"Spurioscope at {url} (workspace {workspace.place}): {sentence()}.{kept(workspace)}")
    yield


def _take_no_arguments() -> None:
    """Raise InputError where somebody gave the app arguments, which it would not read."""
    script, *given = sys.argv
    if given and Path(script).name == "app.py":
        raise InputError(
            f"the app takes no arguments (it was given {shlex.join(given)}): set "
            "SPURIOSCOPE_WORKSPACE, SPURIOSCOPE_DATA and the like in the environment, and give "
            "options of Streamlit before --"
        )


def kept(workspace: Workspace) -> str:
    """Where tags are kept that cannot be in the bucket of a workspace; empty without one."""
    if workspace.place == str(workspace.root):
        return ""
    tags = "in the database" if workspace.database else f"in {workspace.root}, on this machine only"
    note = f" Note: {workspace.note}." if workspace.note else ""
    return f" Tags are kept {tags}; jobs and copies of what is read in {workspace.root}.{note}"


def say(line: str) -> None:
    """One line on the terminal that the app was started from."""
    os.write(1, f"\n  {line}\n\n".encode())
