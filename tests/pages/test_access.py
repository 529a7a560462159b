"""Who is answered, and what a visitor can make the app read or ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit import config, net_util
from streamlit.web.server.starlette.starlette_websocket import _is_origin_allowed

from core.guard import CONFINED
from core.ui import access


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Set the address that the server listens on; put back afterwards."""
    before = config.get_option("server.address")
    monkeypatch.setenv(CONFINED, "")
    monkeypatch.delenv(CONFINED)
    yield lambda value: config.set_option("server.address", value)
    config.set_option("server.address", before)


async def _page(_: object) -> PlainTextResponse:
    return PlainTextResponse("page")


async def _stream(socket: WebSocket) -> None:
    await socket.accept()
    headers = socket.headers
    await socket.send_json([headers.get("origin"), headers.get("host")])
    await socket.close()


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/", _page), WebSocketRoute("/stream", _stream)]
    app = Starlette(routes=routes, middleware=[Middleware(access.KnownHosts)])
    return TestClient(app, base_url="http://localhost:8501")


def handshake(client: TestClient, host: str, origin: str) -> tuple[str, str]:
    """Origin and Host as the app behind the guard sees them."""
    headers = {"host": host, "origin": origin}
    with client.websocket_connect("/stream", headers=headers) as socket:
        return tuple(socket.receive_json())


LOCAL = ["localhost", "localhost:8501", "LOCALHOST.", "127.0.0.1:8501", "[::1]:8501", "127.9.9.9"]
FOREIGN = ["evil.example", "evil.example:8501", "localhost.evil.example", "10.0.0.5", "", "[",
           "localhost@evil.example", "8.8.8.8:8501"]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL)
def test_the_machine_itself_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200
    origin = f"http://{host}"
    assert client.get("/", headers={"host": host, "origin": origin}).status_code == 200
    assert handshake(client, host, origin) == (origin, host)


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_name_is_refused_on_http_and_websocket(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert answer.text == access.REFUSAL
    with pytest.raises(WebSocketDisconnect):
        handshake(client, host, f"http://{host}")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://", "file://", "http://["]
)
def test_a_page_of_another_site_is_refused(client: TestClient, origin: str) -> None:
    assert client.get("/", headers={"origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect):
        handshake(client, "localhost:8501", origin)


def test_a_wildcard_address_answers_numbers_but_no_page_of_another_number(
    client: TestClient, address: object
) -> None:
    address("0.0.0.0")
    assert client.get("/", headers={"host": "192.168.1.5:8501"}).status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    headers = {"host": "192.168.1.5:8501", "origin": "http://192.168.1.6"}
    assert client.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize("given", ["audit.example", "other.example, Audit.Example:443 "])
def test_names_that_were_given_are_answered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    assert client.get("/", headers={"host": "audit.example"}).status_code == 403
    monkeypatch.setenv("SPURIOSCOPE_HOSTS", given)
    assert client.get("/", headers={"host": "audit.example"}).status_code == 200
    # a proxy may hand on another Host than the browser asked
    seen = handshake(client, "localhost:8501", "https://audit.example")
    assert seen == ("https://audit.example", "audit.example")


def test_streamlit_never_asks_a_public_service_for_our_address(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda url, timeout: asked.append(url))
    monkeypatch.setenv("SPURIOSCOPE_HOSTS", "audit.example")
    for host, origin in (
        ("localhost:8501", "https://audit.example"),
        ("audit.example", "https://audit.example"),
        ("localhost:8501", "http://localhost:3000"),
    ):
        seen = handshake(client, host, origin)
        assert _is_origin_allowed(*seen)
    assert config.get_option("logger.hideWelcomeMessage")  # its banner asks, too
    assert asked == []


@pytest.mark.parametrize(
    ("listening", "hosts", "readonly", "data", "said"),
    [
        (
            "localhost",
            "",
            "",
            "",
            "only this machine reaches it; .* this account can read",
        ),
        ("localhost", "a.example", "", "", "others can reach it; .* the demos alone"),
        ("0.0.0.0", "", "", "/photos", "others can reach it; .* what lies in /photos"),
        ("0.0.0.0", "", "1", "/photos", "others can reach it; a visitor may look at every audit$"),
    ],
)
def test_the_app_says_at_start_what_a_visitor_can_do(
    monkeypatch: pytest.MonkeyPatch,
    address: object,
    listening: str,
    hosts: str,
    readonly: str,
    data: str,
    said: str,
) -> None:
    address(listening)
    monkeypatch.setenv("SPURIOSCOPE_HOSTS", hosts)
    monkeypatch.setenv("SPURIOSCOPE_READONLY", readonly)
    monkeypatch.setenv("SPURIOSCOPE_DATA", data)
    access.confine()
    import re

    assert re.search(said, access.sentence())
