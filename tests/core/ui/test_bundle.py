"""Streamlit's own scripts: the answer is Streamlit's, and only whole listed files are answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.testclient import TestClient
from streamlit import config, file_util
from streamlit.web.server.starlette.starlette_static_routes import create_streamlit_static_handler

from core.ui.frame.bundle import Bundle, listing

SAID = ("content-type", "content-length", "cache-control")


class Beyond:
    """What a request that is passed on reaches."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            self.asked.append(scope["path"])
        await PlainTextResponse("beyond")(scope, receive, send)


@pytest.fixture
def beyond() -> Beyond:
    return Beyond()


def test_every_answer_is_that_of_streamlit() -> None:
    theirs = create_streamlit_static_handler(file_util.get_static_dir(), None)
    streamlit = TestClient(Starlette(routes=[Mount("/", theirs)]))
    ours = TestClient(Bundle(Beyond()))
    paths = sorted(listing())
    assert len(paths) > 100
    assert {Path(path).suffix for path in paths} >= {".js", ".css", ".woff2"}
    for path in paths:
        expected, found = streamlit.get(path), ours.get(path)
        assert found.status_code == expected.status_code == 200
        assert found.content == expected.content
        assert [found.headers[k] for k in SAID] == [expected.headers[k] for k in SAID]


def test_the_first_page_is_made_of_listed_files() -> None:
    import re

    page = (Path(file_util.get_static_dir()) / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="\./(static/[^"]+)"', page)
    assert len(asked) > 20
    assert {f"/{path}" for path in asked} <= set(listing())


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/static/js/", "/static/js/none.js", "/static/index.html", "/index.html"),
        *("/static/js/../../index.html", "/static/js/%2e%2e/%2e%2e/index.html", "//static/js/x"),
        *("/app/static/picture.png", "/_stcore/health", "/media/x.png"),
    ],
)
def test_what_is_not_listed_is_passed_on(path: str, beyond: Beyond) -> None:
    answer = TestClient(Bundle(beyond)).get(path)
    assert answer.text == "beyond"
    assert len(beyond.asked) == 1


@pytest.mark.parametrize("name", ["Range", "If-None-Match", "If-Modified-Since", "If-Range"])
def test_a_request_with_a_condition_is_passed_on(name: str, beyond: Beyond) -> None:
    path = next(iter(listing()))
    assert TestClient(Bundle(beyond)).get(path, headers={name: "x"}).text == "beyond"
    assert beyond.asked == [path]


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
def test_other_methods_are_passed_on(method: str, beyond: Beyond) -> None:
    path = next(iter(listing()))
    TestClient(Bundle(beyond)).request(method, path)
    assert beyond.asked == [path]


def test_the_base_path_of_the_app_stands_before_the_files(beyond: Beyond) -> None:
    bare = sorted(listing())
    before = config.get_option("server.baseUrlPath")
    config.set_option("server.baseUrlPath", "/audits/")
    try:
        assert sorted(listing()) == [f"/audits{path}" for path in bare]
        client = TestClient(Bundle(beyond))
    finally:
        config.set_option("server.baseUrlPath", before)
    assert client.get(f"/audits{bare[0]}").text != "beyond"
    assert client.get(bare[0]).text == "beyond"


def test_a_file_that_is_gone_is_left_to_streamlit(beyond: Beyond, tmp_path: Path) -> None:
    ours = Bundle(beyond)
    path = next(iter(ours.listed))
    ours.listed[path] = tmp_path / "gone.js"
    assert TestClient(ours).get(path).text == "beyond"


def test_another_build_without_these_folders_lists_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(file_util, "get_static_dir", lambda: str(tmp_path))
    assert listing() == {}
