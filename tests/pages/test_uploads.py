"""Files that a client sends past the page."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit import config, runtime
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

from core.ui.frame import uploads
from core.ui.frame.uploads import FILES, KEPT, Uploads

PATH = "/_stcore/upload_file/session/file"


async def _take(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def client() -> TestClient:
    methods = ["PUT", "DELETE", "GET"]
    routes = [Route("/{path:path}", _take, methods=methods)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Uploads)]))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, SimpleNamespace]]:
    """What Streamlit would hold of earlier uploads."""
    storage: dict[str, dict[str, SimpleNamespace]] = {}
    instance = SimpleNamespace(uploaded_file_mgr=SimpleNamespace(file_storage=storage))
    monkeypatch.setattr(runtime, "exists", lambda: True)
    monkeypatch.setattr(runtime, "get_instance", lambda: instance)
    return storage


def file(size: int = 1) -> SimpleNamespace:
    return SimpleNamespace(data=range(size))


def test_a_file_is_taken(client: TestClient, kept: dict[str, object]) -> None:
    assert client.put(PATH, content=b"abc").text == "3"
    assert client.put(f"/below{PATH}", content=b"abc").text == "3"


@pytest.mark.parametrize(
    "variable", [{"SPURIOSCOPE_READONLY": "1"}, {"SPURIOSCOPE_ROLE": "view"}], ids=str
)
@pytest.mark.parametrize("path", [PATH, f"/below{PATH}", "/_stcore/upload_file/x"])
def test_a_presentation_takes_no_file(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, variable: dict[str, str], path: str
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    answer = client.put(path, content=b"abc")
    assert answer.status_code == 403
    assert answer.text == "Nothing can be changed in a presentation."
    assert client.get("/").status_code == 200
    assert client.delete(path).status_code == 200


def test_nobody_who_has_not_signed_in_brings_a_file(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.ui.frame.access.signs_in", lambda: True)
    answer = client.put(PATH, content=b"abc")
    assert (answer.status_code, answer.text) == (403, "Sign in first.")


def test_one_session_holds_a_few_files(
    client: TestClient, kept: dict[str, dict[str, SimpleNamespace]]
) -> None:
    kept["session"] = {str(i): file() for i in range(FILES)}
    assert client.put(PATH, content=b"abc").status_code == 429
    assert client.put("/_stcore/upload_file/other/file", content=b"abc").status_code == 200


def test_all_sessions_hold_a_bounded_number_of_bytes(
    client: TestClient, kept: dict[str, dict[str, SimpleNamespace]]
) -> None:
    largest = int(config.get_option("server.maxUploadSize")) * 2**20
    for i in range(KEPT):
        assert client.put(PATH, content=b"abc").status_code == 200, i
        kept[str(i)] = {"file": file(largest)}
    answer = client.put(PATH, content=b"abc")
    assert (answer.status_code, answer.text[:14]) == (503, "Too many files")


def test_files_on_their_way_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr(uploads, "KEPT", 3)

    async def many() -> None:
        waiting = asyncio.Event()

        async def slow(*_: object) -> None:
            await waiting.wait()

        async def send(message: dict[str, int]) -> None:
            found.append(message.get("status", 0))

        guard = Uploads(slow)
        scope = {"type": "http", "path": PATH, "method": "PUT", "headers": []}
        first = [asyncio.create_task(guard(scope, None, send)) for _ in range(3)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await guard(scope, None, send)  # type: ignore[arg-type]
        waiting.set()
        await asyncio.gather(*first)
        await guard(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(many())
    assert found == [503, 0]


def test_a_request_of_another_kind_is_passed_on(client: TestClient) -> None:
    assert client.get(PATH).status_code == 200
    assert client.put("/_stcore/other", content=b"abc").text == "3"


def test_a_file_that_was_taken_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = MemoryUploadedFileManager("/_stcore/upload_file")
    for name in ("mine", "other"):
        manager.add_file("session", UploadedFileRec(name, f"{name}.png", "image/png", b"abc"))
    (record,) = manager.get_files("session", ["mine"])
    context = SimpleNamespace(uploaded_file_mgr=manager, session_id="session")
    monkeypatch.setattr(uploads, "get_script_run_ctx", lambda: context)
    assert uploads.taken(UploadedFile(record, FileURLs())) == b"abc"
    assert [f.file_id for f in manager.get_files("session", ["mine", "other"])] == ["other"]
