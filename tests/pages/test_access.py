"""Who is answered, and what a visitor can make the app read or ask."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit import config, net_util
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from streamlit.web.server.starlette.starlette_websocket import _is_origin_allowed

from core.audits.audit import Audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.errors import WorkspaceError
from core.jobs import jobs
from core.storage.guard import CONFINED
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from core.ui.frame import access, shell
from core.ui.frame.media import media_routes
from tests.pages.conftest import Open


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
FOREIGN = [
    "evil.example",
    "evil.example:8501",
    "localhost.evil.example",
    "10.0.0.5",
    "",
    "[",
    "localhost@evil.example",
    "8.8.8.8:8501",
]


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
    assert re.search(said, access.sentence())


ACCOUNT = {"is_logged_in": True, "email": "ann@lab.example", "name": "Ann"}


@pytest.fixture
def signing_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """An app that asks for sign-in; the dictionary is who is signed in."""
    user: dict[str, object] = {"is_logged_in": False}
    monkeypatch.setattr(access, "signs_in", lambda: True)
    monkeypatch.setattr(access, "providers", list)
    monkeypatch.setattr(access.st, "user", user)
    return user


def test_nothing_is_shown_before_somebody_has_signed_in(
    workspace: Workspace, opened: Open, signing_in: dict[str, object]
) -> None:
    app = opened("overview")
    assert [title.value for title in app.title] == ["Spurioscope"]
    assert [button.label for button in app.button] == ["Sign in"]
    assert not app.selectbox
    signing_in.update(ACCOUNT)
    assert any("first" in box.options for box in app.run().selectbox)


def test_the_annotator_is_the_account(
    workspace: Workspace, audit: Audit, opened: Open, signing_in: dict[str, object]
) -> None:
    signing_in.update(ACCOUNT)
    app = opened("tagging", audit=audit.id)
    app.session_state["annotator"] = "somebody else"
    assert "Your name" not in [field.label for field in app.text_input]
    next(button for button in app.button if "Spurious" in button.label).click().run()
    assert {e.annotator for e in TagStore.open(workspace).current(audit.id)} == {"ann@lab.example"}


def test_pictures_need_the_cookie_of_whoever_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Starlette(routes=media_routes(lambda *_: (b"drawn", "image/png")))
    client = TestClient(app)
    url = "/pictures/photo/0123456789ab/x.jpg"
    assert client.get(url).status_code == 200
    monkeypatch.setattr(access, "signs_in", lambda: True)
    assert client.get(url).status_code == 403
    client.cookies.set(access.USER_COOKIE, "forged")
    assert client.get(url).status_code == 403
    signed = create_signed_value(get_cookie_secret(), access.USER_COOKIE, "{}")
    client.cookies.set(access.USER_COOKIE, signed.decode())
    assert client.get(url).status_code == 200


def test_who_may_tag_starts_no_work(
    workspace: Workspace, audit: Audit, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_ROLE", "tag")
    urls = {entry[3] for entries in shell.pages().values() for entry in entries}
    assert "tagging" in urls
    assert "new" not in urls
    app = opened("mitigate", audit=audit.id)
    assert not app.exception
    assert "Correct the model" not in [expander.label for expander in app.expander]
    TagStore.open(workspace).add("ann", audit.id, CandidateKey("cat", PCA, 0), Tag.CORE)
    for work in (
        lambda: jobs.start(workspace, ["demo"], "Demo"),
        lambda: workspace.rename("first", "other"),
        lambda: workspace.delete("first"),
    ):
        with pytest.raises(WorkspaceError, match="no work can be started here"):
            work()
    assert workspace.named("first")


@pytest.mark.parametrize("role", ["view", "admin", "RUN", " run"])
def test_a_role_that_does_not_exist_only_views(
    workspace: Workspace, audit: Audit, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv("SPURIOSCOPE_ROLE", role)
    with pytest.raises(WorkspaceError, match="nothing can be changed in a presentation"):
        TagStore.open(workspace).add("ann", audit.id, CandidateKey("cat", PCA, 0), Tag.CORE)
    assert access.sentence().endswith("a visitor may look at every audit")
