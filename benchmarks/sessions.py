"""Many visitors of one app: uploads at once, pages at once, memory, and foreign pages.

Sessions speak Streamlit's own protocol over a websocket, as browsers do; the uploads come from two
real ones. What foreign pages cost is asked in a network of its own where packets vanish.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.clicks import FLAGS, ROOT, SETTLED, free_port, server
from benchmarks.measure import MODEL, Line

UPLOADS = 50
"""Pictures that each of two browsers uploads."""
SESSIONS, CLICKS, PAUSE = 20, 15, 4.0
"""Visitors, what each asks for, and seconds between two clicks of one (a page is read)."""
SILENCE = 0.3
"""Seconds without a message after which a page is known to be finished."""
CHANGES = 200
"""Changes of page by one visitor, after as many that warm every cache."""
GROWTH = 0.02
"""Share of the app's memory that the changes may add: what the allocator moves around."""
LIMIT = 4 * 2**30
"""Bytes that the app and what it starts may hold while files come that unpack to gigabytes."""
PAGES = ("overview", "components", "image", "ranking", "measures", "glossary", "agreement", "map")


def run() -> list[Line]:
    """Prepare an audit in a workspace of its own and visit it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "core", "audit", "--data", "demo:cues", "--model", MODEL]
        command += ["--head", "fit", "--limit-per-class", "40", "--workspace", folder]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        with server(folder) as url:
            lines = [growth(url), *loads(url), uploads(folder, url), *bombs(folder, url)]
        return [*lines, foreign(folder)]


def audit_of(folder: str) -> Any:
    """The only audit of a workspace."""
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

    workspace = Workspace(Path(folder))
    return Audit.open(workspace, workspace.manifests()[0].name)


def picture(seed: int) -> bytes:
    """A PNG of blocks in random colours."""
    blocks = np.random.default_rng(seed).integers(0, 255, (7, 7, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize((224, 224), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def uploads(folder: str, url: str) -> Line:
    """Two browsers upload at once; how many pictures have another's features."""
    audit = audit_of(folder)
    seeds = [range(part * UPLOADS, (part + 1) * UPLOADS) for part in range(2)]
    threads = [threading.Thread(target=_upload, args=(url, audit.id, part)) for part in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model, wrong, there = audit.load_model(), 0, 0
    alone = Path(folder) / "alone"
    shutil.copytree(audit.folder, alone, ignore=shutil.ignore_patterns("uploads", "pictures"))
    copy = type(audit)(alone)
    for seed in range(2 * UPLOADS):
        image_id = copy.upload(picture(seed), model)
        there += (audit.folder / "uploads" / image_id).is_dir()
        wrong += not np.array_equal(audit.features([image_id]), copy.features([image_id]))
    what = f"features of another picture, {there} uploads by two browsers at once"
    return Line(what, wrong, "0", "", wrong == 0 and there == 2 * UPLOADS)


def _upload(url: str, audit_id: str, seeds: range) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = chromium.new_page()
        for seed in seeds:
            page.goto(f"{url}/image?audit={audit_id}")
            page.wait_for_selector(SETTLED)
            file = {"name": f"{seed}.png", "mimeType": "image/png", "buffer": picture(seed)}
            page.locator('input[type="file"]').set_input_files(file)
            page.get_by_text("Uploaded image").first.wait_for(timeout=60_000)
        chromium.close()


class Visitor:
    """A session without a browser; ``query`` is what its address says after the question mark."""

    def __init__(self, url: str, query: str = "") -> None:
        self.url, self.query, self.socket = url, query, None

    async def __aenter__(self) -> Visitor:
        from websockets.asyncio.client import connect

        address = f"{self.url.replace('http', 'ws')}/_stcore/stream"
        self.socket: Any = await connect(
            address, origin=self.url, subprotocols=["streamlit"], max_size=None
        )  # type: ignore[arg-type]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def visit(self, page: str) -> float:
        """Ask for a page; seconds until the last word about it. Errors on it end the benchmark.

        A page may be run twice in a row (addresses that are written anew), so its end is known
        only by silence.
        """
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_name = page
        began = last = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        running = True
        while True:
            try:
                content = await asyncio.wait_for(self.socket.recv(), 60 if running else SILENCE)
            except TimeoutError:
                return last - began
            last = time.perf_counter()
            running = _said(page, content, running)


def _said(page: str, content: bytes, running: bool) -> bool:
    """Whether the page's script is running after a message of the server."""
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    answer = ForwardMsg.FromString(content)
    if answer.delta.new_element.WhichOneof("type") == "exception":
        raise SystemExit(f"{page}: {answer.delta.new_element.exception.message}")
    if answer.WhichOneof("type") == "session_status_changed":
        return bool(answer.session_status_changed.script_is_running)
    return running


def loads(url: str) -> list[Line]:
    """Visitors who click at the same time: how long their pages take."""

    async def session(number: int) -> list[float]:
        rng, times = np.random.default_rng(number), []
        await asyncio.sleep(rng.uniform(0, PAUSE))
        async with Visitor(url) as visitor:
            await visitor.visit("overview")
            for _ in range(CLICKS):
                await asyncio.sleep(rng.uniform(0.5 * PAUSE, 1.5 * PAUSE))
                times.append(await visitor.visit(str(rng.choice(PAGES))))
        return times

    async def everybody() -> list[list[float]]:
        return await asyncio.gather(*(session(number) for number in range(SESSIONS)))

    times = [t for part in asyncio.run(everybody()) for t in part]
    late = float(np.percentile(times, 95))
    what = f"page for one of {SESSIONS} visitors who click every {PAUSE:g} s"
    return [
        Line(f"{what}, median", float(np.median(times)), "", "s"),
        Line(f"{what}, p95", late, "< 0.5", "s", late < 0.5),
    ]


def process_of(url: str) -> psutil.Process:
    """The process that serves an address."""
    port = int(url.rpartition(":")[2])
    return next(
        psutil.Process(c.pid)
        for c in psutil.net_connections("tcp")
        if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN and c.pid
    )


def made_bombs(folder: Path) -> list[Path]:
    """A TIFF, a PNG and a WebP of about a megabyte or less, each of gigabytes in memory."""
    made = {
        "a.tif": (Image.new("1", (60_000, 60_000)), {"compression": "tiff_deflate"}),
        "b.png": (Image.new("L", (40_000, 40_000)), {"compress_level": 9}),
        "c.webp": (Image.new("RGB", (16_383, 16_383)), {"lossless": True}),
    }
    for name, (image, options) in made.items():
        image.save(folder / name, **options)
    return [folder / name for name in made]


def bombs(folder: str, url: str) -> list[Line]:
    """Three such files at once: what the app holds at most, whether it lives and says why."""
    audit_id, peak, said, over = audit_of(folder).id, [0], [False] * 3, threading.Event()
    parent = process_of(url)

    def watch() -> None:
        while not over.wait(0.05):
            held = 0
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    held += process.memory_info().rss
            peak[0] = max(peak[0], held)

    def send(number: int, file: Path) -> None:
        said[number] = _is_refused(url, audit_id, file)

    with tempfile.TemporaryDirectory() as place:
        files = made_bombs(Path(place))
        threads = [threading.Thread(target=send, args=pair) for pair in enumerate(files)]
        watcher = threading.Thread(target=watch)
        for thread in (watcher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        watcher.join()
    lives = parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE
    told = sum(said)
    return [
        Line(
            "memory while three bombs are uploaded at once, the app and its children",
            peak[0] / 2**30,
            "< 4",
            "GiB",
            lives and peak[0] < LIMIT,
        ),
        Line("bombs that are refused in a sentence", told, "3", "", told == 3),
    ]


def _is_refused(url: str, audit_id: str, file: Path) -> bool:
    """Upload a file in a browser of its own; whether the page says in words that it is refused."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = chromium.new_page()
        page.goto(f"{url}/image?audit={audit_id}")
        page.wait_for_selector(SETTLED)
        page.locator('input[type="file"]').set_input_files(str(file))
        alert = page.locator('[data-testid="stAlert"]').first
        alert.wait_for(timeout=90_000)
        text = alert.inner_text()
        chromium.close()
    return "pixels" in text or "memory" in text


def growth(url: str) -> Line:
    """How much memory changes of page add, once every page has been seen."""
    process = process_of(url)

    async def changes() -> tuple[int, int]:
        async with Visitor(url) as visitor:
            for i in range(CHANGES):
                await visitor.visit(PAGES[i % len(PAGES)])
            before = process.memory_info().rss
            for i in range(CHANGES):
                await visitor.visit(PAGES[i % len(PAGES)])
            return before, process.memory_info().rss

    before, after = asyncio.run(changes())
    grown = (after - before) / before
    what = f"memory added by {CHANGES} changes of page ({before / 2**20:.0f} MB before)"
    return Line(what, 100 * grown, f"<= {100 * GROWTH:g}", "%", grown <= GROWTH)


HEALTH = """
import sys, time, urllib.error, urllib.request
url, slowest = sys.argv[1], 0.0
for _ in range(600):
    try:
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)
        break
    except OSError:
        time.sleep(0.1)
for path in ("_stcore/stream", "_stcore/health", "_stcore/host-config", ""):
    headers = {"Origin": "http://foreign.example"}
    if path.endswith("stream"):
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="}
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/{path}", headers=headers), timeout=60)
    except urllib.error.HTTPError:
        pass
    began = time.perf_counter()
    urllib.request.urlopen(f"{url}/_stcore/health", timeout=60)
    slowest = max(slowest, time.perf_counter() - began)
print(slowest)
"""
"""Seconds of the slowest sign of life while a foreign page asks."""

NETWORK = (
    "ip link set lo up && ip addr add 10.99.0.1/32 dev lo && "
    "ip route add default dev lo src 10.99.0.1"
)
"""A network in which everything that leaves the machine vanishes without an answer."""


def foreign(folder: str) -> Line:
    """How long the server's sign of life takes under a foreign Origin where packets vanish."""
    port = free_port()
    serve = f"{sys.executable} -m streamlit run app.py --server.headless true --server.port {port}"
    script = f"{NETWORK} && ({serve} >/dev/null 2>&1 & echo $! >pid); "
    script += f'{sys.executable} -c "$HEALTH" http://localhost:{port}; code=$?; kill $(cat pid); '
    script = script.replace("pid", f"{folder}/pid") + "exit $code"
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "SPURIOSCOPE_WORKSPACE": folder, "HEALTH": HEALTH},
        capture_output=True,
        text=True,
        check=False,
    )
    what = "sign of life under a foreign Origin, packets that leave vanish"
    if done.returncode:
        return Line(f"{what}: {done.stderr.strip().splitlines()[-1:]}", float("nan"), "< 1", "s")
    slowest = float(done.stdout)
    return Line(what, slowest, "< 1", "s", slowest < 1)
