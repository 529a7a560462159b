"""A real app and a real browser."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.audits.audit import Audit
from core.audits.run import run_audit
from core.candidates.key import CandidateKey
from core.candidates.linear_kinds import PCA
from core.storage.workspace import Workspace
from core.tags.log import TagStore
from core.types import Tag
from tests.conftest import tiny_request
from tests.pages.conftest import draw_data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


RUNNING = '[data-testid="stApp"][data-test-script-state="running"]'


class Watched:
    """A page of the browser, with everything on it that must not be."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(30_000)
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._said(message))

    def _asked(self, url: str) -> None:
        inside = (self.address, "data:", "blob:", self.address.replace("http", "ws"))
        if not url.startswith(inside):
            self.foreign.append(url)

    def _said(self, message: object) -> None:
        # a deep link makes the frontend look for the server below the page's path first
        if message.type == "error" and "/_stcore/" not in str(message.location):  # type: ignore[attr-defined]
            self.errors.append(message.text)  # type: ignore[attr-defined]

    def settle(self) -> None:
        """Return when the page stands still."""
        self.page.wait_for_timeout(400)
        self.page.wait_for_selector(RUNNING, state="detached")
        self.page.wait_for_timeout(400)

    def title(self, text: str) -> None:
        self.page.locator("h1", has_text=text).wait_for()
        self.settle()

    def parameter(self, name: str) -> str | None:
        found = re.search(rf"[?&]{name}=([^&]*)", self.page.url)
        return found[1] if found else None

    def go(self, name: str) -> None:
        self.page.locator('[data-testid="stSidebarNavLink"]', has_text=name).click()

    def clean(self) -> None:
        assert not self.foreign
        assert not self.errors
        assert self.page.locator('[data-testid="stException"]').count() == 0


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two audits of the same images, and tags that agree and do not."""
    root = tmp_path_factory.mktemp("browser")
    data = draw_data(root)
    workspace = Workspace(root / "workspace")
    for seed, name in enumerate(("first", "second")):
        run_audit(tiny_request(data, model=f"tiny:page-{seed}", name=name), workspace)
    for name in ("first", "second"):
        audit, store = Audit.open(workspace, name), TagStore.open(workspace)
        first, second, third = (facts.label for facts in audit.classes[:3])
        for who, doubt in (("anna", Tag.CORE), ("ben", Tag.SPURIOUS)):
            store.add(who, audit.id, CandidateKey(first, PCA, 0), Tag.SPURIOUS)
            store.add(who, audit.id, CandidateKey(third, PCA, 1), Tag.SPURIOUS)
            store.add(who, audit.id, CandidateKey(second, PCA, 0), doubt)
    return workspace.root


@pytest.fixture(scope="module")
def started() -> Iterator[Callable[..., str]]:
    """Start ``streamlit run app.py``, or another ``app``, on a workspace; gives its address."""
    running = []

    def start(workspace: Path, *, app: str = "app.py", **variables: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", app, "--server.headless", "true"]
        ours = {"SPURIOSCOPE_WORKSPACE": str(workspace), "PYTHONPATH": str(ROOT)}
        environment = {**os.environ, **ours, **variables}
        process = subprocess.Popen(
            [*command, "--server.port", str(port)], cwd=ROOT, env=environment
        )
        running.append(process)
        address = f"http://localhost:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                return address
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.1)
        pytest.fail("the app did not answer within a minute")

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=10)
