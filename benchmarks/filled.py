"""What people leave in an audit after some days: tags of two, a map, looks at the data, a model.

Made by the command line, as they would; what is there already is found, not made again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.clicks import ROOT

if TYPE_CHECKING:
    from core.audits.audit import Audit
    from core.storage.workspace import Workspace

CLASSES = 100
"""Classes whose candidates both people tag; every fourth answer is not the same."""
TAGS = ("spurious", "core")
PEOPLE = ("one", "another")
MEASURES = ("gap", "groups")
"""Those that need no network, which drawn features have none of."""
LOOKS = ("labels", "attributes", "slices", "combinations")
"""Those that say anything of drawn features: there are no pictures, and no maps."""


class Spent(NamedTuple):
    """What a command took."""

    seconds: float
    memory: float
    """Largest resident memory, bytes; files that are mapped count."""


def fill(workspace: Workspace, name: str) -> dict[str, Spent]:
    """Fill the audit of a name; what every command took, of none where it is filled already."""
    from core.audits.audit import Audit

    corrected = f"{name}-spufix"
    if workspace.named(corrected):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        tags = Path(folder) / "tags.json"
        tags.write_text(json.dumps({"tags": list(_answers(Audit.open(workspace, name)))}))
        return {
            "tags": _core(workspace, "tags", "import", name, str(tags)),
            "map": _core(workspace, "map", name),
            **{f"data, {look}": _core(workspace, "data", name, "--what", look) for look in LOOKS},
            **{
                f"measure, {it}": _core(workspace, "measure", name, "--what", it) for it in MEASURES
            },
            "mitigate": _core(
                workspace, "mitigate", name, "--method", "spufix", "--name", corrected, "--quick"
            ),
        }


def _answers(audit: Audit) -> Iterator[dict[str, object]]:
    for number, facts in enumerate(audit.classes[:CLASSES]):
        for component in range(2):
            of = {"label": facts.label, "kind": "pca", "component": component}
            for person in PEOPLE:
                other = person != PEOPLE[0] and number % 4 == 3
                yield {**of, "annotator": person, "tag": TAGS[(component + other) % 2]}


def _core(workspace: Workspace, *arguments: str) -> Spent:
    command = [sys.executable, "-m", "core", *arguments, "--workspace", str(workspace.root)]
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()[-400:]
            raise SystemExit(f"{' '.join(arguments[:2])}: {process.returncode}: {words}")
    return Spent(time.perf_counter() - began, 1024 * used.ru_maxrss)
