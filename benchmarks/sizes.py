"""Every page at 1.28 million images of 1,000 classes, beside 100,000 images of the same classes.

The audits are drawn (``python -m core synth``), and filled with what people leave in one
(:mod:`benchmarks.filled`): tags of two, a map, looks at the data, measures, a corrected model.
``SPURIOSCOPE_SIZES=DIR`` uses those of a workspace that a run has left there, and makes what is
missing in it, which takes the longest. Pages are measured by processor time without a browser, the
memory and the sessions of a running app. Memory is resident: pages of libraries and of mapped
arrays count, which the system may take back; what no file stands behind is said beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.clicks import server
from benchmarks.filled import fill
from benchmarks.measure import Line
from benchmarks.sessions import Visitor, process_of

if TYPE_CHECKING:
    from psutil import Process

    from core.storage.workspace import Workspace

SIZES = {"base": 100_000, "big": 1_280_000}
CLASSES, DIM, PARTS = 1000, 1024, 4
TIMES, SECONDS = 1.2, 1.5
"""A page at the large size over that at the small one, or else the seconds it may take."""
OPEN, GOAL, CROWD = 0.7, 0.5, 1.5
"""Gigabytes of the server after an audit was opened, and with all sessions."""
EXPLAINED = 0.9
"""Share of a process's memory that is said to be of something."""
SESSIONS, AT_ONCE = 50, 5
SEEN = (
    *("overview", "components", "ranking", "image", "data", "measures", "map", "findings"),
    *("report", "compare", "tagging", "agreement", "mitigate"),
)


def run() -> list[Line]:
    """Make what is missing, open every page at both sizes, and visit the larger one."""
    from core.storage.workspace import Workspace

    with ExitStack() as stack:
        kept = os.environ.get("SPURIOSCOPE_SIZES")
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory())
        workspace = Workspace(Path(folder))
        ids = {name: made(workspace, name) for name in SIZES}
        spent = {name: fill(workspace, name) for name in SIZES}
        found = {name: scripts(folder, name) for name in SIZES}
        with server(folder) as url:
            visited = asyncio.run(sessions(url, ids["big"]))
    width = workspace.find("big").model.n_features
    lines = [Line("features of an image", width, "")]
    for name, commands in spent.items():
        for what, taken in commands.items():
            lines.append(Line(f"filling {name}: {what}", taken.seconds, "", "s"))
            lines.append(Line(f"filling {name}: {what}, memory", taken.memory / 1e9, "", "GB"))
    return [*lines, *page_lines(found), *visited]


def made(workspace: Workspace, name: str) -> str:
    """The id of the audit of a size."""
    from core.audits.synth_request import SynthRequest
    from core.audits.synthetic import run_synth

    if there := workspace.named(name):
        return there.id
    request = SynthRequest(SIZES[name], CLASSES, DIM, name, parts=PARTS)
    return run_synth(request, workspace).id


def scripts(folder: str, name: str) -> dict[str, Any]:
    """What :mod:`benchmarks.page_scripts` says of an audit."""
    command = [sys.executable, "-m", "benchmarks.page_scripts", folder, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def page_lines(found: dict[str, dict[str, Any]]) -> list[Line]:
    """Every page at the large size, and over the small one, opened first and run again."""
    lines = []
    small, large = (found[name] for name in SIZES)
    for page, taken in large["pages"].items():
        for which, seconds, before in zip(
            ("opened first", "run again"), taken, small["pages"][page], strict=True
        ):
            ratio, what = seconds / before, f"page {page}, {which}, processor time"
            holds = ratio <= TIMES or seconds < SECONDS
            target = f"<= {TIMES} x or < {SECONDS} s"
            lines.append(
                Line(f"{what}: {ratio:.2f} x that of 100,000", seconds, target, "s", holds)
            )
    for name, of in found.items():
        for key, what in (("started", "imports alone"), ("memory", "after every page")):
            lines.append(Line(f"memory of the scripts, {name}: {what}", of[key] / 1e9, "", "GB"))
        for what, size in of["held"].items():
            lines.append(Line(f"memory of the scripts, {name}: {what}", size / 1e9, "", "GB"))
        share = of["explained"]
        what = f"memory of the scripts, {name}: what these say of all of it"
        lines.append(Line(what, 100 * share, f">= {100 * EXPLAINED:g}", "%", share >= EXPLAINED))
    return lines


async def sessions(url: str, audit_id: str) -> list[Line]:
    """Memory of a running app after one visitor opened the audit, and with all of them."""
    process, query = process_of(url), f"audit={audit_id}"
    lines = [*memory_lines(process, "listening")]
    async with Visitor(url, query) as first:
        taken = await first.visit("overview")
        await asyncio.sleep(5)
        lines.append(Line("Overview of the large audit, first visit", taken, "", "s"))
        lines += memory_lines(process, "audit open", OPEN, GOAL)
        for page in SEEN:
            await first.visit(page)
        lines += memory_lines(process, f"{len(SEEN)} pages seen", OPEN, GOAL)
    few, gone = asyncio.Semaphore(AT_ONCE), asyncio.Event()

    async def visitor(number: int, seen: asyncio.Event) -> None:
        async with Visitor(url, query) as one:
            async with few:
                for turn in range(3):
                    await one.visit(SEEN[(number + turn) % len(SEEN)])
            seen.set()
            await gone.wait()

    seen = [asyncio.Event() for _ in range(SESSIONS)]
    everybody = [asyncio.create_task(visitor(i, one)) for i, one in enumerate(seen)]
    await asyncio.gather(*(one.wait() for one in seen))
    lines += memory_lines(process, f"{SESSIONS} sessions open", CROWD)
    gone.set()
    await asyncio.gather(*everybody)
    return lines


def memory_lines(
    process: Process, when: str, limit: float | None = None, goal: float | None = None
) -> list[Line]:
    """What a process holds now, and how much of it no file stands behind."""
    memory = process.memory_info()
    held, mapped = memory.rss / 1e9, memory.shared / 1e9
    target = "" if limit is None else f"<= {limit}" + ("" if goal is None else f" (goal {goal})")
    what = f"memory of the server: {when}"
    return [
        Line(what, held, target, "GB", None if limit is None else held <= limit),
        Line(f"{what}, without files", held - mapped, "", "GB"),
    ]
