import logging
from collections.abc import Iterator, Mapping

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit import config

from core.errors import InputError
from core.ui.frame.media import media_routes, media_url

CONTENT = b"\x89PNG picture"


class Renderer:
    """Answers like the app's own and keeps what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str]]] = []

    def __call__(self, kind: str, name: str, params: Mapping[str, str]) -> tuple[bytes, str] | None:
        self.calls.append((kind, name, dict(params)))
        if name.startswith("missing"):
            return None
        if name.startswith("broken"):
            raise OSError("secret detail of the machine")
        return CONTENT, "image/png"


@pytest.fixture
def renderer() -> Renderer:
    return Renderer()


@pytest.fixture
def client(renderer: Renderer) -> TestClient:
    return TestClient(Starlette(routes=media_routes(renderer)))


def test_answers_with_what_the_callable_returns(client: TestClient, renderer: Renderer) -> None:
    response = client.get(media_url("photo", "audit/cat-1/160.abc.png", {"alpha": "0.5"}))
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["content-type"] == "image/png"
    assert renderer.calls == [("photo", "audit/cat-1/160.abc.png", {"alpha": "0.5"})]


def test_is_kept_for_ever_and_only_by_this_site(client: TestClient) -> None:
    headers = client.get("/pictures/photo/a.png").headers
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "sandbox" in headers["content-security-policy"]


def test_known_etag_is_answered_without_the_content(client: TestClient) -> None:
    etag = client.get("/pictures/photo/a.png").headers["etag"]
    response = client.get("/pictures/photo/a.png", headers={"If-None-Match": f'W/"x", {etag}'})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert client.get("/pictures/photo/a.png", headers={"If-None-Match": '"x"'}).status_code == 200


def test_head_is_get_without_the_content(client: TestClient) -> None:
    head, get = client.head("/pictures/photo/a.png"), client.get("/pictures/photo/a.png")
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(get.headers)
    assert head.headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_refused(client: TestClient, renderer: Renderer, method: str) -> None:
    assert client.request(method, "/pictures/photo/a.png").status_code == 405
    assert renderer.calls == []


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/photo/%2e%2e/secret",
        "/pictures/photo/a/%2e%2e/%2e%2e/secret",
        "/pictures/photo/..%2fsecret",
        "/pictures/photo/a..b",
        "/pictures/photo/.hidden",
        "/pictures/photo//etc/passwd",
        "/pictures/photo/%2fetc/passwd",
        "/pictures/photo/a/",
        "/pictures/photo/",
        "/pictures/photo/C:%5csecret",
        "/pictures/photo/a%5c..%5cb",
        "/pictures/photo/a%00.png",
        "/pictures/photo/a%0ab.png",
        "/pictures/photo/%C3%A4.png",
        "/pictures/photo/a%20b.png",
        "/pictures/%2e%2e/a.png",
        "/pictures/photo/" + "a" * 201,
        "/pictures/photo/a.png?file=../secret",
        "/pictures/photo/a.png?..=1",
        "/pictures/photo/a.png?empty=",
    ],
)
def test_unsafe_address_never_reaches_the_callable(
    client: TestClient, renderer: Renderer, path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert renderer.calls == []


def test_none_is_not_found_in_plain_words_and_not_kept(client: TestClient) -> None:
    response = client.get("/pictures/photo/missing.png")
    assert (response.status_code, response.text) == (404, "There is no such picture.")
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["cache-control"] == "no-store"


def test_exception_is_logged_but_not_shown(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="core.ui.frame.media"):
        response = client.get("/pictures/photo/broken.png")
    assert response.status_code == 500
    assert response.text == "The picture could not be drawn. The log of the app says why."
    assert response.headers["cache-control"] == "no-store"
    assert "secret detail of the machine" in caplog.text


@pytest.fixture
def base_path() -> Iterator[str]:
    before = config.get_option("server.baseUrlPath")
    config.set_option("server.baseUrlPath", "/tools/spurioscope/")
    yield "/tools/spurioscope"
    config.set_option("server.baseUrlPath", before)


def test_base_path_of_the_server_is_in_addresses_and_routes(
    base_path: str, renderer: Renderer
) -> None:
    url = media_url("photo", "a.png")
    assert url == f"{base_path}/pictures/photo/a.png"
    client = TestClient(Starlette(routes=media_routes(renderer)))
    assert client.get(url).status_code == 200
    assert client.get("/pictures/photo/a.png").status_code == 404


@pytest.mark.parametrize(
    ("kind", "name", "params"),
    [("photo", "../a", {}), ("a b", "a", {}), ("photo", "", {}), ("photo", "a", {"b": "c d"})],
    ids=["parent", "space", "empty", "parameter"],
)
def test_address_that_would_be_refused_is_not_made(
    kind: str, name: str, params: dict[str, str]
) -> None:
    with pytest.raises(InputError, match="every part must be made of"):
        media_url(kind, name, params)
