"""Fixtures every test may use: a planted-cue class, small photo folders, a workspace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # some tests import it themselves

import numpy as np
import pytest
from PIL import Image

import tests.tiny  # noqa: F401  (the source of models tiny:)
from core.audits.audit import Audit
from core.audits.audit_requests import AuditRequest
from core.audits.run import run_audit
from core.storage.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run tests marked slow")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process a core, at most four, for all tests; one file or the browser runs in this one."""
    if config.args != config.getini("testpaths") or config.getoption("-m"):
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a thread more would wait for the same cores
    return min(os.cpu_count() or 1, 4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("-m") or ""
    for item in items:
        if "slow" in item.keywords and not config.getoption("--runslow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --runslow"))
        if "browser" in item.keywords and "browser" not in chosen:
            item.add_marker(pytest.mark.skip(reason="browser: run with -m browser"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def photos() -> Path:
    """Real photos beside the project, which never ship with it."""
    if not PHOTOS.is_dir():
        pytest.skip(f"no photos in {PHOTOS}")
    return PHOTOS


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium."""
    pytest.importorskip("playwright", reason="pip install -r requirements-dev.txt")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium on this machine")
    return path


def draw(
    path: Path, colour: tuple[int, int, int], rng: np.random.Generator, size: int = 64
) -> None:
    """Save a noisy picture with a coloured square."""
    pixels = rng.normal(110, 20, (size, size, 3))
    pixels[size // 4 : size // 2, size // 4 : size // 2] = colour
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=92)


def draw_folder(root: Path, rng: np.random.Generator) -> Path:
    """Two classes, red and blue, in the splits train (2 x 12) and test (2 x 6)."""
    for split, n in (("train", 12), ("test", 6)):
        for label, colour in (("red", (220, 40, 40)), ("blue", (40, 40, 220))):
            for i in range(n):
                draw(root / split / label / f"{i:02d}.jpg", colour, rng)
    return root


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder by :func:`draw_folder`."""
    return draw_folder(tmp_path / "data", rng)


def tiny_request(data: Path, **more: object) -> AuditRequest:
    """The request most tests make: the tiny model, a fitted head, fp32, batches of 4."""
    settings: dict[str, object] = {
        **{"model": "tiny:net", "name": "tiny", "head": "fit", "precision": "fp32"},
        **{"batch_size": 4, "workers": 2, "device": "cpu"},
    }
    return AuditRequest(data=str(data), **{**settings, **more})  # type: ignore[arg-type]


class Server:
    """A process that has imported everything and forks another one for every command."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.tiny", "serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, arguments: list[str], pause: float = 0.05) -> int:
        """Start a command of the tiny model (batches of 4 after a pause); its process number."""
        line = {"arguments": arguments, "pause": pause, "output": str(self.output)}
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of the command, when it has ended."""
        code = int(self._process.stdout.readline())
        return code, *(self.output.with_suffix(s).read_text() for s in (".out", ".err"))

    def close(self) -> None:
        """End the server itself."""
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Runs commands of the tiny model in processes that can be killed and interrupted."""
    running = Server(tmp_path_factory.mktemp("server") / "output")
    yield running
    running.close()


@pytest.fixture(scope="session")
def tiny_audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """A finished audit of :func:`draw_folder` by the tiny model, to be read only."""
    root = tmp_path_factory.mktemp("tiny")
    data = draw_folder(root / "data", np.random.default_rng(7))
    return run_audit(tiny_request(data), Workspace(root / "workspace"))
