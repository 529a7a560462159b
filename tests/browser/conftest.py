"""A real app and a real browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture
def started() -> Iterator[Callable[[Path], str]]:
    """Start ``streamlit run app.py`` on a workspace; gives its address."""
    running = []

    def start(workspace: Path) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
        environment = {**os.environ, "SPURIOSCOPE_WORKSPACE": str(workspace)}
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
