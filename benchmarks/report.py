"""The report of ``demo:cues``: opened without network, compared with itself and with the truth."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.clicks import FLAGS, ROOT
from benchmarks.measure import Line
from benchmarks.measures import tag

MOST = 8 * 2**20


def run() -> list[Line]:
    """Audit the demo afresh, tag its planted candidates, and write reports."""
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace
    from core.tags.log import TagStore

    with tempfile.TemporaryDirectory() as folder:
        command("demo", folder)
        workspace = Workspace(Path(folder))
        audit = Audit.open(workspace, "demo-cues")
        planted = {k: v for k, v in audit.summary.planted.items() if isinstance(v, dict)}
        owners = {label: truth["cue"] for label, truth in planted.items() if truth.get("cue")}
        store = TagStore.open(workspace)
        for label, cue in owners.items():
            tag(audit, store, label, cue)
        lines, path = written(audit, Path(folder))
        return lines + opened(path, set(owners), set(planted) - set(owners))


def command(*arguments: str) -> float:
    """Run ``python -m core NAME … --workspace FOLDER``, the folder last; seconds."""
    *rest, folder = arguments
    began = time.perf_counter()
    whole = [sys.executable, "-m", "core", *rest, "--workspace", folder]
    subprocess.run(whole, cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - began


def written(audit: Any, folder: Path) -> tuple[list[Line], Path]:
    """Three reports in processes of their own; the third measures everything again."""
    names = ("first", "second", "measured again")
    seconds, digests = [], []
    for name in names:
        if name == names[2]:
            shutil.rmtree(audit.folder / "measures")
        out = folder / f"{name}.html"
        zipped = folder / f"{name}.zip"
        more = ["--out", str(out), "--appendix", str(zipped)]
        seconds.append(command("report", audit.name, *more, str(folder)))
        digests.append([hashlib.sha256(p.read_bytes()).digest() for p in (out, zipped)])
    first = folder / "first.html"
    size = first.stat().st_size
    again = [d == digests[0] for d in digests[1:]]
    return [
        Line("size of the report", size / 2**20, "< 8", "MiB", size < MOST),
        Line("second run: HTML and appendix of the same bytes", again[0], "1", "", again[0]),
        Line("everything measured again: the same bytes", again[1], "1", "", again[1]),
        Line("first run, flips and noise measured", seconds[0], "", "s"),
        Line("second run", seconds[1], "", "s"),
    ], first


def opened(path: Path, owners: set[str], clean: set[str]) -> list[Line]:
    """What Chromium shows of the file with the network off."""
    requests, failed, said = in_chromium(path)
    harmed = {article["label"] for article in said if article["verdict"] == "harmed"}
    accused = [article for article in said if article["label"] in clean]
    return [
        Line(
            "network off: requests apart from the file itself", len(requests), "0", "", not requests
        ),
        Line("pictures that do not show", failed, "0", "", failed == 0),
        Line(
            f"classes called harmed: {', '.join(sorted(harmed)) or 'none'}",
            len(harmed),
            f"exactly {', '.join(sorted(owners))}",
            "",
            harmed == owners,
        ),
        Line(
            f"findings about the clean {' and '.join(sorted(clean))}",
            len(accused),
            "0",
            "",
            not accused,
        ),
    ]


def in_chromium(path: Path) -> tuple[list[str], int, list[dict[str, str]]]:
    """Requests to anything else, pictures that failed, and the statements in the document."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("no Chromium on this machine: install it to open the report")
    requests: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        context = chromium.new_context(offline=True)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri(), wait_until="load")
        failed = int(page.evaluate(_FAILED))
        said: list[dict[str, str]] = page.evaluate(_SAID)
        chromium.close()
    own = path.as_uri()
    return [u for u in requests if u != own and not u.startswith("data:")], failed, said


_FAILED = "() => [...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
_SAID = "() => [...document.querySelectorAll('article')].map((a) => ({...a.dataset}))"
